//! Numbered errors of enclaves.

use core::fmt;

use trustbox_api::Error;

/// All errors of enclaves share these upper bits: `0x8045_nnnn`, in GlobalPlatform's range for implementations.
const BASE: u32 = 0x8045_0000;
/// From here on, the TrustBox TA's refusals, each with the number that it has there.
const REFUSED: u16 = 0xff80;
/// All of them have room: they are in order, so the last one is the highest.
const _: () = assert!(matches!(Error::ALL, [.., last] if (*last as u32) < 0x80));

/// A numbered refusal. Numbers up to 0xfeff are the enclave's own, those above are the SDK's.
///
/// ```
/// use trustbox_interface::EnclaveError;
///
/// const NOT_A_NUMBER: EnclaveError = EnclaveError::new(1);
/// assert_eq!(NOT_A_NUMBER.code(), 0x8045_0001);
/// assert_eq!(EnclaveError::from_code(0x8045_0001), Some(NOT_A_NUMBER));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EnclaveError(u16);

macro_rules! sdk_errors {
    ($($(#[doc = $doc:literal])+ $name:ident = $number:literal $text:literal;)+) => {
        impl EnclaveError {
            $($(#[doc = $doc])+ pub const $name: Self = Self($number);)+
        }

        const SDK: &[(EnclaveError, &str)] = &[$((EnclaveError::$name, $text)),+];
    };
}

sdk_errors! {
    /// The reply is longer than its limit.
    REPLY_TOO_LONG = 0xff00 "the reply is too long";
    /// Secure storage cannot be read or written.
    STORAGE = 0xff01 "secure storage failed";
    /// A stored entry was tampered with.
    TAMPERED = 0xff02 "a stored entry was tampered with";
    /// Another launch of this enclave holds the storage.
    BUSY = 0xff03 "another launch of the enclave holds the storage";
    /// An entry or its name is longer than the limit.
    ENTRY_TOO_LONG = 0xff04 "an entry or its name is too long";
    /// What was to be passed on, to the TrustBox TA or to the host program, is longer than its limit.
    REQUEST_TOO_LONG = 0xff05 "a request is too long";
    /// The TrustBox TA did not answer: secure memory is used up, or it died.
    NO_ANSWER = 0xff06 "the TrustBox TA did not answer";
    /// The request does not decode.
    BAD_REQUEST = 0xff07 "the request does not decode";
    /// The interface has no such command.
    UNKNOWN_COMMAND = 0xff08 "no such command";
    /// A command waits for its host, and no other one can be called.
    WAITING = 0xff09 "a command waits for its host";
    /// No command waits for this answer.
    NOT_WAITING = 0xff0a "no command waits for this answer";
    /// The host program did not answer what the enclave asked.
    HOST_REFUSED = 0xff0b "the host program did not answer the enclave";
    /// The host program's answer does not decode.
    BAD_ANSWER = 0xff0c "the host program's answer does not decode";
    /// A command waited for something else than its host, and took the enclave with it.
    LOST = 0xff0d "a command waited for something that never comes";
    /// What arrived was not sealed to this enclave in this version on this device, or was changed.
    NOT_FOR_US = 0xff0e "not sealed to this enclave";
}

impl EnclaveError {
    /// The enclave's own error `number`, which is from 1 to 0xfeff; checked when compiled, in a `const`.
    pub const fn new(number: u16) -> Self {
        assert!(number != 0 && number < 0xff00, "the enclave's own errors are numbered 1 to 0xfeff");
        Self(number)
    }

    /// The TrustBox TA refused: 0xff80 and its own number.
    pub const fn refused(error: Error) -> Self {
        Self(REFUSED | error as u16)
    }

    /// Why the TrustBox TA refused, where that is the error; [`Error::Busy`] is worth another try.
    pub fn refusal(self) -> Option<Error> {
        Error::ALL.iter().copied().find(|error| Self::refused(*error) == self)
    }

    /// Its number.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The `TEE_Result` that carries this error.
    pub const fn code(self) -> u32 {
        BASE | self.0 as u32
    }

    /// The error that a `TEE_Result` carries, where it carries one.
    pub fn from_code(code: u32) -> Option<Self> {
        u16::try_from(code ^ BASE).ok().filter(|number| *number != 0).map(Self)
    }
}

impl fmt::Display for EnclaveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (SDK.iter().find(|(error, _)| error == self), self.refusal()) {
            (Some((_, text)), _) => f.write_str(text),
            (None, Some(error)) => write!(f, "the TrustBox TA refused: {error}"),
            (None, None) => write!(f, "error {}", self.0),
        }
    }
}

impl core::error::Error for EnclaveError {}

/// For `write!` to a reply, which fails in this way only.
impl From<fmt::Error> for EnclaveError {
    fn from(_: fmt::Error) -> Self {
        Self::REPLY_TOO_LONG
    }
}

/// The errors of an interface, by number; [`crate::errors!`] implements it.
pub trait Numbers: Sized {
    /// The error with that number.
    fn of(number: u16) -> Option<Self>;
    /// Its number.
    fn number(&self) -> u16;
}

/// The errors of an interface that has none of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoErrors {}

impl Numbers for NoErrors {
    fn of(_: u16) -> Option<Self> {
        None
    }

    fn number(&self) -> u16 {
        match *self {}
    }
}

impl fmt::Display for NoErrors {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

/// The errors of an interface: an enum whose values are numbers from 1 to 0xfeff, and whose text is their documentation.
///
/// In the enclave each turns into an [`EnclaveError`] with `?`; in the host program the number turns back into the value.
///
/// ```
/// trustbox_interface::errors! {
///     /// Why it refuses.
///     pub enum DoorError {
///         /// the door is locked
///         Locked = 1,
///     }
/// }
/// assert_eq!(trustbox_interface::EnclaveError::from(DoorError::Locked).number(), 1);
/// assert_eq!(DoorError::Locked.to_string(), "the door is locked");
/// ```
#[macro_export]
macro_rules! errors {
    (
        $(#[$attribute:meta])*
        $visibility:vis enum $name:ident {
            $(#[doc = $text:literal] $value:ident = $number:literal),+ $(,)?
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u16)]
        $visibility enum $name {
            $(#[doc = $text] $value = $number,)+
        }

        $(const _: $crate::EnclaveError = $crate::EnclaveError::new($number);)+

        impl $crate::Numbers for $name {
            fn of(number: u16) -> Option<Self> {
                match number {
                    $($number => Some(Self::$value),)+
                    _ => None,
                }
            }

            fn number(&self) -> u16 {
                *self as u16
            }
        }

        impl ::core::fmt::Display for $name {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.write_str(match self {
                    $(Self::$value => $text.trim_ascii(),)+
                })
            }
        }

        impl ::core::error::Error for $name {}

        impl From<$name> for $crate::EnclaveError {
            fn from(error: $name) -> Self {
                match error {
                    $($name::$value => const { $crate::EnclaveError::new($number) },)+
                }
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn numbers_are_frozen() {
        let numbers: std::vec::Vec<u16> = SDK.iter().map(|(error, _)| error.0).collect();
        assert_eq!(numbers, (0xff00..=0xff0e).collect::<std::vec::Vec<u16>>());
    }

    #[test]
    fn codes_round_trip_and_others_are_none() {
        for error in [EnclaveError::new(1), EnclaveError::LOST, EnclaveError::refused(Error::Busy)] {
            assert_eq!(EnclaveError::from_code(error.code()), Some(error));
        }
        for code in [0, 7, 0x8045_0000, 0x8044_0001, 0xffff_0001] {
            assert_eq!(EnclaveError::from_code(code), None, "{code:#x}");
        }
    }

    #[test]
    fn every_error_has_a_text() {
        assert_eq!(EnclaveError::new(7).to_string(), "error 7");
        assert_eq!(EnclaveError::BUSY.to_string(), "another launch of the enclave holds the storage");
        let refused = EnclaveError::refused(Error::Busy).to_string();
        assert!(refused.starts_with("the TrustBox TA refused: "), "{refused}");
    }
}

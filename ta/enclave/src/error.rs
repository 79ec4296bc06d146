//! Numbered errors of enclaves.

use core::fmt;

use trustbox_api::Error;
use trustbox_tee::status::Status;

use crate::StorageError;

/// All errors of enclaves share these upper bits: `0x8045_nnnn`, in GlobalPlatform's range for implementations.
const BASE: u32 = 0x8045_0000;
/// From here on, the TrustBox TA's refusals, each with the number that it has there.
const REFUSED: u16 = 0xff80;
/// All of them have room: they are in order, so the last one is the highest.
const _: () = assert!(matches!(Error::ALL, [.., last] if (*last as u32) < 0x80));

/// A numbered refusal. Numbers up to 0xfeff are the enclave's own, those above are the SDK's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EnclaveError(u16);

impl EnclaveError {
    /// The reply has more than [`crate::MAX_MESSAGE`] bytes.
    pub const REPLY_TOO_LONG: Self = Self(0xff00);
    /// Secure storage cannot be read or written.
    pub const STORAGE: Self = Self(0xff01);
    /// A stored entry was tampered with.
    pub const TAMPERED: Self = Self(0xff02);
    /// Another launch of this enclave holds the storage.
    pub const BUSY: Self = Self(0xff03);
    /// An entry or its name is longer than the limit.
    pub const ENTRY_TOO_LONG: Self = Self(0xff04);
    /// What was to be passed to the TrustBox TA is longer than its limit.
    pub const REQUEST_TOO_LONG: Self = Self(0xff05);
    /// The TrustBox TA did not answer: secure memory is used up, or it died.
    pub const NO_ANSWER: Self = Self(0xff06);

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

    /// The `TEE_Result` that carries this error.
    pub const fn code(self) -> u32 {
        BASE | self.0 as u32
    }
}

impl From<EnclaveError> for Status {
    fn from(error: EnclaveError) -> Self {
        Self(error.code())
    }
}

/// For `write!` to a [`crate::Reply`], which fails in this way only.
impl From<fmt::Error> for EnclaveError {
    fn from(_: fmt::Error) -> Self {
        Self::REPLY_TOO_LONG
    }
}

impl From<StorageError> for EnclaveError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Failed => Self::STORAGE,
            StorageError::Tampered => Self::TAMPERED,
            StorageError::Busy => Self::BUSY,
            StorageError::TooLong => Self::ENTRY_TOO_LONG,
        }
    }
}

//! Every way the TA refuses, by number.
//!
//! The number travels as a `TEE_Result` in GlobalPlatform's range for implementation-specific
//! errors (TEE Internal Core API 1.3.1, table 3-6). Numbers never change their meaning; a test
//! holds them. Failures on a path that touches a secret are one and the same number.

use core::fmt;

/// All results of the TA share these upper bits: `0x8054_42xx`.
const BASE: u32 = 0x8054_4200;

macro_rules! errors {
    ($($(#[doc = $doc:literal])+ $name:ident = $number:literal, $text:literal, $help:literal;)+) => {
        /// A numbered refusal.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u32)]
        pub enum Error { $($(#[doc = $doc])+ $name = $number,)+ }

        impl Error {
            /// Every error, in order of its number.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The identifier in the source, `WrongLifecycle`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// What happened, for people.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// What to do about it.
            pub const fn help(self) -> &'static str {
                match self { $(Self::$name => $help,)+ }
            }
        }
    };
}

errors! {
    /// Parameter types are not those of the command.
    BadParameters = 1, "parameter types do not fit the command", "use trustbox-client, or see the command table";
    /// The request does not decode, or has bytes left over.
    BadMessage = 2, "request does not decode", "use a client of the same version as the TA";
    /// No such command.
    UnknownCommand = 3, "no such command", "use a client of the same version as the TA";
    /// A buffer is longer than its limit.
    TooLarge = 4, "a buffer is longer than its limit", "see the documented limits";
    /// The reply does not fit the caller's buffer.
    ShortBuffer = 5, "reply does not fit the buffer given", "give a buffer of 4096 bytes";
    /// Not allowed in this lifecycle state.
    WrongLifecycle = 6, "not allowed in this lifecycle state", "see `trustbox info` for the state";
    /// Not allowed for this caller.
    WrongCaller = 7, "not allowed for this caller", "enclaves may not use this command";
    /// Not allowed at this point of the session.
    WrongSequence = 8, "not allowed at this point of the session", "begin, then chunks, then finish; open, then invoke";
    /// Somebody else is changing the state.
    Busy = 9, "the device is busy with another change", "try again in a moment";
    /// Secure memory is used up.
    OutOfMemory = 10, "not enough secure memory", "close other sessions or use a smaller enclave";
    /// A fixed limit is reached.
    LimitReached = 11, "a fixed limit of the device is reached", "see the documented limits";
    /// Secure storage cannot be read or written.
    Storage = 12, "secure storage cannot be read or written", "check tee-supplicant, and space and rights of its folder";
    /// A stored record does not decode or fails its integrity check.
    StorageCorrupt = 13, "a stored record is damaged", "restore the storage that the device wrote last";
    /// The TEE failed in a way that is none of the others.
    Internal = 14, "the TEE failed", "see the secure log";

    /// The hardware unique key is not unique to the device.
    HukNotUnique = 15, "the hardware unique key is not unique to this device", "only -dev firmware provisions such a device";

    /// The ES256 signature does not verify.
    SignatureInvalid = 20, "signature does not verify", "the statement was changed or signed by another key";
    /// The signer is not authorised for this.
    NotAuthorised = 21, "the signer is not authorised for this", "have the owner root delegate this role, UUID or key name";
    /// The statement is of another kind or format version.
    WrongKind = 22, "statement is of another kind or format", "check which file was given";
    /// The statement belongs to another owner root.
    WrongRoot = 23, "statement belongs to another owner", "the device is pinned to another owner root";
    /// The statement is meant for another device.
    WrongAudience = 24, "statement is for another device", "issue it for this device id";
    /// A statement of this kind with the same or a higher sequence was seen.
    Replayed = 25, "a newer statement of this kind was already accepted", "issue it again with a higher sequence";
    /// The nonce is not one the TA has outstanding.
    NonceUnknown = 26, "nonce is unknown or used up", "ask the device for a new request and issue the answer for that";
    /// The UUID belongs to the TEE itself.
    ReservedUuid = 27, "UUID is reserved", "choose a UUID of your own";

    /// The key, the version of the enclave or of the class key was revoked.
    Revoked = 28, "revoked", "what was revoked never comes back; use a newer version or another key";

    /// The device holds no class key of that name and version.
    KeyUnknown = 40, "the device holds no class key of this name and version", "release the key to this device first";
    /// That class key is there already.
    KeyExists = 41, "the device holds this class key already", "release a new version";
    /// A wrapped key or ciphertext does not open; deliberately says no more.
    Decryption = 42, "does not decrypt", "wrapped for another device, under another key, or damaged";

    /// The ticket is not one of this device, or belongs to another enclave.
    TicketInvalid = 43, "ticket is not this enclave's", "pass on the ticket of the launch as it came";

    /// The manifest breaks one of its own rules.
    ManifestInvalid = 50, "manifest breaks a rule", "pack it again";
    /// The version is below the device's floor.
    VersionRollback = 51, "version is below what the device has seen", "install the same or a newer version";
    /// The firmware or TA is older than the package asks.
    FirmwareTooOld = 52, "the package needs a newer firmware", "update the device first";
    /// A chunk is not the next one, or exceeds the size in the manifest.
    ChunkOutOfOrder = 53, "chunk is not the next one", "send the ciphertext once, in order";
    /// Finish came before the last byte.
    Incomplete = 54, "ciphertext is not complete", "send all of it before finish";
    /// The SHA-256 of the ciphertext is not the manifest's.
    CiphertextDigest = 55, "ciphertext differs from what the publisher signed", "the package was damaged or changed";
    /// The SHA-256 of the plaintext is not the manifest's.
    PlaintextDigest = 56, "plaintext differs from what the publisher signed", "pack it again";
    /// The OP-TEE header inside disagrees with the manifest.
    ImageHeader = 57, "the OP-TEE image inside does not match its manifest", "pack it again from the right image";
    /// OP-TEE refused the image: signature or version.
    ImageRefused = 58, "OP-TEE refused the image", "sign the enclave with the TA-signing key of this firmware";

    /// No enclave of this UUID is installed.
    NotInstalled = 70, "no enclave of this UUID is installed", "see `trustbox list`";
    /// An interrupted change of this enclave must be finished first.
    ChangePending = 71, "an interrupted install of this enclave is pending", "install it again";
    /// The enclave refused the session.
    EnclaveRefused = 72, "the enclave refused the session", "see the secure log";
    /// The enclave panicked or was killed.
    EnclavePanicked = 73, "the enclave panicked", "open it again; see the secure log";
}

impl Error {
    /// The `TEE_Result` that carries this error.
    pub const fn code(self) -> u32 {
        BASE | self as u32
    }

    /// The error that a `TEE_Result` carries, if it is one of ours.
    pub fn from_code(code: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|error| error.code() == code)
    }

    /// Whether a `TEE_Result` lies in the range that only the TA itself may return.
    pub const fn is_ours(code: u32) -> bool {
        code & 0xffff_ff00 == BASE
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (error {})", self.text(), *self as u32)
    }
}

impl core::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// Numbers are an interface: a change here breaks every deployed client.
    #[test]
    fn numbers_are_frozen() {
        let numbers: Vec<u32> = Error::ALL.iter().map(|error| *error as u32).collect();
        let expected: Vec<u32> =
            (1..=15).chain(20..=28).chain(40..=43).chain(50..=58).chain(70..=73).collect();
        assert_eq!(numbers, expected);
        assert_eq!(Error::WrongLifecycle as u32, 6);
        assert_eq!(Error::SignatureInvalid as u32, 20);
        assert_eq!(Error::KeyUnknown as u32, 40);
        assert_eq!(Error::CiphertextDigest as u32, 55);
        assert_eq!(Error::NotInstalled as u32, 70);
    }

    #[test]
    fn codes_round_trip() {
        for &error in Error::ALL {
            assert_eq!(Error::from_code(error.code()), Some(error));
            assert!(Error::is_ours(error.code()));
        }
        assert_eq!(Error::from_code(0xffff_0006), None);
        assert!(!Error::is_ours(0xffff_0006));
    }
}

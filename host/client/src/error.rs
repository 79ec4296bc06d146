//! Every way a call fails, and how libteec's numbers tell them apart.

use optee_teec::{ErrorKind, ErrorOrigin};
use thiserror::Error;
use trustbox_api::Command;
use trustbox_package::PackageError;

/// Why a call failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no TEE that this process may use.
    #[error("no TEE: result {code:#010x}")]
    NoTee {
        /// The `TEEC_Result` of `TEEC_InitializeContext`.
        code: u32,
    },
    /// The TEE has no TrustBox TA.
    #[error("the TEE has no TrustBox TA")]
    NoTrustBox,
    /// The TA refused.
    #[error(transparent)]
    Refused(trustbox_api::Error),
    /// The enclave answered with a number of its own.
    #[error("the enclave answered with error {code:#010x}")]
    Enclave {
        /// Its number.
        code: u32,
    },
    /// The enclave's reply is longer than the room for it.
    #[error("reply needs {needed} bytes, there is room for {capacity}")]
    ReplyTooLong {
        /// Bytes of the reply.
        needed: usize,
        /// Bytes there was room for.
        capacity: usize,
    },
    /// The enclave stopped early because its call was cancelled: it ran out of time.
    #[error("the enclave was out of time and stopped")]
    Cancelled,
    /// There is no secure memory for an image of that size, whatever else runs.
    #[error("image has {size} bytes, the device has secure memory for {available}")]
    ImageTooLarge {
        /// Bytes of the image.
        size: usize,
        /// Bytes of the largest image that can be installed.
        available: usize,
    },
    /// The call did not arrive, or its answer did not.
    #[error("the call failed between Linux and the TA: result {code:#010x}, origin {origin}")]
    Transport {
        /// The `TEEC_Result`.
        code: u32,
        /// Where it comes from: 1 client library, 2 driver, 3 TEE, 4 TA.
        origin: u32,
    },
    /// The reply does not decode.
    #[error("reply to {command:?} does not decode")]
    BadReply {
        /// The command.
        command: Command,
    },
    /// The package has nothing that the TA takes.
    #[error(transparent)]
    Package(#[from] PackageError),
}

#[cfg_attr(
    any(test, feature = "without-libteec"),
    allow(dead_code, reason = "nobody asks where no libteec answers")
)]
impl Error {
    pub(crate) fn of_open(error: &optee_teec::Error) -> Self {
        match (trustbox_api::Error::from_code(error.raw_code()), error.kind()) {
            (Some(refused), _) => Self::Refused(refused),
            (None, ErrorKind::ItemNotFound) => Self::NoTrustBox,
            (None, _) => transport(error),
        }
    }

    pub(crate) fn of_command(error: &optee_teec::Error) -> Self {
        match trustbox_api::Error::from_code(error.raw_code()) {
            Some(refused) => Self::Refused(refused),
            None => transport(error),
        }
    }

    pub(crate) fn of_enclave(error: &optee_teec::Error, needed: usize, capacity: usize) -> Self {
        let code = error.raw_code();
        match (trustbox_api::Error::from_code(code), error.kind(), error.origin()) {
            (Some(refused), ..) => Self::Refused(refused),
            (None, ErrorKind::ShortBuffer, Some(ErrorOrigin::TA)) if needed > capacity => {
                Self::ReplyTooLong { needed, capacity }
            }
            (None, ErrorKind::TargetDead, _) => transport(error),
            (None, ErrorKind::Cancel, Some(ErrorOrigin::TA)) => Self::Cancelled,
            (None, _, Some(ErrorOrigin::TA)) => Self::Enclave { code },
            _ => transport(error),
        }
    }
}

fn transport(error: &optee_teec::Error) -> Error {
    Error::Transport { code: error.raw_code(), origin: error.origin().map_or(0, u32::from) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUSY: trustbox_api::Error = trustbox_api::Error::Busy;

    fn teec(code: u32, origin: ErrorOrigin) -> optee_teec::Error {
        optee_teec::Error::from_raw_error(code).with_origin(origin)
    }

    #[test]
    fn refusals_are_known_by_their_number() {
        let error = teec(BUSY.code(), ErrorOrigin::TA);
        assert!(matches!(Error::of_open(&error), Error::Refused(refused) if refused == BUSY));
        assert!(matches!(Error::of_command(&error), Error::Refused(refused) if refused == BUSY));
        assert!(matches!(Error::of_enclave(&error, 0, 0), Error::Refused(refused) if refused == BUSY));
    }

    #[test]
    fn missing_ta_is_not_a_broken_one() {
        assert!(matches!(Error::of_open(&teec(0xffff_0008, ErrorOrigin::TEE)), Error::NoTrustBox));
        let broken = Error::of_open(&teec(0xffff_3024, ErrorOrigin::TEE));
        assert!(matches!(broken, Error::Transport { code: 0xffff_3024, origin: 3 }));
    }

    #[test]
    fn the_enclave_speaks_for_itself() {
        let own = Error::of_enclave(&teec(7, ErrorOrigin::TA), 0, 0);
        assert!(matches!(own, Error::Enclave { code: 7 }));
        let standard = Error::of_enclave(&teec(0xffff_0006, ErrorOrigin::TA), 0, 0);
        assert!(matches!(standard, Error::Enclave { code: 0xffff_0006 }));
        let long = Error::of_enclave(&teec(0xffff_0010, ErrorOrigin::TA), 9, 8);
        assert!(matches!(long, Error::ReplyTooLong { needed: 9, capacity: 8 }));
        let stopped = Error::of_enclave(&teec(0xffff_0002, ErrorOrigin::TA), 0, 0);
        assert!(matches!(stopped, Error::Cancelled));
        let dead = Error::of_enclave(&teec(0xffff_3024, ErrorOrigin::TEE), 0, 0);
        assert!(matches!(dead, Error::Transport { .. }));
        let lost = Error::of_enclave(&teec(0xffff_000e, ErrorOrigin::COMMS), 0, 0);
        assert!(matches!(lost, Error::Transport { origin: 2, .. }));
    }
}

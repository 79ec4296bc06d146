//! For people who write enclaves: what runs inside OP-TEE, launched by the TrustBox TA.
//!
//! An enclave is a type that implements [`Enclave`], in a binary crate that says
//! `trustbox_enclave::enclave!(MyEnclave);` and whose build script writes the header with
//! `optee-utee-build`. The author writes no `unsafe`.
//!
//! What the SDK sees to: only the TrustBox TA may open a session, and OP-TEE says who opens it
//! (INV-9); requests are copied once and bounded before the enclave sees them (INV-4); errors are
//! numbers (INV-10); storage is sealed with a key that dies with the installation.
//!
//! What an enclave can ask of the device is [`TrustBox`]: a signed report of what it is, counters
//! that never go back, notes in the activity log, keys of its own. The TA answers for what it
//! launched ([`Identity`]), whatever was installed meanwhile.
//!
//! A caller may set a time limit. It is cooperative: an enclave that works for long asks
//! [`should_stop`] now and then and returns; one that never asks cannot be stopped.
//!
//! For enclaves in C, `c/trustbox_enclave.h` has the caller check and the launch.
//!
//! Call convention: parameter 0 is the request (memref input), parameter 1 the reply (memref
//! output), the others are none. A request and a reply have [`MAX_MESSAGE`] bytes at most.
#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

extern crate alloc;

mod error;
mod reply;
mod sealed;
mod session;
mod trustbox;

pub use error::EnclaveError;
pub use reply::Reply;
pub use sealed::{Sealed, StorageError};
pub use session::Session;
pub use trustbox::{Counter, TrustBox};
pub use trustbox_api::key::{KeyId, Uuid};
pub use trustbox_api::launch::{Identity, Ticket};
pub use trustbox_api::{Bytes, Error, Secret};

#[doc(hidden)]
pub use trustbox_tee;

/// Bytes of a request and of a reply at most.
pub const MAX_MESSAGE: usize = 4096;

/// What an enclave learns about itself when it is launched.
pub struct Launched {
    /// What the TrustBox TA launched: UUID, version, digest, publisher.
    pub identity: Identity,
    /// Its storage.
    pub storage: Sealed,
    /// What it can ask of the device.
    pub trustbox: TrustBox,
}

/// An enclave, one value per launch.
pub trait Enclave: Sized {
    /// Starts it.
    fn launch(launched: Launched) -> Result<Self, EnclaveError>;
    /// Carries out a command of its own.
    fn call(&mut self, command: u32, request: &[u8], reply: &mut Reply) -> Result<(), EnclaveError>;
}

/// Whether the call under way has run longer than its caller allowed; an enclave that works for long asks, and returns.
pub fn should_stop() -> bool {
    trustbox_tee::cancellation::requested()
}

/// Makes a binary crate an enclave; used once, with a type that implements [`Enclave`].
#[macro_export]
macro_rules! enclave {
    ($enclave:ty) => {
        $crate::trustbox_tee::trusted_application!($crate::Session<$enclave>);
    };
}

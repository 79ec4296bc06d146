//! For people who write enclaves: what runs inside OP-TEE, launched by the TrustBox TA.
//!
//! An enclave is a type that implements its interface, a trait with the attribute
//! [`interface`](trustbox_interface::interface) in a crate that the host program shares, and [`Launch`]. A binary crate
//! says `trustbox_enclave::enclave!(MyEnclave as MyInterfaceService);`, its build script writes the header with
//! `optee-utee-build`. The author writes no `unsafe`. `tb new` makes all of it, `GUIDE.md` beside this crate explains it.
//!
//! ```
//! use trustbox_enclave::{EnclaveError, Launch, Launched, Sealed, fake, interface};
//!
//! /// Remembers one line.
//! #[interface]
//! pub trait Notebook {
//!     /// Keeps a line, and returns the one before it.
//!     #[command(1)]
//!     fn keep(&mut self, line: &str) -> Result<Option<String>, EnclaveError>;
//! }
//!
//! struct Sheet(Sealed);
//!
//! impl Launch for Sheet {
//!     fn launch(launched: Launched) -> Result<Self, EnclaveError> {
//!         Ok(Self(launched.storage))
//!     }
//! }
//!
//! impl Notebook for Sheet {
//!     fn keep(&mut self, line: &str) -> Result<Option<String>, EnclaveError> {
//!         let before = self.0.load("line")?;
//!         self.0.save("line", &line)?;
//!         Ok(before)
//!     }
//! }
//!
//! // The same client that the host program uses on a device, here over an enclave in memory.
//! let mut notebook = NotebookClient::new(fake::launch::<NotebookService, Sheet>().unwrap());
//! assert_eq!(notebook.keep("first").unwrap(), None);
//! drop(notebook);
//! let mut notebook = NotebookClient::new(fake::launch::<NotebookService, Sheet>().unwrap());
//! assert_eq!(notebook.keep("second").unwrap().as_deref(), Some("first"));
//! ```
//!
//! What the SDK sees to: only the TrustBox TA may open a session, and OP-TEE says who opens it
//! (INV-9); requests are copied once and bounded before the enclave sees them (INV-4); errors are
//! numbers (INV-10); storage is sealed with a key that dies with the installation.
//!
//! What an enclave can ask of the device is [`TrustBox`]: a signed report of what it is, counters
//! that never go back, notes in the activity log, keys of its own. The TA answers for what it
//! launched ([`Identity`]), whatever was installed meanwhile. What it can ask of its host program is in
//! [`trustbox_interface`]. There are [`random`] numbers and [`time`].
//!
//! A caller may set a time limit. It is cooperative: an enclave that works for long asks
//! [`should_stop`] now and then and returns; one that never asks cannot be stopped.
//!
//! An enclave that wants its requests as bytes implements [`Enclave`] itself. For enclaves in C,
//! `c/trustbox_enclave.h` has the caller check and the launch.
//!
//! Call convention: parameter 0 is the request (memref input), parameter 1 the reply (memref
//! output), the others are none. A request and a reply have [`MAX_MESSAGE`] bytes at most, unless the interface says
//! otherwise.
//!
//! # Features
//!
//! `transport` adds `Transport`, for data that arrive sealed to the enclave after it was installed.
//!
//! `optee` builds for OP-TEE. Without it, `fake` (on by default) is a device in memory: the same enclave under plain
//! `cargo test`, see [`fake`].
#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

extern crate alloc;
#[cfg(all(feature = "fake", not(feature = "optee")))]
extern crate std;

#[cfg(not(any(feature = "optee", feature = "fake")))]
compile_error!("trustbox-enclave needs the feature optee, for a device, or fake, for tests");

#[cfg(all(feature = "fake", not(feature = "optee")))]
pub mod fake;
#[cfg_attr(feature = "optee", path = "platform/optee.rs")]
#[cfg_attr(not(feature = "optee"), path = "platform/fake.rs")]
mod platform;
pub mod random;
mod reply;
mod sealed;
#[cfg(feature = "optee")]
mod session;
pub mod time;
#[cfg(feature = "transport")]
mod transport;
mod trustbox;
mod typed;

pub use platform::Lock;
pub use reply::Reply;
pub use sealed::{Sealed, StorageError};
#[cfg(feature = "optee")]
pub use session::Session;
#[cfg(feature = "transport")]
pub use transport::Transport;
pub use trustbox::{Counter, TrustBox};
pub use trustbox_api::key::{KeyId, Uuid};
pub use trustbox_api::launch::{Identity, Ticket};
pub use trustbox_api::message::Nonce;
pub use trustbox_api::{Bytes, Error, Secret};
pub use trustbox_interface::{EnclaveError, MAX_MESSAGE, Refused, Service, errors, host_calls, interface};
pub use typed::{Launch, Typed};

#[doc(hidden)]
#[cfg(feature = "optee")]
pub use trustbox_tee;

/// What an enclave learns about itself when it is launched.
pub struct Launched {
    /// What the TrustBox TA launched: UUID, version, digest, publisher.
    pub identity: Identity,
    /// Its storage.
    pub storage: Sealed,
    /// What it can ask of the device.
    pub trustbox: TrustBox,
}

/// An enclave that takes its requests as bytes, one value per launch; [`Typed`] is one for every interface.
pub trait Enclave: Sized {
    /// Bytes of a request at most.
    const MAX_REQUEST: usize = MAX_MESSAGE;
    /// Bytes of a reply at most.
    const MAX_REPLY: usize = MAX_MESSAGE;

    /// Starts it.
    fn launch(launched: Launched) -> Result<Self, EnclaveError>;
    /// Carries out a command of its own.
    fn call(&mut self, command: u32, request: &[u8], reply: &mut Reply) -> Result<(), EnclaveError>;
}

/// Whether the call under way has run longer than its caller allowed; an enclave that works for long asks, and returns.
///
/// ```
/// assert!(!trustbox_enclave::should_stop());
/// trustbox_enclave::fake::stop(true);
/// assert!(trustbox_enclave::should_stop());
/// ```
pub fn should_stop() -> bool {
    platform::should_stop()
}

/// Makes a binary crate an enclave; used once, with a type that implements [`Enclave`], or with a type that implements
/// [`Launch`] and an interface: `enclave!(MyEnclave as MyInterfaceService)`.
#[cfg(feature = "optee")]
#[macro_export]
macro_rules! enclave {
    ($enclave:ident as $interface:ty) => {
        $crate::trustbox_tee::trusted_application!($crate::Session<$crate::Typed<$interface, $enclave>>);
    };
    ($enclave:ty) => {
        $crate::trustbox_tee::trusted_application!($crate::Session<$enclave>);
    };
}

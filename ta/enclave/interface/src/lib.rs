//! One definition of what an enclave does: a Rust trait, from which come the enclave's dispatcher and the host's client.
//!
//! The enclave and its host program share a small crate with the trait, so neither side can disagree about a command, and
//! the host program is built without the enclave's code. `no_std`, and without OP-TEE.
//!
//! ```
//! use trustbox_interface::{EnclaveError, errors, interface};
//!
//! errors! {
//!     /// Why the counter refuses.
//!     pub enum CounterError {
//!         /// the total would overflow
//!         Overflow = 1,
//!     }
//! }
//!
//! /// Counts.
//! #[interface(errors = CounterError)]
//! pub trait Counter {
//!     /// Adds, and returns the total.
//!     #[command(1)]
//!     fn add(&mut self, steps: u64) -> Result<u64, EnclaveError>;
//! }
//!
//! struct Total(u64);
//!
//! impl Counter for Total {
//!     fn add(&mut self, steps: u64) -> Result<u64, EnclaveError> {
//!         self.0 = self.0.checked_add(steps).ok_or(CounterError::Overflow)?;
//!         Ok(self.0)
//!     }
//! }
//!
//! // On a device the client gets a `trustbox_client::EnclaveSession`; here it calls the dispatcher itself.
//! let mut counter = CounterClient::new(trustbox_interface::local::<CounterService, _>(Total(0)));
//! assert_eq!(counter.add(3).unwrap(), 3);
//! let refused = counter.add(u64::MAX).unwrap_err();
//! assert_eq!(refused.own(), Some(CounterError::Overflow));
//! assert_eq!(refused.to_string(), "the enclave refused: the total would overflow (1)");
//! ```
//!
//! Arguments and results are whatever serde takes; arguments may borrow (`&str`, `&[u8]`). They travel as postcard, one
//! message each way, of [`MAX_MESSAGE`] bytes at most unless the interface says `request = N` or `reply = N`. Every
//! message is decoded from a private copy, whole: what does not decode, or has bytes left over, is refused.
//!
//! # Larger messages
//!
//! What is shared with Linux is bounded by the interface, and allocated once for a session:
//!
//! ```
//! use trustbox_interface::{EnclaveError, interface};
//!
//! #[interface(request = 64 * 1024, reply = 64)]
//! trait Images {
//!     #[command(1)]
//!     fn brightest(&mut self, points: &[u8]) -> Result<u8, EnclaveError>;
//! }
//!
//! struct Eye;
//! impl Images for Eye {
//!     fn brightest(&mut self, points: &[u8]) -> Result<u8, EnclaveError> {
//!         Ok(points.iter().copied().max().unwrap_or(0))
//!     }
//! }
//!
//! let mut images = ImagesClient::new(trustbox_interface::local::<ImagesService, _>(Eye));
//! assert_eq!(images.brightest(&[7; 60_000]).unwrap(), 7);
//! assert_eq!(images.brightest(&[7; 70_000]).unwrap_err(), trustbox_interface::CallError::RequestTooLong);
//! ```
//!
//! # Asking the host
//!
//! A command may ask its host program for something and go on with the answer. What it may ask is a second trait:
//!
//! ```
//! use trustbox_interface::{EnclaveError, Refused, host_calls, interface};
//!
//! /// What the enclave may ask.
//! #[host_calls]
//! pub trait Files {
//!     /// The content of a file.
//!     #[command(1)]
//!     fn read(&mut self, name: &str) -> Result<Vec<u8>, Refused>;
//! }
//!
//! /// Sums up files of the host.
//! #[interface(host = Files)]
//! pub trait Summing {
//!     /// How many bytes two files have together.
//!     #[command(1)]
//!     async fn size(&mut self, host: &FilesHost, first: &str, second: &str) -> Result<u64, EnclaveError>;
//! }
//!
//! struct Sum;
//! impl Summing for Sum {
//!     async fn size(&mut self, host: &FilesHost, first: &str, second: &str) -> Result<u64, EnclaveError> {
//!         let (first, second) = (host.read(first).await?, host.read(second).await?);
//!         Ok((first.len() + second.len()) as u64)
//!     }
//! }
//!
//! struct Folder;
//! impl Files for Folder {
//!     fn read(&mut self, name: &str) -> Result<Vec<u8>, Refused> {
//!         if name == "a" { Ok(vec![0; 3]) } else { Err(Refused) }
//!     }
//! }
//!
//! let mut sum = SummingClient::new(trustbox_interface::local::<SummingService, _>(Sum), Folder);
//! assert_eq!(sum.size("a", "a").unwrap(), 6);
//! assert_eq!(sum.size("a", "b").unwrap_err().sdk(), Some(EnclaveError::HOST_REFUSED));
//! ```
//!
//! Nothing in OP-TEE changes for it. The command returns early with the question; the client asks the host program and
//! calls again with the answer; the `async fn` goes on where it stopped. The answer is Linux's: bounded, copied once,
//! decoded whole, and as trustworthy as Linux is. While a command waits, the enclave takes no other one. A host that never
//! answers leaves the command where it is, as a power cut would; what was stored before stays stored.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

extern crate alloc;
#[cfg(test)]
extern crate std;

// So that examples and tests in here may use the attributes, which name this crate.
extern crate self as trustbox_interface;

mod client;
mod error;
mod host;
mod message;
mod runner;

pub use client::{CallError, Local, Transport, local};
pub use error::{EnclaveError, NoErrors, Numbers};
pub use host::{HostLink, Refused};
pub use message::MAX_MESSAGE;
pub use runner::{Runner, Service};
pub use serde;
pub use trustbox_interface_macros::{host_calls, interface};

/// For the code that the attributes write.
#[doc(hidden)]
pub mod private {
    pub use crate::client::{Limits, call, no_host};
    pub use crate::host::answered;
    pub use crate::message::{decode, encode};
    pub use alloc::vec::Vec;
}

//! OP-TEE as TrustBox sees it: the only crate with `unsafe` and raw memory references.
//!
//! Two layers. Below, each in a module of its own and used by the TrustBox TA and by the enclave
//! SDK alike: [`entry`] points, [`parameters`] from outside, shareable [`mapping`]s, [`session`]s
//! to other trusted applications, [`storage`], [`identity`] of the caller. Above, for the TrustBox
//! TA only: the trait `Tee` on OP-TEE and the dispatcher that feeds `trustbox-core`.
//!
//! libutee panics the whole TA on results it does not expect. Where a hostile normal world can
//! bring such a result about (storage, signatures, wrapped keys), this crate makes the system call
//! itself and turns every result into a number (INV-10).
#![no_std]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

extern crate alloc;

#[cfg(feature = "trusted-application")]
mod application;
pub mod cancellation;
#[cfg(feature = "trusted-application")]
mod device_keys;
#[cfg(feature = "trusted-application")]
mod enclave;
pub mod entry;
#[cfg(feature = "trusted-application")]
mod footprint;
pub mod identity;
pub mod mapping;
#[cfg(feature = "trusted-application")]
mod measurement;
#[cfg(any(feature = "trusted-application", feature = "primitives"))]
pub mod operation;
#[cfg(feature = "trusted-application")]
mod optee;
pub mod parameters;
#[cfg(feature = "trusted-application")]
mod platform;
pub mod random;
#[cfg(feature = "trusted-application")]
mod secstor;
pub mod session;
pub mod status;
pub mod storage;

#[cfg(feature = "trusted-application")]
pub use application::TrustBox;
pub use optee_utee;

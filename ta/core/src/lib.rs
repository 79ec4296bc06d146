//! All decisions of the TrustBox TA.
//!
//! Generic over the trait [`Tee`], so the very code that runs inside OP-TEE runs under plain
//! `cargo test` on the deterministic fake. [`Session`] is the way in: one per session to the TA,
//! it holds each call against the command table and passes it on:
//!
//! - `authority`: who may say what; turns envelopes into proof that a check was made
//! - `provision`: owner, delegations
//! - `class_keys`: import of class keys
//! - `install`: from ciphertext to an installed enclave
//! - `enclaves`: what is installed, launch
//! - `records`: what is stored, and how it changes
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

#[cfg(any(test, feature = "fake"))]
extern crate std;

mod authority;
mod class_keys;
mod enclaves;
#[cfg(feature = "fake")]
pub mod fake;
mod image;
mod info;
mod install;
mod provision;
mod records;
mod reserved;
mod seal;
mod session;
mod spki;
mod tee;

pub use session::Session;
pub use tee::{DevicePublicKey, Platform, Record, Slot, Tee, Untrusted};

//! All decisions of the TrustBox TA.
//!
//! Generic over the trait [`Tee`], so the very code that runs inside OP-TEE runs under plain
//! `cargo test` on the deterministic fake. [`Session`] is the way in: one per session to the TA,
//! it holds each call against the command table and passes it on:
//!
//! - `authority`: who may say what; turns envelopes into proof that a check was made
//! - `ownership`: the device's life, from blank to decommissioned; `delegation`: roles, policy, revocation
//! - `class_keys`: import of class keys
//! - `install`: from ciphertext to an installed enclave; `settle`: as one change of two stores
//! - `enclaves`: what is installed, launch, removal; `ticket`, `callbacks`: what a launched enclave may ask
//! - `log`: the activity log; `token`: what the attestation key signs; `csr`: what the factory certifies
//! - `records`, `revocations`: what is stored, and how it changes
//!
//! The way into each command is never inlined: together their frames would be more than the stack of a TA.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

extern crate alloc;
#[cfg(any(test, feature = "fake"))]
extern crate std;

mod authority;
mod callbacks;
mod class_keys;
mod csr;
mod delegation;
mod der;
mod enclaves;
#[cfg(feature = "fake")]
pub mod fake;
mod identity;
mod image;
mod info;
mod install;
mod log;
mod ownership;
mod records;
mod reserved;
mod revocations;
mod seal;
mod session;
mod settle;
mod spki;
mod tee;
mod ticket;
mod token;

pub use session::Session;
pub use tee::{DevicePublicKey, Held, Moment, Platform, Record, Slot, Tee, Untrusted};

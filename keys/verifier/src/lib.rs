//! Whether to believe a device: verifies attestation tokens of TrustBox.
//!
//! Three steps, each of which needs the result of the one before:
//!
//! 1. [`Token::parse`]: a COSE_Sign1 over well-formed claims, or a [`Refusal`] that names the claim;
//! 2. [`Token::verify`], of a device, or [`Token::verify_report`], of an enclave: signed by this attestation key, over this
//!    nonce, and of the device that the key belongs to; neither takes what is for the other;
//! 3. [`appraise`]: each claim against [`ReferenceValues`], with a reason for each.
//!
//! Strict on structure: definite lengths, no duplicates, no bytes left over, bounded nesting. Encodings that are not the
//! preferred ones are accepted, and so are claims that nobody here knows. Which key to believe is the caller's to know: that
//! of the certificate that the factory made for the device.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod appraisal;
mod claims;
mod cose;
mod reader;
mod refusal;
mod report;

pub use appraisal::{Appraisal, Finding, Reference, ReferenceValues, Tier, appraise, lifecycle_name};
pub use claims::{Claims, Component};
pub use cose::Token;
pub use refusal::Refusal;
pub use report::Report;

//! TrustBox file formats: packages (`.cpk`) and what is in them, and the request files of a device. Also what its tools
//! share: how things are called ([`words`]), and signatures checked (module `verify`, behind the feature of that name).
//!
//! Publisher tools make packages (module `seal`, and `original` for devices of old) and open them (module `open`); devices and
//! inspectors read them ([`Package`]). Nothing here decides whether a package is to be believed: the TA does.
//!
//! The format is specified, byte by byte and with test vectors, in `FORMAT.md` beside this crate.
//!
//! # Without `std`
//!
//! Without features there is what needs no heap: [`frame`], [`image`], [`trusted`], [`annex`]. Feature `alloc` adds the JSON
//! manifest and whole packages. `verify`, `seal` and `open` are for hosts.
#![cfg_attr(not(any(test, feature = "std")), no_std)]
#![forbid(unsafe_code)]
// What can be part of a TA holds to its rules.
#![cfg_attr(
    not(any(test, feature = "std")),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

#[cfg(any(test, feature = "alloc"))]
extern crate alloc;
pub mod annex;
#[cfg(feature = "open")]
pub mod certificate;
#[cfg(feature = "alloc")]
pub mod class_key;
#[cfg(feature = "alloc")]
pub mod date;
pub mod frame;
pub mod image;
#[cfg(feature = "alloc")]
pub mod json;
#[cfg(feature = "alloc")]
pub mod layout;
#[cfg(feature = "alloc")]
pub mod legacy;
#[cfg(feature = "open")]
pub mod open;
#[cfg(feature = "seal")]
pub mod original;
#[cfg(feature = "alloc")]
pub mod package;
#[cfg(feature = "std")]
pub mod request;
#[cfg(feature = "seal")]
pub mod seal;
#[cfg(feature = "seal")]
pub mod sign;
pub mod trusted;
#[cfg(test)]
mod vectors;
#[cfg(feature = "verify")]
pub mod verify;
#[cfg(feature = "std")]
pub mod words;

#[cfg(feature = "seal")]
pub use class_key::ClassKey;
pub use frame::FrameError;
#[cfg(feature = "alloc")]
pub use package::{MAX_PACKAGE, Package, PackageError};
#[cfg(feature = "std")]
pub use request::Request;
#[cfg(feature = "seal")]
pub use seal::{Edition, SealError, seal};

//! The interface of the TrustBox TA as data.
//!
//! Everything that crosses the boundary of the trusted application is declared here and only
//! here: command numbers and what each may do when ([`command`]), request and reply messages
//! ([`message`]), signed statements ([`statement`]), package manifests ([`manifest`]), what an
//! enclave is handed at launch ([`launch`]), the activity log ([`log`]), what the device signs
//! ([`token`]), numbered errors ([`error`]) and fixed limits
//! ([`limits`]). The dispatcher, the client library, the tools and the tests all derive from it.
//!
//! Messages are encoded with postcard 1.x. Nothing here allocates.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod bytes;
mod cbor;
pub mod command;
pub mod error;
pub mod key;
pub mod launch;
pub mod limits;
pub mod log;
pub mod manifest;
pub mod message;
pub mod statement;
pub mod token;
pub mod wire;

pub use bytes::{Bytes, Secret};
pub use command::Command;
pub use error::Error;
pub use key::{DeviceId, KeyId, KeyName, KeyRef, Name, PublicKey, Uuid};

/// UUID of the TrustBox trusted application, b8a6e9d4-3f0c-4f7e-9a53-1d2c7e50b4c1.
pub const TRUSTBOX_UUID: Uuid = Uuid(Bytes([
    0xb8, 0xa6, 0xe9, 0xd4, 0x3f, 0x0c, 0x4f, 0x7e, 0x9a, 0x53, 0x1d, 0x2c, 0x7e, 0x50, 0xb4, 0xc1,
]));

//! What an NXP LS1028A boots from, as data: reset configuration word (RCW), pre-boot loader image (PBL), firmware image
//! package (FIP), and the record by which a slot is chosen.
//!
//! Everything is decoded exactly or refused, and encodes to the same bytes again. Nothing here opens a file: the builder makes
//! images with it, `tb inspect` explains them with it, and the tests execute them as the boot ROM would.
#![forbid(unsafe_code)]

pub mod boot_state;
pub mod describe;
mod error;
mod fields;
pub mod fip;
pub mod pbi;
pub mod pbl;
pub mod rcw;
pub mod secure;
pub mod security_header;
pub mod words;

pub use error::Error;

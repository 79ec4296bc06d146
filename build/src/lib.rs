//! The TrustBox builder: firmware, trusted applications, the emulated device and the tests that run on it.
//!
//! `cli` is the command line. Other tools of this repository use [`Builder`] to get parts built, [`Device`] to boot the
//! emulated device and run commands on it, and [`sign_ta`] to sign trusted applications.
#![forbid(unsafe_code)]

mod anchors;
mod apt;
mod bench;
mod board;
mod boot;
mod builder;
mod campaign;
mod cargo;
pub mod cli;
mod cpio;
mod debugger;
mod demo;
mod device;
mod device_ports;
mod doctor;
mod download;
mod elf;
mod firmware;
mod fuse_command;
mod fuzz;
mod guest;
mod hash;
mod image;
mod input;
mod inspect;
mod lock;
mod lock_update;
mod modules;
mod new;
mod owned;
mod pack;
mod project;
mod python;
mod qemu_args;
mod qemu_command;
mod recognise;
mod run;
mod running;
mod sbom;
pub(crate) mod served;
pub mod sign_ta;
mod sources;
mod step;
mod suite;
mod ta;
mod ta_signature;
mod tool;
mod ui;
mod unpack;
mod usage;
mod verify;
mod yocto;

pub use builder::{Builder, Repo};
pub use device::{BootOptions, Device, Output};
pub use guest::{GuestKind, Images};
pub use ta::{Enclave, TrustedApplication};

/// UUID of the TrustBox TA; the OP-TEE patches hold the same value, and a test compares them.
pub const TRUSTBOX_UUID: &str = "b8a6e9d4-3f0c-4f7e-9a53-1d2c7e50b4c1";

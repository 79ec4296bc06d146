//! Verified boot: from the first instruction to Linux, nothing runs that was not signed, and nothing older than what ran.
//!
//! TF-A's BL1 verifies BL2, BL2 verifies BL31, OP-TEE and U-Boot by X.509 certificates and counters, U-Boot verifies one signed
//! image with kernel, device tree and RAM disk. Firmware for `tb qemu` as it is used every day is another build: its U-Boot
//! takes any kernel of the command line, and says NOT-TRUSTED.

pub(crate) mod board;
pub(crate) mod certificates;
pub(crate) mod chain;
pub(crate) mod chain_of_trust;
pub(crate) mod emulated;
pub(crate) mod fit;
pub(crate) mod fuses;
pub(crate) mod image;
pub(crate) mod keys;
pub(crate) mod medium;
pub(crate) mod options;
pub(crate) mod root_keys;
pub(crate) mod u_boot;
pub(crate) mod x509;

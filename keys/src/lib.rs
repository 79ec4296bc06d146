//! Keys of a TrustBox fleet: key files, what an owner signs, and class keys wrapped for one device.
//!
//! For publishers, owners and key services on a host; nothing here runs on a device. Private keys come from files
//! only, never from a command line or the environment.
//!
//! - [`files`]: P-256 keys as PKCS#8 and SubjectPublicKeyInfo PEM, written atomically, refused when others may read.
//! - [`class_keys`]: the store of class keys, the original's JSON format.
//! - [`issue`]: statements for the TA.
//! - [`dev`]: development keys, generated on first use and NOT-TRUSTED.
//! - [`show`]: what a statement says.
#![forbid(unsafe_code)]

pub mod class_keys;
pub mod dev;
pub mod files;
pub mod issue;
pub mod show;

pub use class_keys::ClassKeys;
pub use dev::DevKeys;
pub use p256::ecdsa::SigningKey;

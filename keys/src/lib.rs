//! Keys of a TrustBox fleet: key files, what an owner signs, and class keys wrapped for one device.
//!
//! For publishers, owners and key services on a host; nothing here runs on a device. Private keys come from files or a
//! PKCS#11 token, never from a command line or the environment.
//!
//! - [`files`]: P-256 keys as PKCS#8 and SubjectPublicKeyInfo PEM, written atomically, refused when others may read.
//! - [`class_keys`]: the store of class keys, the original's JSON format.
//! - [`issue`]: statements for the TA.
//! - [`roles`]: whose keys there are, and how each is made.
//! - [`dev`]: development keys, generated on first use and NOT-TRUSTED.
//! - [`reference`]: what a verifier must expect of a device, as files.
//! - [`fuses`]: what is written to a board's fuses, and in which order.
//! - [`show`]: what a statement says.
//! - [`protocol`], [`policy`], [`audit`]: what the key-release service and its clients say to each other, who gets which
//!   key, and the log that shows it. `README.md` beside this crate is the guide.
//!
//! With the feature `client`: `client`, which asks the service. With the feature `service`: that, `ceremony`, which makes an
//! owner's keys, `factory`, which certifies devices, `evidence`, which verifies tokens and reports, `station`, which makes them, and `service`, which releases keys to them.
#![forbid(unsafe_code)]

pub mod audit;
#[cfg(feature = "service")]
pub mod ceremony;
pub mod class_keys;
#[cfg(feature = "client")]
pub mod client;
pub mod dev;
#[cfg(feature = "service")]
pub mod evidence;
#[cfg(feature = "service")]
pub mod factory;
pub mod files;
pub mod fuses;
pub mod issue;
pub mod policy;
pub mod protocol;
pub mod reference;
pub mod roles;
#[cfg(feature = "service")]
pub mod service;
pub mod show;
#[cfg(feature = "service")]
pub mod station;
#[cfg(feature = "client")]
pub mod tls;

pub use class_keys::ClassKeys;
pub use dev::DevKeys;
pub use p256::ecdsa::SigningKey;

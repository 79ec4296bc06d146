//! Keys of publishers in PKCS#11 tokens (hardware security modules): they sign and encrypt there and never leave.
//!
//! For tools on a host. A key is named by a [`Uri`]. PINs come from a file or the environment, never from a command line.
//!
//! | key | does | mechanism |
//! | --- | --- | --- |
//! | [`EcKey`] | signs packages (publisher) | `CKM_ECDSA` |
//! | [`RsaKey`] | signs TAs for OP-TEE (OEM), and packages of the original | `CKM_RSA_PKCS_PSS`, `CKM_RSA_PKCS` |
//! | [`AesKey`] | wraps content keys (class key) | `CKM_AES_GCM` |
//! | [`KeySession`] | makes class keys, wraps them for devices and content keys under them (key service) | `CKM_RSA_PKCS_OAEP`, `CKM_RSA_PKCS`, `CKM_AES_GCM` |
#![forbid(unsafe_code)]

mod keys;
mod token;
mod uri;
mod wrap;

pub use keys::{AesKey, EcKey, RsaKey};
pub use uri::{MODULE_VARIABLE, PIN_VARIABLE, SCHEME, Uri};
pub use wrap::{KeySession, Padding, TokenError};

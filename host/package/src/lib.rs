//! TrustBox file formats: packages (`.cpk`) and what is in them, and the request files of a device. Also what its tools
//! share: how things are called ([`words`]), and signatures checked (module `verify`, behind the feature of that name).
//!
//! Publisher tools make packages (module `seal`, behind the feature of that name), devices and inspectors read them
//! ([`Package`]). Nothing here decides whether a package is to be believed: the TA does.
//!
//! # Streams of a package
//!
//! The frame ([`frame`]) is the original's, version 1, and so is the JSON manifest ([`json`]), which says what
//! the other streams are. We write six:
//!
//! | stream | content |
//! | --- | --- |
//! | 0 | ciphertext of the image, a signed OP-TEE TA, under AES-256-GCM with empty additional data |
//! | 1 | its nonce, 12 octets |
//! | 2 | its tag, 16 octets |
//! | 3 | SHA-256 of the plaintext, 32 octets |
//! | 4 | the JSON manifest, for old tools; the index stands in the frame's header |
//! | 5 | the trusted manifest: a `trustbox_api::statement::Envelope` of kind `Manifest` |
//!
//! **Rule:** the trusted manifest is the stream that follows the JSON manifest directly, if there is one. It is
//! also listed in the JSON manifest's package map. The original writes its JSON manifest last, so its packages
//! have no trusted manifest; [`legacy`] reads them.
#![forbid(unsafe_code)]

pub mod class_key;
pub mod frame;
pub mod image;
pub mod json;
pub mod legacy;
pub mod package;
pub mod request;
#[cfg(feature = "seal")]
pub mod seal;
#[cfg(feature = "seal")]
pub mod sign;
#[cfg(feature = "verify")]
pub mod verify;
pub mod words;

#[cfg(feature = "seal")]
pub use class_key::ClassKey;
pub use frame::FrameError;
pub use package::{MAX_PACKAGE, Package, PackageError};
pub use request::Request;
#[cfg(feature = "seal")]
pub use seal::{Edition, SealError, seal};

//! The trusted manifest: what a publisher signs about one version of an enclave.
//!
//! It is the body of a statement of kind `Manifest` and travels as an extra stream of the package.
//! [`Terms`] come first and the wrapped content key last, because everything before the wrapped
//! key, the statement header included, is the additional data of its encryption: a wrapped key
//! cannot be moved to another manifest.

use serde::{Deserialize, Serialize};

use crate::bytes::Bytes;
use crate::error::Error;
use crate::key::{KeyId, KeyRef, Name, Uuid};
use crate::message::Version;
use crate::statement::Header;
use crate::wire;

/// Bytes of an AES-GCM nonce (NIST SP 800-38D, 5.2.1.1).
pub const NONCE_SIZE: usize = 12;
/// Bytes of an AES-GCM tag.
pub const TAG_SIZE: usize = 16;

/// What the publisher says about the enclave.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Terms {
    /// The publisher's key; the statement must be signed by it.
    pub publisher: KeyId,
    /// UUID of the enclave.
    pub uuid: Uuid,
    /// Display name.
    pub name: Name,
    /// Version; the OP-TEE header inside carries the same.
    pub version: u32,
    /// Lowest version of OP-TEE it runs on.
    pub min_optee: Version,
    /// Lowest version of the TrustBox TA it runs on.
    pub min_ta: Version,
    /// Bytes of the image; ciphertext and plaintext are equally long.
    pub size: u32,
    /// SHA-256 of the ciphertext.
    pub ciphertext_sha256: Bytes<32>,
    /// SHA-256 of the plaintext, the signed OP-TEE image.
    pub plaintext_sha256: Bytes<32>,
    /// Nonce of the image's AES-256-GCM.
    pub nonce: Bytes<NONCE_SIZE>,
    /// Tag of the image's AES-256-GCM.
    pub tag: Bytes<TAG_SIZE>,
    /// The class key that wraps the content key.
    pub class_key: KeyRef,
}

/// A content key under AES-256-GCM with the class key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WrappedKey {
    /// Random nonce.
    pub nonce: Bytes<NONCE_SIZE>,
    /// The encrypted content key.
    pub ciphertext: Bytes<32>,
    /// Tag over it and the additional data.
    pub tag: Bytes<TAG_SIZE>,
}

/// Body of a statement of kind `Manifest`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// What the publisher says.
    pub terms: Terms,
    /// The wrapped content key.
    pub content_key: WrappedKey,
}

/// A payload of kind `Manifest` taken apart, not yet verified.
#[derive(Clone, Debug)]
pub struct Parsed<'a> {
    /// Header of the statement.
    pub header: Header,
    /// The manifest.
    pub manifest: Manifest,
    /// Header and terms as encoded: additional data of the wrapped content key.
    pub additional_data: &'a [u8],
}

/// Takes the payload of a manifest statement apart.
pub fn parse(payload: &[u8]) -> Result<Parsed<'_>, Error> {
    let (header, rest) = wire::decode_prefix(payload)?;
    let (terms, rest) = wire::decode_prefix(rest)?;
    let additional_data = payload.get(..payload.len() - rest.len()).ok_or(Error::Internal)?;
    let content_key = wire::decode(rest)?;
    Ok(Parsed { header, manifest: Manifest { terms, content_key }, additional_data })
}

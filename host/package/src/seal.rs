//! From a signed OP-TEE image to a package: encrypt, wrap the content key, sign. For publisher tools.

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce};
use p256::ecdsa::SigningKey;
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use trustbox_api::key::{KeyId, KeyRef, Name};
use trustbox_api::manifest::{NONCE_SIZE, TAG_SIZE, Terms, WrappedKey};
use trustbox_api::message::Version;
use trustbox_api::statement::{Audience, FORMAT, Header, Kind};
use trustbox_api::{Bytes, Secret};

use crate::class_key::{self, ClassKey, random_secret};
use crate::frame::{Frame, FrameError};
use crate::image::{Image, ImageError};
use crate::json;
use crate::sign::{self, SignError};

/// What the publisher says about an edition of an enclave; the rest is read out of the image.
#[derive(Clone, Debug)]
pub struct Edition {
    /// Display name, not empty.
    pub name: Name,
    /// Vendor, for people.
    pub vendor: String,
    /// The owner root under which the package is published.
    pub owner_root: KeyId,
    /// The class key that wraps the content key.
    pub class_key: KeyRef,
    /// Lowest version of OP-TEE it runs on.
    pub min_optee: Version,
    /// Lowest version of the TrustBox TA it runs on.
    pub min_ta: Version,
    /// When it was packed, in seconds since 1970-01-01 UTC; an input, so that packing depends on no clock.
    pub date: u64,
}

/// Why an image was not packed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SealError {
    /// The image is not a signed OP-TEE TA.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The display name is empty.
    #[error("name is empty")]
    EmptyName,
    /// The host has no random numbers.
    #[error("no random numbers: {0}")]
    Random(#[from] getrandom::Error),
    /// AES-GCM failed.
    #[error("encryption failed")]
    Encryption,
    /// The statement was not signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The JSON manifest was not written.
    #[error("JSON manifest: {0}")]
    Json(#[from] serde_json::Error),
    /// The frame was not written.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// The encrypted image and what belongs to it.
struct Ciphertext {
    bytes: Vec<u8>,
    nonce: Bytes<NONCE_SIZE>,
    tag: Bytes<TAG_SIZE>,
}

/// Packs a signed OP-TEE image; returns the bytes of the package.
///
/// Content key and nonces are fresh; everything else follows from the arguments.
pub fn seal(
    image: &[u8],
    edition: &Edition,
    class_key: &ClassKey,
    publisher: &SigningKey,
) -> Result<Vec<u8>, SealError> {
    let facts = Image::read(image)?;
    if edition.name.is_empty() {
        return Err(SealError::EmptyName);
    }
    let content_key = random_secret()?;
    let ciphertext = encrypt(&content_key, image.to_vec(), &[])?;
    let terms = terms(image, &facts, edition, &ciphertext, publisher);
    let statement = statement(&terms, edition, &content_key, class_key, publisher)?;
    let json = serde_json::to_vec(&json_manifest(&terms, edition))?;
    let streams = vec![
        &ciphertext.bytes[..],
        ciphertext.nonce.as_ref(),
        ciphertext.tag.as_ref(),
        terms.plaintext_sha256.as_ref(),
        &json,
        &statement,
    ];
    Ok(Frame { streams, manifest: 4 }.write()?)
}

fn terms(
    image: &[u8],
    facts: &Image,
    edition: &Edition,
    ciphertext: &Ciphertext,
    publisher: &SigningKey,
) -> Terms {
    Terms {
        publisher: sign::public_key(publisher.verifying_key()).id(),
        uuid: facts.uuid,
        name: edition.name,
        version: facts.version,
        min_optee: edition.min_optee,
        min_ta: edition.min_ta,
        size: facts.size,
        ciphertext_sha256: Bytes(Sha256::digest(&ciphertext.bytes).into()),
        plaintext_sha256: Bytes(Sha256::digest(image).into()),
        nonce: ciphertext.nonce,
        tag: ciphertext.tag,
        class_key: edition.class_key,
    }
}

/// The trusted manifest: everything before the wrapped content key is its additional data.
fn statement(
    terms: &Terms,
    edition: &Edition,
    content_key: &Secret<32>,
    class_key: &ClassKey,
    publisher: &SigningKey,
) -> Result<Vec<u8>, SealError> {
    let header = Header {
        kind: Kind::Manifest,
        format: FORMAT,
        root: edition.owner_root,
        audience: Audience::Fleet,
        sequence: terms.version.into(),
    };
    let front = [sign::encode(&header)?, sign::encode(terms)?].concat();
    let wrapped = wrap(content_key, class_key, &front)?;
    let payload = [front, sign::encode(&wrapped)?].concat();
    Ok(sign::payload(&payload, publisher)?)
}

fn wrap(content_key: &Secret<32>, class_key: &ClassKey, additional: &[u8]) -> Result<WrappedKey, SealError> {
    let mut key = content_key.clone();
    let (nonce, tag) = encrypt_in_place(class_key.expose(), key.expose_mut(), additional)?;
    Ok(WrappedKey { nonce, ciphertext: Bytes(*key.expose()), tag })
}

fn encrypt(key: &Secret<32>, mut bytes: Vec<u8>, additional: &[u8]) -> Result<Ciphertext, SealError> {
    let (nonce, tag) = encrypt_in_place(key.expose(), &mut bytes, additional)?;
    Ok(Ciphertext { bytes, nonce, tag })
}

/// AES-256-GCM under a fresh random nonce.
fn encrypt_in_place(
    key: &[u8; 32],
    bytes: &mut [u8],
    additional: &[u8],
) -> Result<(Bytes<NONCE_SIZE>, Bytes<TAG_SIZE>), SealError> {
    let mut nonce = [0; NONCE_SIZE];
    getrandom::fill(&mut nonce)?;
    let tag = Aes256Gcm::new(key.into())
        .encrypt_inout_detached(&Nonce::from(nonce), additional, bytes.into())
        .map_err(|_| SealError::Encryption)?;
    Ok((Bytes(nonce), Bytes(tag.into())))
}

fn json_manifest(terms: &Terms, edition: &Edition) -> json::Manifest {
    let key_name = class_key::name(&terms.class_key);
    json::Manifest {
        id: terms.uuid.to_string(),
        name: terms.name.to_string(),
        vendor: edition.vendor.clone(),
        payload: json::Payload {
            data: 0,
            target: json::Target { arch: "aarch64".to_owned(), os: "OP-TEE".to_owned() },
            ver: json::PayloadVersion { maj: terms.version, min: 0, rev: 0, date: json::date(edition.date) },
            enc: json::Encryption::AesGcm { key_name, key_strength: 256, nonce: 1, tag: 2 },
            dig: json::Digest::Sha256 { data: 3 },
            sig: json::Signature::None,
            cert: json::Certificate::None,
        },
        package: json::Container {
            map: (0..6).collect(),
            dig: json::Digest::None,
            sig: json::Signature::None,
            cert: json::Certificate::None,
        },
    }
}

#[cfg(test)]
mod tests;

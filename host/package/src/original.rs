//! Writes packages as the original does, for devices that still run it.
//!
//! Seven streams: ciphertext, nonce, tag, SHA-256 of the plaintext, RSA signature of the plaintext, certificate, JSON manifest. The
//! payload is encrypted by the class key itself, under a fresh nonce: there is no content key. Nothing authenticates the JSON
//! manifest. Where a device can take it, a package with a trusted manifest is the better one ([`crate::seal()`]).

use sha2::{Digest as _, Sha256};
use trustbox_api::Bytes;
use trustbox_api::manifest::NONCE_SIZE;

use crate::frame::Frame;
use crate::image::Image;
use crate::json::{
    Certificate, Container, Digest, Encryption, MAX_JSON, Manifest, Payload, PayloadVersion, Signature,
    Target,
};
use crate::layout::MAX_CERTIFICATE;
use crate::seal::{Aes256, SealError};
use crate::sign::SignError;

/// Bits of the key that signs a package of the original.
pub const KEY_BITS: u32 = 2048;

/// What the publisher says about an edition.
#[derive(Clone, Debug)]
pub struct OriginalEdition {
    /// Application id, also the name of the class key.
    pub id: String,
    /// Display name.
    pub name: String,
    /// Vendor.
    pub vendor: String,
    /// Major, minor, revision.
    pub version: (u32, u32, u32),
    /// When it was packed, as [`crate::date::text`] has it.
    pub date: String,
}

/// An RSA key that signs, wherever it is kept.
pub trait Rs256 {
    /// Bits of its modulus.
    fn bits(&self) -> u32;

    /// RSASSA-PKCS1-v1_5 with SHA-256.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError>;
}

/// Packs a signed OP-TEE image as the original does.
///
/// `certificate` is PEM; old devices do not hold it against anything.
pub fn seal(
    image: &[u8],
    edition: &OriginalEdition,
    class_key: &(impl Aes256 + ?Sized),
    signer: &(impl Rs256 + ?Sized),
    certificate: &[u8],
) -> Result<Vec<u8>, SealError> {
    let mut nonce = Bytes::default();
    getrandom::fill(&mut nonce.0)?;
    seal_with(nonce, image, edition, class_key, signer, certificate)
}

/// As [`seal`], with a nonce, which must never have been used before with this key.
pub(crate) fn seal_with(
    nonce: Bytes<NONCE_SIZE>,
    image: &[u8],
    edition: &OriginalEdition,
    class_key: &(impl Aes256 + ?Sized),
    signer: &(impl Rs256 + ?Sized),
    certificate: &[u8],
) -> Result<Vec<u8>, SealError> {
    Image::read(image)?;
    if signer.bits() != KEY_BITS {
        return Err(SealError::OriginalKey { found: signer.bits() });
    }
    within("certificate", certificate.len(), MAX_CERTIFICATE)?;
    let mut ciphertext = image.to_vec();
    let tag = class_key.encrypt(&nonce, &[], &mut ciphertext)?;
    let signature = signer.sign(image)?;
    let json = manifest(edition).write()?;
    within("JSON manifest", json.len(), MAX_JSON)?;
    let digest = Sha256::digest(image);
    let streams: [&[u8]; 7] =
        [&ciphertext, nonce.as_ref(), tag.as_ref(), &digest, &signature, certificate, &json];
    Ok(Frame::new(&streams, 6)?.write()?)
}

fn manifest(edition: &OriginalEdition) -> Manifest {
    let (maj, min, rev) = edition.version;
    let key_name = edition.id.clone();
    Manifest {
        id: edition.id.clone(),
        name: edition.name.clone(),
        vendor: edition.vendor.clone(),
        payload: Payload {
            data: 0,
            target: Target::optee(),
            ver: PayloadVersion { maj, min, rev, date: edition.date.clone() },
            enc: Encryption::AesGcm { key_name, key_strength: 256, nonce: 1, tag: 2 },
            dig: Digest::Sha256 { data: 3 },
            sig: Signature::RsaPkcs1v15 { key_strength: KEY_BITS, data: 4 },
            cert: Certificate::EmbeddedX509Pem { data: 5 },
        },
        package: Container {
            map: (0..7).collect(),
            dig: Digest::None,
            sig: Signature::None,
            cert: Certificate::None,
        },
    }
}

fn within(what: &'static str, found: usize, limit: usize) -> Result<(), SealError> {
    if found > limit { Err(SealError::TooLong { what, found, limit }) } else { Ok(()) }
}

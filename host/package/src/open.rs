//! Opens packages with the key in hand: signatures first, then digest, content key, tag, digest, as the TA does it.

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use sha2::{Digest, Sha256};
use thiserror::Error;
use trustbox_api::Bytes;
use zeroize::Zeroizing;

use crate::certificate::{Certificate, CertificateError};
use crate::class_key::{self, ClassKey};
use crate::image::{Image, ImageError};
use crate::json::Encryption;
use crate::layout::Role;
use crate::package::{Package, PackageError};
use crate::trusted::Trusted;
use crate::verify;

/// Why a package was not opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Something that opening needs is not in the package.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// The publisher's signature is not over the trusted manifest, or not that of the publisher it names.
    #[error("publisher's signature of the trusted manifest does not verify")]
    Publisher,
    /// The publisher's signature is not over the annex.
    #[error("publisher's signature of the annex does not verify")]
    Annex,
    /// A package of the original lacks what would vouch for its payload.
    #[error("package has no {missing}: nothing vouches for its payload")]
    Unsigned {
        /// The stream that is not there.
        missing: Role,
    },
    /// The certificate is of no use.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// No key was given.
    #[error("package is encrypted under key {name}, and no key was given")]
    NoKey {
        /// Name of the key.
        name: String,
    },
    /// The ciphertext is not the one that was signed.
    #[error("ciphertext in {place} has SHA-256 {found}, the trusted manifest says {expected}")]
    Ciphertext {
        /// Where it is.
        place: crate::layout::Place,
        /// Digest of the stream.
        found: Bytes<32>,
        /// Digest in the trusted manifest.
        expected: Bytes<32>,
    },
    /// Key, nonce, tag and ciphertext do not belong together.
    #[error("{what} does not open with key {name}: another key, or the package was changed")]
    Decryption {
        /// What was decrypted.
        what: &'static str,
        /// Name of the key.
        name: String,
    },
    /// The plaintext is not what the package says.
    #[error("plaintext does not have the SHA-256 that the package says")]
    Plaintext,
    /// The certificate's key did not sign the payload.
    #[error("signature of the payload does not verify with the package's certificate")]
    Signature,
    /// What was encrypted is no signed OP-TEE TA.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The image is another than the trusted manifest says.
    #[error("{what} of the image is {found}, the trusted manifest says {expected}")]
    Identity {
        /// What differs.
        what: &'static str,
        /// In the image.
        found: String,
        /// In the trusted manifest.
        expected: String,
    },
}

/// The name of the key that opens a package, as key stores have it; none where it is not encrypted.
pub fn key_name(package: &Package<'_>) -> Option<String> {
    match (package.trusted(), &package.json.payload.enc) {
        (Ok(trusted), _) => Some(class_key::name(&trusted.terms().class_key)),
        (Err(_), Encryption::AesGcm { key_name, .. }) => Some(key_name.clone()),
        (Err(_), Encryption::None) => None,
    }
}

/// What everybody can check of a package with a trusted manifest: the publisher's signatures, and what they are over.
pub fn check_publisher<'a>(package: &'a Package<'_>) -> Result<&'a Trusted<'a>, OpenError> {
    let trusted = package.trusted()?;
    if !verify::statement(&trusted.envelope) || trusted.terms().publisher != trusted.signer.id() {
        return Err(OpenError::Publisher);
    }
    if !package.annex().is_none_or(verify::annex) {
        return Err(OpenError::Annex);
    }
    let (found, expected) =
        (Bytes(Sha256::digest(package.payload).into()), trusted.terms().ciphertext_sha256);
    if found != expected {
        return Err(OpenError::Ciphertext { place: package.place(Role::Payload), found, expected });
    }
    Ok(trusted)
}

/// The payload of a package, if everything about it is right: a signed OP-TEE TA where there is a trusted manifest.
pub fn open(package: &Package<'_>, key: Option<&ClassKey>) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    if package.trusted().is_ok() { open_trusted(package, key) } else { open_original(package, key) }
}

fn open_trusted(package: &Package<'_>, key: Option<&ClassKey>) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let trusted = check_publisher(package)?;
    let (terms, name) = (trusted.terms(), key_name(package).unwrap_or_default());
    let Some(key) = key else { return Err(OpenError::NoKey { name }) };
    let wrapped = &trusted.manifest.manifest.content_key;
    let mut content_key = Zeroizing::new(wrapped.ciphertext.0);
    let opened = decrypt(
        key.expose(),
        wrapped.nonce.as_ref(),
        wrapped.tag.as_ref(),
        trusted.manifest.additional_data,
        &mut *content_key,
    );
    opened.ok_or_else(|| OpenError::Decryption { what: "content key", name: name.clone() })?;
    let mut image = Zeroizing::new(package.payload.to_vec());
    decrypt(&content_key, terms.nonce.as_ref(), terms.tag.as_ref(), &[], &mut image)
        .ok_or(OpenError::Decryption { what: "payload", name })?;
    check_digest(&image, terms.plaintext_sha256.as_ref())?;
    check_identity(&Image::read(&image)?, trusted)?;
    Ok(image)
}

fn check_identity(image: &Image, trusted: &Trusted<'_>) -> Result<(), OpenError> {
    let terms = trusted.terms();
    let pairs = [
        ("UUID", image.uuid.to_string(), terms.uuid.to_string()),
        ("version", image.version.to_string(), terms.version.to_string()),
    ];
    match pairs.into_iter().find(|(_, found, expected)| found != expected) {
        Some((what, found, expected)) => Err(OpenError::Identity { what, found, expected }),
        None => Ok(()),
    }
}

fn open_original(package: &Package<'_>, key: Option<&ClassKey>) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let needed = |role| package.stream(role).ok_or(OpenError::Unsigned { missing: role });
    let (digest, signature) = (needed(Role::Digest)?, needed(Role::Signature)?);
    let certificate = Certificate::read(needed(Role::Certificate)?)?;
    let mut payload = Zeroizing::new(package.payload.to_vec());
    if let Some(name) = key_name(package) {
        let Some(key) = key else { return Err(OpenError::NoKey { name }) };
        let (nonce, tag) = (needed(Role::Nonce)?, needed(Role::Tag)?);
        decrypt(key.expose(), nonce, tag, &[], &mut payload)
            .ok_or(OpenError::Decryption { what: "payload", name })?;
    }
    check_digest(&payload, digest)?;
    if certificate.verifies(&payload, signature) { Ok(payload) } else { Err(OpenError::Signature) }
}

fn check_digest(plaintext: &[u8], expected: &[u8]) -> Result<(), OpenError> {
    if *Sha256::digest(plaintext) == *expected { Ok(()) } else { Err(OpenError::Plaintext) }
}

fn decrypt(key: &[u8; 32], nonce: &[u8], tag: &[u8], additional: &[u8], bytes: &mut [u8]) -> Option<()> {
    let (nonce, tag) = (Nonce::try_from(nonce).ok()?, Tag::try_from(tag).ok()?);
    let opened = Aes256Gcm::new(key.into()).decrypt_inout_detached(&nonce, additional, bytes.into(), &tag);
    opened.ok()
}

//! AES-256-GCM (NIST SP 800-38D) as packages use it. Every failure is the same error.

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit};
use trustbox_api::manifest::{Parsed, Terms};
use trustbox_api::{Error, Secret};

/// Opens the content key of a package with its class key.
pub fn unwrap_content_key(class_key: &Secret<32>, parsed: &Parsed<'_>) -> Result<Secret<32>, Error> {
    let wrapped = &parsed.manifest.content_key;
    let mut key = Secret::new(wrapped.ciphertext.0);
    cipher(class_key)
        .decrypt_inout_detached(
            &wrapped.nonce.0.into(),
            parsed.additional_data,
            key.expose_mut().as_mut_slice().into(),
            &wrapped.tag.0.into(),
        )
        .map_err(|_| Error::Decryption)?;
    Ok(key)
}

/// Decrypts the image in place; the tag is checked before a byte is changed.
pub fn decrypt_image(content_key: &Secret<32>, terms: &Terms, image: &mut [u8]) -> Result<(), Error> {
    cipher(content_key)
        .decrypt_inout_detached(&terms.nonce.0.into(), &[], image.into(), &terms.tag.0.into())
        .map_err(|_| Error::Decryption)
}

fn cipher(key: &Secret<32>) -> Aes256Gcm {
    Aes256Gcm::new(key.expose().into())
}

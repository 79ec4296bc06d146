//! AES-256-GCM (NIST SP 800-38D) as packages and launch tickets use it. Failures on one path are one error.

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit};
use trustbox_api::manifest::{NONCE_SIZE, Parsed, TAG_SIZE};
use trustbox_api::{Bytes, Error, Secret};

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
pub fn decrypt_image(
    content_key: &Secret<32>,
    nonce: &Bytes<NONCE_SIZE>,
    tag: &Bytes<TAG_SIZE>,
    image: &mut [u8],
) -> Result<(), Error> {
    cipher(content_key)
        .decrypt_inout_detached(&nonce.0.into(), &[], image.into(), &tag.0.into())
        .map_err(|_| Error::Decryption)
}

/// GMAC (3): the tag over data that is not encrypted. A nonce is used once.
pub fn authenticate(
    key: &Secret<32>,
    nonce: &Bytes<NONCE_SIZE>,
    data: &[u8],
) -> Result<Bytes<TAG_SIZE>, Error> {
    let tag = cipher(key).encrypt_inout_detached(&nonce.0.into(), data, (&mut [][..]).into());
    tag.map(|tag| Bytes(tag.into())).map_err(|_| Error::Internal)
}

/// Checks a tag of [`authenticate`], in constant time.
pub fn check_authentic(
    key: &Secret<32>,
    nonce: &Bytes<NONCE_SIZE>,
    data: &[u8],
    tag: &Bytes<TAG_SIZE>,
) -> Result<(), Error> {
    cipher(key)
        .decrypt_inout_detached(&nonce.0.into(), data, (&mut [][..]).into(), &tag.0.into())
        .map_err(|_| Error::TicketInvalid)
}

fn cipher(key: &Secret<32>) -> Aes256Gcm {
    Aes256Gcm::new(key.expose().into())
}

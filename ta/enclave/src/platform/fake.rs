//! What the SDK needs, from the device in memory.

use alloc::vec::Vec;
use core::time::Duration;

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit};
use trustbox_api::Secret;

pub use crate::fake::Lock;
pub(crate) use crate::fake::{
    ask_trustbox as ask, delete, lock, random, read, since_boot, stops as should_stop, write,
};

/// Bytes of an AES-GCM tag.
pub(crate) const TAG_SIZE: usize = 16;

/// AES-256-GCM failed, or the tag is not the text's.
pub(crate) struct CipherFailed;

/// The fake's Linux has a clock that always says the same.
pub(crate) fn claimed_by_linux() -> Duration {
    Duration::from_secs(1_700_000_000)
}

/// Ciphertext and tag.
pub(crate) fn encrypt(
    key: &Secret<32>,
    nonce: &[u8],
    context: &[u8],
    text: &[u8],
) -> Result<(Vec<u8>, [u8; TAG_SIZE]), CipherFailed> {
    let mut ciphertext = text.to_vec();
    let nonce = nonce.try_into().map_err(|_| CipherFailed)?;
    let tag = Aes256Gcm::new(key.expose().into()).encrypt_inout_detached(
        nonce,
        context,
        ciphertext.as_mut_slice().into(),
    );
    Ok((ciphertext, tag.map_err(|_| CipherFailed)?.into()))
}

/// The text; nothing of it where the tag is wrong.
pub(crate) fn decrypt(
    key: &Secret<32>,
    nonce: &[u8],
    context: &[u8],
    tag: &[u8],
    ciphertext: &[u8],
) -> Result<Vec<u8>, CipherFailed> {
    let mut text = ciphertext.to_vec();
    let nonce = nonce.try_into().map_err(|_| CipherFailed)?;
    let tag = tag.try_into().map_err(|_| CipherFailed)?;
    Aes256Gcm::new(key.expose().into())
        .decrypt_inout_detached(nonce, context, text.as_mut_slice().into(), tag)
        .map_err(|_| CipherFailed)?;
    Ok(text)
}

//! Signing of statements and annexes, the one place for all kinds. For publisher tools and key services.
//!
//! The key is one in memory, or anything else that [`Es256`] is implemented for, such as a key in a hardware module.

use p256::ecdsa::signature::hazmat::PrehashSigner;
use p256::ecdsa::{Signature, SigningKey, VerifyingKey};
use serde::Serialize;
use thiserror::Error;
use trustbox_api::limits::MAX_STATEMENT;
use trustbox_api::statement::{self, Envelope, Header};
use trustbox_api::{Bytes, PublicKey};

use crate::annex::{self, Annex};

/// Why a statement was not signed.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum SignError {
    /// The body is too long for the TA.
    #[error("statement has {found} bytes, the limit is {MAX_STATEMENT}")]
    TooLarge {
        /// Bytes of header and body.
        found: usize,
    },
    /// A value has no encoding.
    #[error("statement does not encode: {0}")]
    Encoding(#[from] postcard::Error),
    /// The signing operation failed.
    #[error("signing failed")]
    Signing,
    /// A key that is not in memory did not sign.
    #[error("signing failed: {0}")]
    Elsewhere(String),
}

/// A P-256 key that signs, wherever it is kept.
pub trait Es256 {
    /// Its public half.
    fn public_key(&self) -> PublicKey;

    /// Signs a SHA-256 digest; r‖s.
    fn sign_digest(&self, digest: &[u8; 32]) -> Result<Bytes<64>, SignError>;
}

impl Es256 for SigningKey {
    fn public_key(&self) -> PublicKey {
        public_key(self.verifying_key())
    }

    fn sign_digest(&self, digest: &[u8; 32]) -> Result<Bytes<64>, SignError> {
        let signed: Signature = self.sign_prehash(digest).map_err(|_| SignError::Signing)?;
        Ok(Bytes(signed.to_bytes().into()))
    }
}

/// Encodes header and body, signs them, returns the encoded [`Envelope`].
pub fn statement<B: Serialize>(
    header: &Header,
    body: &B,
    key: &(impl Es256 + ?Sized),
) -> Result<Vec<u8>, SignError> {
    payload(&[encode(header)?, encode(body)?].concat(), key)
}

/// Signs a payload, header and body already encoded; returns the encoded [`Envelope`].
pub fn payload(payload: &[u8], key: &(impl Es256 + ?Sized)) -> Result<Vec<u8>, SignError> {
    if payload.len() > MAX_STATEMENT {
        return Err(SignError::TooLarge { found: payload.len() });
    }
    envelope(payload, &statement::digest(payload), key)
}

/// Signs an annex; returns the encoded [`Envelope`].
pub fn annex(annex: &Annex, key: &(impl Es256 + ?Sized)) -> Result<Vec<u8>, SignError> {
    let payload = encode(annex)?;
    envelope(&payload, &annex::digest(&payload), key)
}

fn envelope(payload: &[u8], digest: &[u8; 32], key: &(impl Es256 + ?Sized)) -> Result<Vec<u8>, SignError> {
    let signature = key.sign_digest(digest)?;
    encode(&Envelope { payload, signer: key.public_key(), signature })
}

/// A public key in the form of the TA's interface.
pub fn public_key(key: &VerifyingKey) -> PublicKey {
    let point = key.to_sec1_point(false);
    let coordinates = &point.as_bytes()[1..];
    PublicKey(Bytes(std::array::from_fn(|index| coordinates[index])))
}

pub(crate) fn encode<M: Serialize>(message: &M) -> Result<Vec<u8>, SignError> {
    Ok(postcard::to_extend(message, Vec::new())?)
}

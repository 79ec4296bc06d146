//! Signing of statements, the one place for all kinds. For publisher tools and key services.

use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey, VerifyingKey};
use serde::Serialize;
use thiserror::Error;
use trustbox_api::limits::MAX_STATEMENT;
use trustbox_api::statement::{DOMAIN, Envelope, Header};
use trustbox_api::{Bytes, PublicKey};

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
}

/// Encodes header and body, signs them, returns the encoded [`Envelope`].
pub fn statement<B: Serialize>(header: &Header, body: &B, key: &SigningKey) -> Result<Vec<u8>, SignError> {
    payload(&[encode(header)?, encode(body)?].concat(), key)
}

/// Signs a payload, header and body already encoded; returns the encoded [`Envelope`].
pub fn payload(payload: &[u8], key: &SigningKey) -> Result<Vec<u8>, SignError> {
    if payload.len() > MAX_STATEMENT {
        return Err(SignError::TooLarge { found: payload.len() });
    }
    let signed: Signature = key.try_sign(&[DOMAIN, payload].concat()).map_err(|_| SignError::Signing)?;
    let signature = Bytes(signed.to_bytes().into());
    encode(&Envelope { payload, signer: public_key(key.verifying_key()), signature })
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

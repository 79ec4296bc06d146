//! The certificate in a package of the original, and signatures checked with it. Not a trust anchor: anybody can put one there.

use rsa::RsaPublicKey;
use rsa::pkcs1::EncodeRsaPublicKey;
use rsa::pkcs1v15::{Signature, VerifyingKey};
use rsa::pkcs8::DecodePublicKey;
use rsa::signature::Verifier;
use rsa::traits::PublicKeyParts;
use sha2::{Digest, Sha256};
use thiserror::Error;
use trustbox_api::Bytes;
use x509_cert::Certificate as X509;
use x509_cert::der::{DecodePem, Encode};

/// Bits of a signing key at least and at most.
const KEY_BITS: std::ops::RangeInclusive<u32> = 2048..=4096;

/// A certificate of an RSA key.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// Whose it says it is.
    pub subject: String,
    /// When it stops to be valid.
    pub not_after: String,
    /// SHA-256 of its DER encoding.
    pub fingerprint: Bytes<32>,
    key: RsaPublicKey,
}

/// Why bytes are not a certificate that can be used.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// They are none.
    #[error("certificate does not decode: {0}")]
    Encoding(String),
    /// Its key is another than RSA.
    #[error("certificate's key is not an RSA key: {0}")]
    Key(String),
    /// Its key is too short or too long.
    #[error("certificate's key has {found} bits, expected {} to {}", KEY_BITS.start(), KEY_BITS.end())]
    KeySize {
        /// Its bits.
        found: u32,
    },
}

impl Certificate {
    /// Reads a certificate in PEM.
    pub fn read(pem: &[u8]) -> Result<Self, CertificateError> {
        let encoding = |error: x509_cert::der::Error| CertificateError::Encoding(error.to_string());
        let certificate = X509::from_pem(pem).map_err(encoding)?;
        let der = certificate.to_der().map_err(encoding)?;
        let body = certificate.tbs_certificate();
        let spki = body.subject_public_key_info().to_der().map_err(encoding)?;
        let key = RsaPublicKey::from_public_key_der(&spki)
            .map_err(|error| CertificateError::Key(error.to_string()))?;
        let found = key.n().bits_vartime();
        if !KEY_BITS.contains(&found) {
            return Err(CertificateError::KeySize { found });
        }
        Ok(Self {
            subject: body.subject().to_string(),
            not_after: body.validity().not_after.to_string(),
            fingerprint: Bytes(Sha256::digest(&der).into()),
            key,
        })
    }

    /// Bits of its key.
    pub fn bits(&self) -> u32 {
        self.key.n().bits_vartime()
    }

    /// Its key, PKCS#1 RSAPublicKey in DER.
    pub fn public_key_der(&self) -> Vec<u8> {
        // A key that was decoded encodes again.
        self.key.to_pkcs1_der().map(|der| der.as_bytes().to_vec()).unwrap_or_default()
    }

    /// Whether its key made a signature, RSASSA-PKCS1-v1_5 with SHA-256.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let key = VerifyingKey::<Sha256>::new(self.key.clone());
        Signature::try_from(signature).is_ok_and(|signature| key.verify(message, &signature).is_ok())
    }
}

/// An RSA key in a DER SubjectPublicKeyInfo, as PKCS#1 RSAPublicKey in DER; none where it is another kind of key.
pub fn public_key_der(spki: &[u8]) -> Option<Vec<u8>> {
    let key = RsaPublicKey::from_public_key_der(spki).ok()?;
    key.to_pkcs1_der().ok().map(|der| der.as_bytes().to_vec())
}

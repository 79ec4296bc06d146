//! The keys themselves. They never leave the token: it signs and encrypts.

use anyhow::{Context, Result, bail, ensure};
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use sha2::{Digest, Sha256};
use trustbox_api::manifest::{NONCE_SIZE, TAG_SIZE};
use trustbox_api::{Bytes, PublicKey};
use trustbox_package::original::Rs256;
use trustbox_package::seal::{Aes256, SealError};
use trustbox_package::sign::{Es256, SignError};

use crate::token::Token;
use crate::uri::Uri;

/// DER of secp256r1's object identifier (RFC 5480).
pub(crate) const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// DER up to the point of an EC_POINT attribute, the 0x04 of an uncompressed point included.
const POINT_PREFIX: [u8; 3] = [0x04, 0x41, 0x04];
/// DER in front of a SHA-256 digest in a PKCS#1 v1.5 signature (RFC 8017, 9.2).
const SHA256_INFO: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00,
    0x04, 0x20,
];
const SALT_SIZE: u64 = 32;

/// A P-256 key that signs.
pub struct EcKey {
    token: Token,
    key: ObjectHandle,
    public: PublicKey,
}

/// An RSA key that signs.
pub struct RsaKey {
    token: Token,
    key: ObjectHandle,
    modulus: Vec<u8>,
}

/// An AES-256 key that encrypts.
pub struct AesKey {
    token: Token,
    key: ObjectHandle,
}

impl EcKey {
    /// Finds a private key and the public key of the same name.
    pub fn open(uri: &Uri) -> Result<Self> {
        let token = Token::open(uri)?;
        let (key, public) = (token.object(ObjectClass::PRIVATE_KEY)?, token.object(ObjectClass::PUBLIC_KEY)?);
        let wanted = [AttributeType::EcParams, AttributeType::EcPoint];
        let attributes = token.session.get_attributes(public, &wanted)?;
        let (mut curve, mut point) = (Vec::new(), Vec::new());
        for attribute in attributes {
            match attribute {
                Attribute::EcParams(value) => curve = value,
                Attribute::EcPoint(value) => point = value,
                _ => {}
            }
        }
        ensure!(curve == P256, "{uri}: not a key of curve P-256");
        let point = point.strip_prefix(&POINT_PREFIX[..]).and_then(Bytes::from_slice);
        let public =
            PublicKey(point.with_context(|| format!("{uri}: the public key is not an uncompressed point"))?);
        Ok(Self { token, key, public })
    }
}

impl Es256 for EcKey {
    fn public_key(&self) -> PublicKey {
        self.public
    }

    fn sign_digest(&self, digest: &[u8; 32]) -> Result<Bytes<64>, SignError> {
        let signature = self.token.session.sign(&Mechanism::Ecdsa, self.key, digest).map_err(elsewhere)?;
        Bytes::from_slice(&signature).ok_or(SignError::Signing)
    }
}

impl RsaKey {
    /// Finds a private key.
    pub fn open(uri: &Uri) -> Result<Self> {
        let token = Token::open(uri)?;
        let key = token.object(ObjectClass::PRIVATE_KEY)?;
        match token.session.get_attributes(key, &[AttributeType::Modulus])?.pop() {
            Some(Attribute::Modulus(modulus)) => Ok(Self { token, key, modulus }),
            _ => bail!("{uri}: not an RSA key"),
        }
    }

    /// Its modulus, big endian.
    pub fn modulus(&self) -> &[u8] {
        &self.modulus
    }

    /// Bytes of its signatures.
    pub fn signature_size(&self) -> usize {
        self.modulus.len()
    }

    /// RSASSA-PSS with SHA-256, MGF1 and a salt of 32 bytes.
    pub fn sign_pss(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let parameters = PkcsPssParams {
            hash_alg: MechanismType::SHA256,
            mgf: PkcsMgfType::MGF1_SHA256,
            s_len: SALT_SIZE.into(),
        };
        self.sign_with(&Mechanism::RsaPkcsPss(parameters), &Sha256::digest(message))
    }

    fn sign_with(&self, mechanism: &Mechanism, input: &[u8]) -> Result<Vec<u8>, SignError> {
        let signature = self.token.session.sign(mechanism, self.key, input).map_err(elsewhere)?;
        if signature.len() == self.signature_size() { Ok(signature) } else { Err(SignError::Signing) }
    }
}

impl Rs256 for RsaKey {
    fn bits(&self) -> u32 {
        self.signature_size() as u32 * 8
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let input = [&SHA256_INFO[..], &Sha256::digest(message)].concat();
        self.sign_with(&Mechanism::RsaPkcs, &input)
    }
}

impl AesKey {
    /// Finds a secret key.
    pub fn open(uri: &Uri) -> Result<Self> {
        let token = Token::open(uri)?;
        let key = token.object(ObjectClass::SECRET_KEY)?;
        let wanted = [AttributeType::KeyType, AttributeType::ValueLen];
        let attributes = token.session.get_attributes(key, &wanted)?;
        let is_aes = attributes.contains(&Attribute::KeyType(KeyType::AES));
        ensure!(
            is_aes && attributes.contains(&Attribute::ValueLen(32.into())),
            "{uri}: not an AES key of 256 bits"
        );
        Ok(Self { token, key })
    }
}

impl Aes256 for AesKey {
    fn encrypt(
        &self,
        nonce: &Bytes<NONCE_SIZE>,
        additional: &[u8],
        bytes: &mut [u8],
    ) -> Result<Bytes<TAG_SIZE>, SealError> {
        let failed = |error: cryptoki::error::Error| SealError::Elsewhere(error.to_string());
        let mut used = nonce.0;
        let encrypted =
            encrypt_gcm(&self.token.session, self.key, &mut used, additional, bytes).map_err(failed)?;
        if used != nonce.0 {
            return Err(SealError::Elsewhere("the token takes no nonce but its own".to_owned()));
        }
        let (text, tag) = encrypted.split_at_checked(bytes.len()).ok_or(SealError::Encryption)?;
        bytes.copy_from_slice(text);
        Bytes::from_slice(tag).ok_or(SealError::Encryption)
    }
}

/// Ciphertext and tag. A token that takes no nonce but its own puts that one in place of the one given.
pub(crate) fn encrypt_gcm(
    session: &Session,
    key: ObjectHandle,
    nonce: &mut [u8; NONCE_SIZE],
    additional: &[u8],
    bytes: &[u8],
) -> cryptoki::error::Result<Vec<u8>> {
    let parameters = GcmParams::new(nonce, additional, (TAG_SIZE as u64 * 8).into())?;
    session.encrypt(&Mechanism::AesGcm(parameters), key, bytes)
}

fn elsewhere(error: cryptoki::error::Error) -> SignError {
    SignError::Elsewhere(error.to_string())
}

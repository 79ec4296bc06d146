//! Class keys that a key service keeps in a token: made there, wrapped there for a device, never in this host's memory.
//!
//! The token wraps (`C_WrapKey`) with RSAES-OAEP and SHA-256, which SoftHSM 2.6 does not do. A key that was made exportable,
//! for tests only, is wrapped by the caller then.

use std::fmt;

use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use trustbox_api::manifest::{NONCE_SIZE, WrappedKey};
use trustbox_api::{Bytes, PublicKey, Secret};
use zeroize::Zeroizing;

use crate::keys::{EcKey, P256, encrypt_gcm};
use crate::token::Token;
use crate::uri::Uri;

/// How a class key is wrapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Padding {
    /// RSAES-OAEP with SHA-256, MGF1-SHA-256 and an empty label.
    OaepSha256,
    /// RSAES-PKCS1-v1_5, for clients of the original only.
    Pkcs1v15,
}

/// Why a token did not do something.
#[derive(Debug)]
pub enum TokenError {
    /// It cannot do this at all.
    Mechanism(String),
    /// It has no such key.
    Missing(String),
    /// It does not answer.
    Lost(String),
}

impl fmt::Display for TokenError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mechanism(what) => write!(out, "the token cannot do it: {what}"),
            Self::Missing(label) => write!(out, "the token has no key {label}"),
            Self::Lost(what) => write!(out, "the token does not answer: {what}"),
        }
    }
}

impl std::error::Error for TokenError {}

/// A session for keys that are made, used and destroyed by their labels. Not for two threads at once.
pub struct KeySession {
    token: Token,
}

impl KeySession {
    /// Logs in to the token of a URI, whatever object that names.
    pub fn open(uri: &Uri) -> anyhow::Result<Self> {
        Ok(Self { token: Token::open_for_changes(uri)? })
    }

    /// Whether the token answers.
    pub fn check(&self) -> Result<(), TokenError> {
        self.token.check().map_err(lost)?;
        self.token.session.find_objects(&[Attribute::Label(b"-".to_vec())]).map(drop).map_err(lost)
    }

    /// Makes an AES-256 key; `exportable` for tests only.
    pub fn generate(&self, label: &str, exportable: bool) -> Result<(), TokenError> {
        let template = [
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(!exportable),
            Attribute::Extractable(true),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
            Attribute::ValueLen(32.into()),
            Attribute::Label(label.as_bytes().to_vec()),
        ];
        self.token.session.generate_key(&Mechanism::AesKeyGen, &template).map(drop).map_err(lost)
    }

    /// Wraps a key for the RSA key of a device.
    pub fn wrap(
        &self,
        label: &str,
        modulus: &[u8],
        exponent: &[u8],
        padding: Padding,
    ) -> Result<Vec<u8>, TokenError> {
        let key = self.find(label)?;
        let template = [
            Attribute::Class(ObjectClass::PUBLIC_KEY),
            Attribute::KeyType(KeyType::RSA),
            Attribute::Token(false),
            Attribute::Wrap(true),
            Attribute::Modulus(modulus.to_vec()),
            Attribute::PublicExponent(exponent.to_vec()),
        ];
        let device = self.token.session.create_object(&template).map_err(lost)?;
        let wrapped = self.token.session.wrap_key(&mechanism(padding), device, key).map_err(refused);
        // It would go with the session; a failure to remove it earlier harms nobody.
        let _ = self.token.session.destroy_object(device);
        wrapped
    }

    /// Wraps a content key under a class key, with AES-256-GCM.
    pub fn wrap_content_key(
        &self,
        label: &str,
        nonce: &Bytes<NONCE_SIZE>,
        additional: &[u8],
        content_key: &Secret<32>,
    ) -> Result<WrappedKey, TokenError> {
        let (key, mut nonce) = (self.find(label)?, *nonce);
        let encrypted = encrypt_gcm(&self.token.session, key, &mut nonce.0, additional, content_key.expose())
            .map_err(refused)?;
        let wrapped = encrypted.split_at_checked(32).and_then(|(key, tag)| {
            Some(WrappedKey { nonce, ciphertext: Bytes::from_slice(key)?, tag: Bytes::from_slice(tag)? })
        });
        wrapped.ok_or_else(|| TokenError::Lost(format!("{} bytes are no wrapped key", encrypted.len())))
    }

    /// The value of a key that was made exportable, for tests.
    pub fn export(&self, label: &str) -> Result<Zeroizing<Vec<u8>>, TokenError> {
        let key = self.find(label)?;
        match self.token.session.get_attributes(key, &[AttributeType::Value]).map_err(refused)?.pop() {
            Some(Attribute::Value(value)) => Ok(Zeroizing::new(value)),
            _ => Err(TokenError::Mechanism(format!("key {label} is not exportable"))),
        }
    }

    /// Destroys a key, for ever.
    pub fn destroy(&self, label: &str) -> Result<(), TokenError> {
        let key = self.find(label)?;
        self.token.session.destroy_object(key).map_err(lost)
    }

    /// Makes a P-256 key pair that signs.
    pub fn generate_p256(&self, uri: &Uri, label: &str) -> anyhow::Result<PublicKey> {
        let name = Attribute::Label(label.as_bytes().to_vec());
        let public = [
            Attribute::Token(true),
            Attribute::Private(false),
            Attribute::Verify(true),
            Attribute::EcParams(P256.to_vec()),
            name.clone(),
        ];
        let private = [
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
            name,
        ];
        self.token.session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private)?;
        let key = EcKey::open(&uri.of_object(label))?;
        Ok(trustbox_package::sign::Es256::public_key(&key))
    }

    /// Whether the token has an object of this label already.
    pub fn has(&self, label: &str) -> anyhow::Result<bool> {
        Ok(!self.token.session.find_objects(&[Attribute::Label(label.as_bytes().to_vec())])?.is_empty())
    }

    fn find(&self, label: &str) -> Result<ObjectHandle, TokenError> {
        let template =
            [Attribute::Class(ObjectClass::SECRET_KEY), Attribute::Label(label.as_bytes().to_vec())];
        let found = self.token.session.find_objects(&template).map_err(lost)?;
        found.first().copied().ok_or_else(|| TokenError::Missing(label.to_owned()))
    }
}

fn mechanism(padding: Padding) -> Mechanism<'static> {
    match padding {
        Padding::OaepSha256 => Mechanism::RsaPkcsOaep(PkcsOaepParams::new(
            MechanismType::SHA256,
            PkcsMgfType::MGF1_SHA256,
            PkcsOaepSource::empty(),
        )),
        Padding::Pkcs1v15 => Mechanism::RsaPkcs,
    }
}

fn lost(error: Error) -> TokenError {
    TokenError::Lost(error.to_string())
}

/// What a token says where it lacks a mechanism, or may not give out a key.
fn refused(error: Error) -> TokenError {
    match error {
        Error::Pkcs11(
            RvError::MechanismInvalid
            | RvError::MechanismParamInvalid
            | RvError::ArgumentsBad
            | RvError::KeyUnextractable
            | RvError::KeyNotWrappable
            | RvError::AttributeSensitive
            | RvError::WrappingKeyTypeInconsistent
            | RvError::FunctionNotSupported,
            _,
        ) => TokenError::Mechanism(error.to_string()),
        _ => lost(error),
    }
}

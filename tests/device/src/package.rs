//! Packages for cases, sealed here and not by the publisher's tools.
//!
//! That makes the suite a second implementation of the format, and lets a case change any field
//! before it is signed.

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit};
use p256::ecdsa::SigningKey;
use rand_core::UnwrapErr;
use rsa::pkcs8::DecodePublicKey;
use rsa::{Oaep, RsaPublicKey};
use sha2::{Digest, Sha256};
use trustbox_api::Bytes;
use trustbox_api::key::Name;
use trustbox_api::manifest::{Manifest, Terms, WrappedKey};
use trustbox_api::message::{LegacyRequest, Version};
use trustbox_api::statement::{Audience, Header, Kind};

use crate::case::Stop;
use crate::context::{Context, Image};
use crate::forge;

/// Manifest statement and ciphertext.
pub type Package = (Vec<u8>, Vec<u8>);

/// A package under construction; every field may be made wrong before [`Draft::seal`].
pub struct Draft {
    /// What is encrypted.
    pub image: Vec<u8>,
    /// Header of the manifest statement.
    pub header: Header,
    /// What the publisher will say; digests, nonce and tag are filled in by `seal`.
    pub terms: Terms,
    /// The key that wraps the content key.
    pub class_key: [u8; 32],
    /// The key that signs.
    pub publisher: SigningKey,
}

impl Context<'_> {
    /// A package of an image as it should be.
    pub fn draft(&self, image: &Image) -> Draft {
        let publisher = self.parties.publisher.clone();
        Draft {
            image: image.bytes.clone(),
            header: forge::header(Kind::Manifest, self.root_id(), Audience::Fleet, u64::from(image.version)),
            terms: Terms {
                publisher: forge::public(&publisher).id(),
                uuid: image.uuid,
                name: Name::try_from("suite enclave").expect("a short name"),
                version: image.version,
                min_optee: Version(4, 0, 0),
                min_ta: Version(0, 1, 0),
                size: image.bytes.len() as u32,
                ciphertext_sha256: Bytes([0; 32]),
                plaintext_sha256: Bytes([0; 32]),
                nonce: Bytes([0; 12]),
                tag: Bytes([0; 16]),
                class_key: self.class_key_ref(),
            },
            class_key: self.parties.class_key,
            publisher,
        }
    }

    /// What a package of the original format says of an image, and its ciphertext.
    pub fn legacy_package(&self, image: &Image) -> (LegacyRequest, Vec<u8>) {
        let mut ciphertext = image.bytes.clone();
        let nonce = Bytes([3; 12]);
        let tag = Bytes(encrypt(&self.parties.class_key, &nonce.0, &[], &mut ciphertext));
        let request = LegacyRequest {
            uuid: image.uuid,
            name: Name::from("legacy enclave").expect("a short name"),
            version: image.version,
            size: image.bytes.len() as u32,
            plaintext_sha256: Bytes(Sha256::digest(&image.bytes).into()),
            nonce,
            tag,
            class_key: self.class_key_ref(),
        };
        (request, ciphertext)
    }

    /// The package of an image.
    pub fn package(&self, image: &Image) -> Package {
        self.draft(image).seal()
    }
}

impl Draft {
    /// Encrypts, digests, signs.
    pub fn seal(self) -> Package {
        let digest = Bytes(Sha256::digest(&self.image).into());
        self.seal_with_digest(digest)
    }

    /// As [`Draft::seal`], with any digest of the plaintext.
    pub fn seal_with_digest(mut self, plaintext_sha256: Bytes<32>) -> Package {
        let content_key: [u8; 32] = Sha256::digest(&self.image).into();
        let mut ciphertext = self.image.clone();
        self.terms.nonce = Bytes([1; 12]);
        self.terms.tag = Bytes(encrypt(&content_key, &self.terms.nonce.0, &[], &mut ciphertext));
        self.terms.plaintext_sha256 = plaintext_sha256;
        self.terms.ciphertext_sha256 = Bytes(Sha256::digest(&ciphertext).into());
        (self.sign(content_key), ciphertext)
    }

    /// Signs the terms as they stand.
    pub fn sign(self, mut content_key: [u8; 32]) -> Vec<u8> {
        let additional_data = forge::payload(&self.header, &self.terms);
        let nonce = [2; 12];
        let tag = encrypt(&self.class_key, &nonce, &additional_data, &mut content_key);
        let wrapped = WrappedKey { nonce: Bytes(nonce), ciphertext: Bytes(content_key), tag: Bytes(tag) };
        let manifest = Manifest { terms: self.terms, content_key: wrapped };
        forge::statement(&self.header, &manifest, &self.publisher)
    }
}

/// RSAES-OAEP with SHA-256 to a DER SubjectPublicKeyInfo.
pub fn wrap(device_key: &[u8], secret: &[u8]) -> Result<Vec<u8>, Stop> {
    let key = RsaPublicKey::from_public_key_der(device_key)?;
    Ok(key.encrypt(&mut UnwrapErr(getrandom::SysRng), Oaep::<Sha256>::new(), secret)?)
}

fn encrypt(key: &[u8; 32], nonce: &[u8; 12], additional_data: &[u8], text: &mut [u8]) -> [u8; 16] {
    let cipher = Aes256Gcm::new(key.into());
    cipher
        .encrypt_inout_detached(nonce.into(), additional_data, text.into())
        .expect("within GCM's limits")
        .into()
}

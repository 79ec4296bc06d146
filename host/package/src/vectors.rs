//! The published test vectors: made again from their keys, and held against the files in `vectors/` and against FORMAT.md.
//!
//! `TRUSTBOX_WRITE_VECTORS=1 cargo test -p trustbox-package vectors` writes the files anew.

mod refused;
mod specification;

use std::path::PathBuf;
use std::{env, fs};

use p256::ecdsa::SigningKey;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use trustbox_api::key::{KeyRef, Name};
use trustbox_api::message::Version;
use trustbox_api::{Bytes, Secret, Uuid};

use crate::class_key::ClassKey;
use crate::layout::Place;
use crate::open::open;
use crate::original::{self, OriginalEdition, Rs256};
use crate::package::Package;
use crate::request::hex;
use crate::seal::{Edition, Fresh, seal_with};
use crate::sign::{Es256, SignError};

const KEY_PEM: &str = include_str!("../vectors/TEST-VECTOR-rsa2048.key.pem");
const CERTIFICATE: &str = include_str!("../vectors/TEST-VECTOR-certificate.pem");
const UUID: Uuid = Uuid(Bytes(*b"\x5f\x0e\x6a\x52\x7c\x0b\x4a\x40\x8d\x7e\x0c\x1d\x6b\x3a\x9f\x21"));
const SBOM: &str = r#"{"bomFormat":"CycloneDX","specVersion":"1.5","version":1,"components":[]}"#;
const DATE: u64 = 1_795_252_307;

/// Everything vectors are made of follows from a word: SHA-256 of it.
fn known(word: &str) -> [u8; 32] {
    Sha256::digest(format!("TrustBox test vector: {word}")).into()
}

fn known_nonce(word: &str) -> Bytes<12> {
    Bytes(std::array::from_fn(|index| known(word)[index]))
}

/// The published RSA key.
pub(crate) struct TestRsa(RsaKeyPair);

impl TestRsa {
    pub(crate) fn new() -> Self {
        use base64::Engine;
        let body: String = KEY_PEM.lines().filter(|line| !line.starts_with('-')).collect();
        let der = base64::prelude::BASE64_STANDARD.decode(body).unwrap();
        Self(RsaKeyPair::from_pkcs8(&der).unwrap())
    }
}

impl Rs256 for TestRsa {
    fn bits(&self) -> u32 {
        self.0.public().modulus_len() as u32 * 8
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let mut signature = vec![0; self.0.public().modulus_len()];
        let random = ring::rand::SystemRandom::new();
        self.0.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map_err(|_| SignError::Signing)?;
        Ok(signature)
    }
}

pub(crate) fn class_key() -> ClassKey {
    ClassKey::new(Secret::new(known("class key")))
}

fn publisher() -> SigningKey {
    SigningKey::from_slice(&known("publisher")).unwrap()
}

/// A signed OP-TEE image, by the published RSA key with PKCS#1 v1.5, which has no salt.
fn image() -> Vec<u8> {
    let payload: Vec<u8> = (0..=255).collect();
    let unsigned = crate::image::sample(UUID, 7, &payload);
    let mut header = unsigned[..20].to_vec();
    header[12..16].copy_from_slice(&0x7000_4830_u32.to_le_bytes());
    let content = &unsigned[308..];
    let signed = [&header, content].concat();
    let signature = TestRsa::new().sign(&signed).unwrap();
    [&header, &Sha256::digest(&signed)[..], &signature, content].concat()
}

fn edition() -> Edition {
    Edition {
        name: Name::from("meter").unwrap(),
        vendor: "TrustBox test vectors".to_owned(),
        owner_root: Bytes(known("owner root")),
        class_key: KeyRef::new("vector-class", 2).unwrap(),
        min_optee: Version(4, 10, 0),
        min_ta: Version(0, 1, 0),
        date: DATE,
    }
}

fn trustbox(sbom: Option<&[u8]>) -> Vec<u8> {
    let fresh = Fresh {
        content_key: Secret::new(known("content key")),
        image_nonce: known_nonce("image nonce"),
        key_nonce: known_nonce("key nonce"),
    };
    seal_with(fresh, &image(), &edition(), sbom, &class_key(), &publisher()).unwrap()
}

fn original() -> Vec<u8> {
    let edition = OriginalEdition {
        id: UUID.to_string(),
        name: "meter".to_owned(),
        vendor: "TrustBox test vectors".to_owned(),
        version: (7, 0, 0),
        date: "2026-11-21 09:11:47.138845454 UTC".to_owned(),
    };
    let (nonce, certificate) = (known_nonce("original nonce"), CERTIFICATE.as_bytes());
    original::seal_with(nonce, &image(), &edition, &class_key(), &TestRsa::new(), certificate).unwrap()
}

/// The vectors, by the names of their files.
pub(crate) fn packages() -> [(&'static str, Vec<u8>); 3] {
    [
        ("original.cpk", original()),
        ("trustbox.cpk", trustbox(None)),
        ("trustbox-sbom.cpk", trustbox(Some(SBOM.as_bytes()))),
    ]
}

fn description() -> Value {
    let shown = |(file, bytes): (&str, Vec<u8>)| json!({"file": file, "size": bytes.len(), "sha256": hex(&Sha256::digest(&bytes)), "streams": streams(&bytes)});
    json!({
        "about": "test vectors of the package format, see ../FORMAT.md; every key here is published and worth nothing",
        "class_key": {"name": "vector-class@2", "aes256": hex(&known("class key"))},
        "original_key": {"name": UUID.to_string(), "aes256": hex(&known("class key"))},
        "content_key": hex(&known("content key")),
        "publisher": {"p256_private": hex(&known("publisher")), "public": hex(publisher().public_key().0.as_ref()), "id": publisher().public_key().id().to_string()},
        "ta_signing_key": {"file": "TEST-VECTOR-rsa2048.key.pem", "algorithm": "RSASSA-PKCS1-v1_5 with SHA-256"},
        "owner_root_id": hex(&known("owner root")),
        "image": {"size": image().len(), "sha256": hex(&Sha256::digest(image())), "uuid": UUID.to_string(), "version": 7},
        "packages": packages().into_iter().map(shown).collect::<Vec<_>>(),
        "refused": refused::all(),
    })
}

fn streams(bytes: &[u8]) -> Vec<Value> {
    let package = Package::read(bytes).unwrap();
    let shown = |(index, (role, stream)): (usize, (&crate::layout::Role, &&[u8]))| {
        let Place { offset, .. } = Place::of(&package.frame, index);
        json!({"role": role.name(), "offset": offset, "size": stream.len(), "sha256": hex(&Sha256::digest(stream))})
    };
    package.roles.iter().zip(&package.frame.streams).enumerate().map(shown).collect()
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

#[test]
fn files_are_what_the_code_writes() {
    let text = format!("{:#}\n", description());
    let described = [("vectors.json", text.into_bytes())];
    for (name, bytes) in packages().into_iter().chain(described) {
        let path = folder().join(name);
        if env::var_os("TRUSTBOX_WRITE_VECTORS").is_some() {
            fs::write(&path, &bytes).unwrap();
        }
        assert!(fs::read(&path).unwrap() == bytes, "{name} is not what the code writes");
    }
}

#[test]
fn packages_open_to_the_image() {
    for (name, bytes) in packages() {
        let package = Package::read(&bytes).unwrap();
        assert!(*open(&package, Some(&class_key())).unwrap() == image(), "{name}");
        assert_eq!(package.frame.write().unwrap(), bytes, "{name}");
        let json = package.stream(crate::layout::Role::Manifest).unwrap();
        assert_eq!(package.json.write().unwrap(), json, "{name}");
    }
    let sbom = trustbox(Some(SBOM.as_bytes()));
    assert_eq!(Package::read(&sbom).unwrap().sbom(), Some(SBOM.as_bytes()));
}

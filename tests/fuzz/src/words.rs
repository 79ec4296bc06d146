//! What a manufacturer and an owner say to a device, in the quick algorithms of [`crate::quick`].

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit};
use serde::Serialize;
use sha2::{Digest, Sha256};
use trustbox_api::Bytes;
use trustbox_api::key::{DeviceId, KeyId, KeyName, KeyRef, Name, Uuid};
use trustbox_api::manifest::{Manifest, Terms, WrappedKey};
use trustbox_api::message::{LegacyRequest, Nonce, Version};
use trustbox_api::statement::{
    Audience, Envelope, FORMAT, Header, KeyBundle, Kind, PinRoot, Policy, Publisher, Releaser, Revoker,
    digest,
};
use trustbox_test::forge::{payload, unsigned_image};

use crate::quick::{key, sign, wrap};

/// Numbers of the parties' keys.
pub const AUTHORITY: u8 = 1;
/// The owner root.
pub const ROOT: u8 = 2;
/// The publisher of [`ENCLAVE`].
pub const PUBLISHER: u8 = 3;
/// The releaser of the class key.
pub const RELEASER: u8 = 4;
/// The revoker.
pub const REVOKER: u8 = 5;
/// Nobody.
pub const STRANGER: u8 = 6;
/// The root that ownership passes to.
pub const NEXT_ROOT: u8 = 7;

/// The enclave.
pub const ENCLAVE: Uuid = Uuid(Bytes([0xe1; 16]));
/// One whose packages need no manifest.
pub const LEGACY: Uuid = Uuid(Bytes([0xe2; 16]));
/// The class key.
pub const CLASS_KEY: [u8; 32] = *b"class key: not in any reply, ok?";
/// The content key of every package.
pub const CONTENT_KEY: [u8; 32] = *b"content key: not in any reply ok";

/// A payload in its envelope, signed by a number.
pub fn envelope(payload: &[u8], signer: u8) -> Vec<u8> {
    let signature = sign(&key(signer), &digest(payload));
    let mut out = vec![0; payload.len() + 160];
    let envelope = Envelope { payload, signer: key(signer), signature };
    let length = postcard::to_slice(&envelope, &mut out).map_or(0, |used| used.len());
    out.truncate(length);
    out
}

/// Header and body under the owner root.
pub fn said(kind: Kind, audience: Audience, sequence: u64, body: &impl Serialize) -> Vec<u8> {
    payload(&Header { kind, format: FORMAT, root: root(), audience, sequence }, body)
}

/// The owner root's id.
pub fn root() -> KeyId {
    key(ROOT).id()
}

/// The class key's name and version.
pub fn class_key() -> KeyRef {
    KeyRef { name: KeyName::from("class").expect("a short name"), version: 1 }
}

/// Pins the owner root.
pub fn pin_root(device: DeviceId, nonce: Nonce) -> Vec<u8> {
    said(Kind::PinRoot, Audience::Device(device), 0, &PinRoot { nonce, root: key(ROOT) })
}

/// Delegates to the publisher, the releaser and the revoker, and sets a policy.
pub fn delegations(sequence: u64) -> [Vec<u8>; 4] {
    let publisher = Publisher { key: key(PUBLISHER), uuids: [ENCLAVE, LEGACY].into_iter().collect() };
    let releaser = Releaser { key: key(RELEASER), keys: [class_key().name].into_iter().collect() };
    let policy = Policy { legacy: [LEGACY].into_iter().collect(), max_enclaves: 3 };
    [
        said(Kind::Publisher, Audience::Fleet, sequence, &publisher),
        said(Kind::Releaser, Audience::Fleet, sequence, &releaser),
        said(Kind::Revoker, Audience::Fleet, sequence, &Revoker { key: key(REVOKER) }),
        said(Kind::Policy, Audience::Fleet, sequence, &policy),
    ]
}

/// Hands the class key, in some version, to a device.
pub fn bundle(device: DeviceId, nonce: Nonce, version: u32) -> Vec<u8> {
    let wrapped = wrap(&CLASS_KEY);
    let body = KeyBundle { nonce, key: KeyRef { version, ..class_key() }, wrapped: &wrapped };
    said(Kind::KeyBundle, Audience::Device(device), version.into(), &body)
}

/// A signed OP-TEE image.
pub fn image(uuid: &Uuid, version: u32) -> Vec<u8> {
    unsigned_image(uuid, version, &[0x7f; 24])
}

/// The payload of a manifest, and the ciphertext.
pub fn package(version: u32) -> (Vec<u8>, Vec<u8>) {
    let mut ciphertext = image(&ENCLAVE, version);
    let plaintext_sha256 = Bytes(Sha256::digest(&ciphertext).into());
    let nonce = Bytes([1; 12]);
    let tag = encrypt(&CONTENT_KEY, &nonce, &[], &mut ciphertext);
    let terms = Terms {
        publisher: key(PUBLISHER).id(),
        uuid: ENCLAVE,
        name: Name::from("enclave").expect("a short name"),
        version,
        min_optee: Version(4, 0, 0),
        min_ta: Version(0, 1, 0),
        size: ciphertext.len() as u32,
        ciphertext_sha256: Bytes(Sha256::digest(&ciphertext).into()),
        plaintext_sha256,
        nonce,
        tag,
        class_key: class_key(),
    };
    (manifest(terms), ciphertext)
}

/// A package of the original format.
pub fn legacy_package(version: u32) -> (LegacyRequest, Vec<u8>) {
    let mut ciphertext = image(&LEGACY, version);
    let plaintext_sha256 = Bytes(Sha256::digest(&ciphertext).into());
    let nonce = Bytes([3; 12]);
    let tag = encrypt(&CLASS_KEY, &nonce, &[], &mut ciphertext);
    let name = Name::from("legacy").expect("a short name");
    let size = ciphertext.len() as u32;
    let class_key = class_key();
    (LegacyRequest { uuid: LEGACY, name, version, size, plaintext_sha256, nonce, tag, class_key }, ciphertext)
}

/// The manifest that says these terms.
pub fn manifest(terms: Terms) -> Vec<u8> {
    let sequence = terms.version.into();
    let additional_data = said(Kind::Manifest, Audience::Fleet, sequence, &terms);
    let (nonce, mut wrapped) = (Bytes([2; 12]), CONTENT_KEY);
    let tag = encrypt(&CLASS_KEY, &nonce, &additional_data, &mut wrapped);
    let content_key = WrappedKey { nonce, ciphertext: Bytes(wrapped), tag };
    said(Kind::Manifest, Audience::Fleet, sequence, &Manifest { terms, content_key })
}

fn encrypt(key: &[u8; 32], nonce: &Bytes<12>, additional_data: &[u8], text: &mut [u8]) -> Bytes<16> {
    let cipher = Aes256Gcm::new(key.into());
    let tag = cipher.encrypt_inout_detached(&nonce.0.into(), additional_data, text.into());
    Bytes(tag.expect("within GCM's limits").into())
}

//! Statements and images of any content, right ones and wrong ones.

use p256::ecdsa::signature::hazmat::PrehashSigner;
use p256::ecdsa::{Signature, SigningKey};
use serde::Serialize;
use trustbox_api::Bytes;
use trustbox_api::key::{KeyId, PublicKey, Uuid};
use trustbox_api::statement::{Audience, Envelope, FORMAT, Header, Kind, digest};

/// The public half in the interface's form.
pub fn public(key: &SigningKey) -> PublicKey {
    let point = key.verifying_key().to_sec1_point(false);
    PublicKey(Bytes::from_slice(&point.as_bytes()[1..]).expect("an uncompressed P-256 point has 65 bytes"))
}

/// A key that nobody trusts, another one for each number.
pub fn stranger(number: u8) -> SigningKey {
    SigningKey::from_slice(&[number.max(1); 32]).expect("a small number is a valid scalar")
}

/// A header of the format the TA knows.
pub fn header(kind: Kind, root: KeyId, audience: Audience, sequence: u64) -> Header {
    Header { kind, format: FORMAT, root, audience, sequence }
}

/// Header and body as one payload.
pub fn payload(header: &Header, body: &impl Serialize) -> Vec<u8> {
    let mut out = vec![0; 8192];
    let length = postcard::to_slice(header, &mut out).expect("fits").len();
    let total = length + postcard::to_slice(body, &mut out[length..]).expect("fits").len();
    out.truncate(total);
    out
}

/// A payload in its envelope.
pub fn sign(payload: &[u8], key: &SigningKey) -> Vec<u8> {
    let signature: Signature = key.sign_prehash(&digest(payload)).expect("a P-256 key signs 32 bytes");
    let signature = Bytes::from_slice(&signature.to_bytes()).expect("r and s have 32 bytes each");
    let mut out = vec![0; 8192];
    let length = postcard::to_slice(&Envelope { payload, signer: public(key), signature }, &mut out)
        .expect("fits")
        .len();
    out.truncate(length);
    out
}

/// A statement in one go.
pub fn statement(header: &Header, body: &impl Serialize, key: &SigningKey) -> Vec<u8> {
    sign(&payload(header, body), key)
}

/// An image with a well-formed OP-TEE header but no signature that OP-TEE would accept.
pub fn unsigned_image(uuid: &Uuid, version: u32, elf: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(0x4f54_5348_u32.to_le_bytes());
    out.extend(1_u32.to_le_bytes());
    out.extend((elf.len() as u32).to_le_bytes());
    out.extend(0x7041_4930_u32.to_le_bytes());
    out.extend(32_u16.to_le_bytes());
    out.extend(384_u16.to_le_bytes());
    out.extend([0; 32 + 384]);
    out.extend(uuid.0.as_ref());
    out.extend(version.to_le_bytes());
    out.extend(elf);
    out
}

/// The same text with one bit flipped.
pub fn flip(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut out = bytes.to_vec();
    out[bit / 8] ^= 1 << (bit % 8);
    out
}

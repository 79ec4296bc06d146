//! Tests of sealing: opened again step by step as the TA does, and what it refuses.

use aes_gcm::Tag;
use p256::ecdsa::signature::Verifier;
use p256::ecdsa::{Signature, SigningKey, VerifyingKey};
use trustbox_api::limits::{MAX_KEY_NAME, MAX_NAME, MAX_REQUEST};
use trustbox_api::statement::{DOMAIN, Envelope};
use trustbox_api::{Uuid, wire};

use super::*;
use crate::frame::Frame;
use crate::image;
use crate::package::{Package, PackageError};

const UUID: Uuid = Uuid(Bytes(*b"an enclave uuid!"));

struct World {
    image: Vec<u8>,
    edition: Edition,
    class_key: ClassKey,
    publisher: SigningKey,
}

impl World {
    fn new() -> Self {
        let payload: Vec<u8> = (0..5000u32).flat_map(u32::to_le_bytes).collect();
        Self {
            image: image::sample(UUID, 7, &payload),
            edition: Edition {
                name: Name::try_from("meter").unwrap(),
                vendor: "vendor".to_owned(),
                owner_root: Bytes([9; 32]),
                class_key: KeyRef::new("class", 2).unwrap(),
                min_optee: Version(4, 10, 0),
                min_ta: Version(0, 1, 0),
                date: 0,
            },
            class_key: ClassKey::generate().unwrap(),
            publisher: generate(),
        }
    }

    fn seal(&self) -> Vec<u8> {
        seal(&self.image, &self.edition, &self.class_key, &self.publisher).unwrap()
    }
}

fn generate() -> SigningKey {
    loop {
        if let Ok(key) = SigningKey::from_slice(random_secret().unwrap().expose()) {
            return key;
        }
    }
}

fn decrypt(key: &[u8; 32], nonce: &[u8], tag: &[u8], bytes: &[u8], additional: &[u8]) -> Option<Vec<u8>> {
    let mut out = bytes.to_vec();
    let (nonce, tag) = (Nonce::try_from(nonce).ok()?, Tag::try_from(tag).ok()?);
    let opened = Aes256Gcm::new(key.into()).decrypt_inout_detached(
        &nonce,
        additional,
        out.as_mut_slice().into(),
        &tag,
    );
    opened.ok().map(|()| out)
}

/// INV-2: signature, then content key, then image, as the TA does it.
#[test]
fn sealed_package_opens() {
    let world = World::new();
    let bytes = world.seal();
    let package = Package::read(&bytes).unwrap();
    let trusted = package.trusted().unwrap();

    let envelope: Envelope = wire::decode(trusted.statement).unwrap();
    let point = [&[4], envelope.signer.0.as_ref()].concat();
    let signature = Signature::from_slice(envelope.signature.as_ref()).unwrap();
    let signed = [DOMAIN, envelope.payload].concat();
    VerifyingKey::from_sec1_bytes(&point).unwrap().verify(&signed, &signature).unwrap();
    assert_eq!(envelope.signer.id(), trusted.terms().publisher);

    let parsed = &trusted.manifest;
    let wrapped = &parsed.manifest.content_key;
    let open = |additional: &[u8]| {
        let class_key = world.class_key.expose();
        decrypt(
            class_key,
            wrapped.nonce.as_ref(),
            wrapped.tag.as_ref(),
            wrapped.ciphertext.as_ref(),
            additional,
        )
    };
    let content_key: [u8; 32] = open(parsed.additional_data).unwrap().try_into().unwrap();
    assert!(open(&parsed.additional_data[1..]).is_none());
    let terms = trusted.terms();
    let image =
        decrypt(&content_key, terms.nonce.as_ref(), terms.tag.as_ref(), package.payload, &[]).unwrap();
    assert!(image == world.image);
    assert_eq!(terms.plaintext_sha256, Bytes(Sha256::digest(&image).into()));
    assert_eq!(terms.ciphertext_sha256, Bytes(Sha256::digest(package.payload).into()));
}

#[test]
fn statement_says_what_image_and_edition_say() {
    let world = World::new();
    let bytes = world.seal();
    let package = Package::read(&bytes).unwrap();
    let trusted = package.trusted().unwrap();
    let (terms, header) = (trusted.terms(), &trusted.manifest.header);
    assert_eq!((terms.uuid, terms.version, terms.size as usize), (UUID, 7, world.image.len()));
    assert_eq!((terms.name.as_str(), &terms.class_key), ("meter", &world.edition.class_key));
    assert_eq!((header.kind, header.format, header.sequence), (Kind::Manifest, FORMAT, 7));
    assert_eq!((header.root, header.audience), (world.edition.owner_root, Audience::Fleet));
    assert_eq!(package.json.payload.ver.date, "1970-01-01 00:00:00 UTC");
    assert!(
        matches!(&package.json.payload.enc, json::Encryption::AesGcm { key_name, .. } if key_name == "class@2")
    );
}

#[test]
fn two_packages_share_no_ciphertext() {
    let world = World::new();
    let (one, two) = (world.seal(), world.seal());
    let (one, two) = (Package::read(&one).unwrap(), Package::read(&two).unwrap());
    assert!(one.payload != two.payload);
    let (one, two) = (one.trusted().unwrap().terms(), two.trusted().unwrap().terms());
    assert_ne!(one.nonce, two.nonce);
    assert_eq!(one.plaintext_sha256, two.plaintext_sha256);
}

#[test]
fn longest_names_fit_the_limits() {
    let mut world = World::new();
    world.edition.name = Name::try_from("n".repeat(MAX_NAME).as_str()).unwrap();
    world.edition.class_key = KeyRef::new(&"k".repeat(MAX_KEY_NAME), u32::MAX).unwrap();
    let bytes = world.seal();
    assert!(Package::read(&bytes).unwrap().trusted().unwrap().statement.len() <= MAX_REQUEST);
}

#[test]
fn wrong_input_is_refused() {
    let mut world = World::new();
    world.edition.name.clear();
    let refused =
        |world: &World| seal(&world.image, &world.edition, &world.class_key, &world.publisher).unwrap_err();
    assert!(matches!(refused(&world), SealError::EmptyName));
    world.image.pop();
    assert!(matches!(refused(&world), SealError::Image(ImageError::Size { .. })));
}

#[test]
fn every_cut_and_disagreement_is_refused() {
    let bytes = World::new().seal();
    for length in (0..bytes.len()).step_by(13).chain(bytes.len() - 400..bytes.len()) {
        assert!(Package::read(&bytes[..length]).is_err(), "length {length}");
    }
    let frame = Frame::read(&bytes).unwrap();
    for (stream, what) in [(1, "nonce"), (2, "tag"), (3, "digest")] {
        let mut changed = frame.streams[stream].to_vec();
        changed[0] ^= 1;
        let mut streams = frame.streams.clone();
        streams[stream] = &changed;
        let bytes = Frame { streams, manifest: 4 }.write().unwrap();
        let error = Package::read(&bytes).unwrap_err();
        assert!(matches!(error, PackageError::Mismatch { what: found, .. } if found == what), "{error}");
    }
}

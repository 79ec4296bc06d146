//! Tests of issuing: every statement decoded and its signature verified with p256 directly.

use std::sync::LazyLock;

use p256::ecdsa::signature::hazmat::PrehashVerifier;
use p256::ecdsa::{Signature, VerifyingKey};
use rsa::RsaPrivateKey;
use rsa::pkcs8::EncodePublicKey;
use trustbox_api::limits::{
    MAX_KEY_NAME, MAX_LEGACY_UUIDS, MAX_PUBLISHER_UUIDS, MAX_RELEASER_KEYS, MAX_REQUEST,
    MAX_REVOCATION_ITEMS, MAX_WRAPPED_KEY,
};
use trustbox_api::statement::{
    Decommission, Envelope, KeyBundle, Lock, PinRoot, Policy, Publisher, Releaser, Revocation, Revoker,
    RotateRoot, digest,
};
use trustbox_api::{Bytes, wire};

use super::*;
use crate::files::generate;

const ASKING: Asking = Asking { device_id: Bytes([0xd1; 32]), nonce: Bytes([0x0e; 32]) };

static DEVICE: LazyLock<RsaPrivateKey> =
    LazyLock::new(|| RsaPrivateKey::new(&mut UnwrapErr(SysRng), 2048).unwrap());

/// Header and body of a statement whose signature verifies.
fn open<'a>(bytes: &'a [u8], signer: &SigningKey) -> (Header, &'a [u8]) {
    assert!(bytes.len() <= MAX_REQUEST);
    let envelope: Envelope = wire::decode(bytes).unwrap();
    assert_eq!(envelope.signer, public_key(signer.verifying_key()));
    let key = VerifyingKey::from_sec1_bytes(&[&[4], envelope.signer.0.as_ref()].concat()).unwrap();
    let signature = Signature::from_slice(envelope.signature.as_ref()).unwrap();
    key.verify_prehash(&digest(envelope.payload), &signature).unwrap();
    let mut changed = envelope.payload.to_vec();
    changed[0] ^= 1;
    assert!(key.verify_prehash(&digest(&changed), &signature).is_err());
    wire::decode_prefix(envelope.payload).unwrap()
}

/// DER of an RSA public key with an odd modulus of so many bits; nobody has the private half.
fn device_key_of(bits: u32, exponent: u64) -> Vec<u8> {
    let mut modulus = vec![0xff; bits.div_ceil(8) as usize];
    modulus[0] >>= (8 - bits % 8) % 8;
    let modulus = BoxedUint::from_be_slice(&modulus, bits.next_multiple_of(64)).unwrap();
    let key = RsaPublicKey::new_unchecked(modulus, BoxedUint::from(exponent));
    key.to_public_key_der().unwrap().as_bytes().to_vec()
}

fn release_to(device_key: &[u8]) -> Result<Vec<u8>, IssueError> {
    let key = (&KeyRef::new("class", 1).unwrap(), &ClassKey::generate().unwrap());
    release(&generate().unwrap(), Bytes([1; 32]), &ASKING, device_key, key)
}

#[test]
fn pinned_root_is_bound_to_device_and_nonce() {
    let (authority, root) = (generate().unwrap(), generate().unwrap());
    let bytes = pin_root(&authority, &public_key(root.verifying_key()), &ASKING).unwrap();
    let (header, body) = open(&bytes, &authority);
    assert_eq!((header.kind, header.format, header.sequence), (Kind::PinRoot, FORMAT, 0));
    assert_eq!((header.root, header.audience), (id(&root), Audience::Device(ASKING.device_id)));
    let body: PinRoot = wire::decode(body).unwrap();
    assert_eq!(body, PinRoot { nonce: ASKING.nonce, root: public_key(root.verifying_key()) });
}

#[test]
fn delegations_say_who_and_what() {
    let (root, delegate) = (generate().unwrap(), generate().unwrap());
    let key = public_key(delegate.verifying_key());
    let uuids = [Uuid(Bytes([1; 16])), Uuid(Bytes([2; 16]))];
    let bytes = delegate_publisher(&root, &key, &uuids, 5).unwrap();
    let (header, body) = open(&bytes, &root);
    assert_eq!((header.kind, header.sequence, header.root), (Kind::Publisher, 5, id(&root)));
    assert_eq!(header.audience, Audience::Fleet);
    let body: Publisher = wire::decode(body).unwrap();
    assert_eq!((body.key, &body.uuids[..]), (key, &uuids[..]));

    let names = [KeyName::try_from("class").unwrap()];
    let bytes = delegate_releaser(&root, &key, &names, 6).unwrap();
    let (header, body) = open(&bytes, &root);
    assert_eq!((header.kind, header.sequence, header.root), (Kind::Releaser, 6, id(&root)));
    let body: Releaser = wire::decode(body).unwrap();
    assert_eq!((body.key, &body.keys[..]), (key, &names[..]));
}

#[test]
fn fullest_delegations_fit_and_fuller_are_refused() {
    let root = generate().unwrap();
    let key = public_key(root.verifying_key());
    let uuids = [Uuid(Bytes([0xff; 16])); MAX_PUBLISHER_UUIDS + 1];
    open(&delegate_publisher(&root, &key, &uuids[1..], u64::MAX).unwrap(), &root);
    let names: Vec<KeyName> = (0..=MAX_RELEASER_KEYS)
        .map(|_| KeyName::try_from("k".repeat(MAX_KEY_NAME).as_str()).unwrap())
        .collect();
    open(&delegate_releaser(&root, &key, &names[1..], u64::MAX).unwrap(), &root);
    for error in [delegate_publisher(&root, &key, &uuids, 1), delegate_releaser(&root, &key, &names, 1)] {
        assert!(matches!(error, Err(IssueError::Count { found: 17, limit: 16, .. })));
    }
    assert!(matches!(delegate_publisher(&root, &key, &[], 1), Err(IssueError::Count { found: 0, .. })));
}

#[test]
fn answers_of_owner_and_authority_are_for_one_device_and_nonce() {
    let (old, new) = (generate().unwrap(), generate().unwrap());
    let nonce = ASKING.nonce;
    let bytes = lock(&old, id(&new), &ASKING).unwrap();
    let (header, body) = open(&bytes, &old);
    assert_eq!((header.kind, header.root), (Kind::Lock, id(&new)));
    assert_eq!(wire::decode(body), Ok(Lock { nonce }));
    let public = public_key(new.verifying_key());
    let rotated = rotate_root(&old, &public, &ASKING).unwrap();
    let (header, body) = open(&rotated, &old);
    assert_eq!((header.kind, header.root), (Kind::RotateRoot, id(&old)));
    assert_eq!(wire::decode(body), Ok(RotateRoot { nonce, root: public }));
    let ended = decommission(&old, &ASKING).unwrap();
    let (header, body) = open(&ended, &old);
    assert_eq!((header.kind, header.root), (Kind::Decommission, id(&old)));
    assert_eq!(wire::decode(body), Ok(Decommission { nonce }));
    for (bytes, signer) in [(&bytes, &old), (&rotated, &old), (&ended, &old)] {
        let (header, _) = open(bytes, signer);
        assert_eq!((header.sequence, header.audience), (0, Audience::Device(ASKING.device_id)));
        assert!(header.kind.is_for_one_device());
    }
}

#[test]
fn owner_says_what_is_allowed_and_revoked_and_for_whom() {
    let (root, revoker) = (generate().unwrap(), generate().unwrap());
    let class = Audience::Class(KeyName::from("class").unwrap());
    let scope = Scope { audience: class, sequence: 7 };
    let bytes = delegate_revoker(&root, &public_key(revoker.verifying_key()), scope).unwrap();
    let (header, body) = open(&bytes, &root);
    assert_eq!((header.kind, header.audience, header.sequence), (Kind::Revoker, class, 7));
    assert_eq!(wire::decode(body), Ok(Revoker { key: public_key(revoker.verifying_key()) }));

    let uuid = Uuid(Bytes([1; 16]));
    let device = Scope { audience: Audience::Device(ASKING.device_id), sequence: 8 };
    let bytes = policy(&root, &[uuid], 3, device).unwrap();
    let (header, body) = open(&bytes, &root);
    assert_eq!((header.kind, header.audience, header.root), (Kind::Policy, device.audience, id(&root)));
    let body: Policy = wire::decode(body).unwrap();
    assert_eq!((&body.legacy[..], body.max_enclaves), (&[uuid][..], 3));

    let items = [Revoked::Key(Bytes([4; 32])), Revoked::Enclave { uuid, floor: u32::MAX }];
    let bytes = revoke(&revoker, id(&root), &items, 9).unwrap();
    let (header, body) = open(&bytes, &revoker);
    assert_eq!((header.kind, header.audience, header.root), (Kind::Revocation, Audience::Fleet, id(&root)));
    assert_eq!(wire::decode::<Revocation>(body).unwrap().items[..], items);
}

#[test]
fn fullest_policies_and_revocations_fit_and_fuller_are_refused() {
    let root = generate().unwrap();
    let uuids = [Uuid(Bytes([0xff; 16])); MAX_LEGACY_UUIDS + 1];
    open(&policy(&root, &uuids[1..], 16, u64::MAX).unwrap(), &root);
    open(&policy(&root, &[], 0, 1).unwrap(), &root);
    let refused = |statement| match statement {
        Err(IssueError::Count { found, least, limit, .. }) => (found, least, limit),
        _ => panic!("issued"),
    };
    assert_eq!(refused(policy(&root, &uuids, 16, 1)), (9, 0, 8));
    assert_eq!(refused(policy(&root, &[], 17, 1)), (17, 0, 16));
    let name = KeyName::from(&"k".repeat(MAX_KEY_NAME)).unwrap();
    let items = [Revoked::ClassKey { name, floor: u32::MAX }; MAX_REVOCATION_ITEMS + 1];
    open(&revoke(&root, id(&root), &items[1..], u64::MAX).unwrap(), &root);
    assert_eq!(refused(revoke(&root, id(&root), &items, 1)), (17, 1, 16));
    assert_eq!(refused(revoke(&root, id(&root), &[], 1)), (0, 1, 16));
}

#[test]
fn released_key_opens_with_the_device_key_only() {
    let (releaser, root) = (generate().unwrap(), generate().unwrap());
    let (key, value) = (KeyRef::new("class", 3).unwrap(), ClassKey::generate().unwrap());
    let spki = DEVICE.to_public_key().to_public_key_der().unwrap();
    let bytes = release(&releaser, id(&root), &ASKING, spki.as_bytes(), (&key, &value)).unwrap();
    let (header, body) = open(&bytes, &releaser);
    assert_eq!((header.kind, header.sequence, header.root), (Kind::KeyBundle, 3, id(&root)));
    assert_eq!(header.audience, Audience::Device(ASKING.device_id));
    let body: KeyBundle = wire::decode(body).unwrap();
    assert_eq!((body.nonce, &body.key, body.wrapped.len()), (ASKING.nonce, &key, 256));
    assert!(DEVICE.decrypt(Oaep::<Sha256>::new(), body.wrapped).unwrap() == value.expose());
    let mut damaged = body.wrapped.to_vec();
    damaged[100] ^= 1;
    assert!(DEVICE.decrypt(Oaep::<Sha256>::new(), &damaged).is_err());
}

#[test]
fn device_keys_have_the_right_size_and_exponent() {
    for bits in [2048, 3072, 4096] {
        let bytes = release_to(&device_key_of(bits, EXPONENT)).unwrap();
        assert!(bytes.len() <= MAX_REQUEST);
        let envelope: Envelope = wire::decode(&bytes).unwrap();
        let (_, body) = wire::decode_prefix::<Header>(envelope.payload).unwrap();
        let wrapped = wire::decode::<KeyBundle>(body).unwrap().wrapped.len();
        assert!(wrapped == bits as usize / 8 && wrapped <= MAX_WRAPPED_KEY);
    }
    for bits in [1024, 2047, 4097, 8192] {
        assert!(
            matches!(release_to(&device_key_of(bits, EXPONENT)), Err(IssueError::DeviceKeySize(b)) if b == bits)
        );
    }
    assert!(matches!(release_to(&device_key_of(2048, 3)), Err(IssueError::DeviceKeyExponent)));
}

#[test]
fn other_device_keys_are_refused() {
    let p256 = p256::pkcs8::EncodePublicKey::to_public_key_der(generate().unwrap().verifying_key()).unwrap();
    let rsa = device_key_of(2048, EXPONENT);
    for bytes in [p256.as_bytes(), &rsa[..rsa.len() - 1], &rsa[1..], b"", &[rsa.as_slice(), &[0]].concat()] {
        assert!(matches!(release_to(bytes), Err(IssueError::DeviceKey(_))));
    }
}

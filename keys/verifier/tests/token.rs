//! Tokens that the TA makes, on its fake, and what becomes of them when they are changed.

mod changes;

use minicbor::Encoder;
use p256::ecdsa::SigningKey;
use p256::ecdsa::signature::hazmat::PrehashSigner;
use sha2::{Digest, Sha256};
use trustbox_api::message::AttestRequest;
use trustbox_api::token::{self, claim};
use trustbox_api::{Bytes, Command, Error, PublicKey};
use trustbox_core::Session;
use trustbox_core::fake::Device;
use trustbox_test::forge::{public, stranger};
use trustbox_test::requests::encode;
use trustbox_verifier::{Reference, ReferenceValues, Refusal, Tier, Token, appraise};

const NONCE: [u8; 32] = [0x4e; 32];

/// A token of a blank device on the fake, and the key that signed it.
fn token_over(nonce: &[u8]) -> Result<(Vec<u8>, PublicKey), Error> {
    let device = Device::new(1, &public(&stranger(1)));
    let mut session = Session::open(device.tee())?;
    let request = encode(&AttestRequest { nonce: nonce.iter().copied().collect() });
    let mut reply = vec![0; 4096];
    let length = session.handle(Command::Attest as u32, &request, &&[][..], &mut reply)?;
    reply.truncate(length);
    let mut info = vec![0; 4096];
    let length = session.handle(Command::Info as u32, &[], &&[][..], &mut info)?;
    let info: trustbox_api::message::InfoReply = trustbox_api::wire::decode(&info[..length])?;
    Ok((reply, info.attestation_key.expect("a key")))
}

fn token() -> (Vec<u8>, PublicKey) {
    token_over(&NONCE).expect("a token")
}

#[test]
fn a_token_says_what_the_device_is() {
    for size in token::NONCE_SIZES {
        let nonce = vec![7; size];
        let (bytes, key) = token_over(&nonce).expect("a token");
        let claims = Token::parse(&bytes).expect("well formed").verify(&key, &nonce).expect("verifies");
        assert_eq!((claims.lifecycle, claims.client_id, claims.owner_root), (0x1000, -1, None));
        assert_eq!(claims.component(token::OPTEE).expect("listed").measurement, [0xc0; 32]);
        assert_eq!(claims.component(token::TRUSTBOX).expect("listed").version, "0.1.0");
        assert_eq!((claims.hardware_key, claims.rollback_protection, claims.security_epoch), (0, 0, 0));
        assert!(bytes.len() <= 600, "{} bytes", bytes.len());
    }
}

#[test]
fn nonces_of_other_sizes_are_refused() {
    for size in [0, 1, 31, 33, 47, 49, 63] {
        assert_eq!(token_over(&vec![7; size]).err(), Some(Error::BadMessage), "{size}");
    }
}

/// Deterministic encoding: keys ascend in their encoded form, and lengths are the shortest.
#[test]
fn the_encoding_is_deterministic() {
    let (bytes, _) = token();
    let mut decoder = minicbor::Decoder::new(&bytes);
    let (tag, parts) = (decoder.tag().unwrap().as_u64(), decoder.array().unwrap());
    assert_eq!((tag, parts), (18, Some(4)));
    assert_eq!(decoder.bytes().unwrap(), token::PROTECTED);
    assert_eq!(decoder.map().unwrap(), Some(0));
    let payload = decoder.bytes().unwrap();
    let mut claims = minicbor::Decoder::new(payload);
    let mut keys = Vec::new();
    for _ in 0..claims.map().unwrap().expect("definite") {
        let at = claims.position();
        claims.skip().unwrap();
        keys.push(payload[at..claims.position()].to_vec());
        claims.skip().unwrap();
    }
    assert!(keys.is_sorted_by(|a, b| a < b), "{keys:?}");
    assert_eq!(keys.len(), 13);
}

#[test]
fn any_change_is_refused() {
    let (good, key) = token();
    let believed = |bytes: &[u8]| Token::parse(bytes).and_then(|token| token.verify(&key, &NONCE).map(drop));
    assert_eq!(believed(&good), Ok(()));
    changes::are_refused(&good, |bytes| believed(bytes).is_ok());
    assert_eq!(believed(&[good.as_slice(), &[0]].concat()), Err(Refusal::Envelope("bytes are left over")));
}

#[test]
fn another_nonce_and_another_key_are_told_apart() {
    let (bytes, key) = token();
    let parsed = Token::parse(&bytes).expect("well formed");
    assert_eq!(parsed.clone().verify(&key, &[0; 32]), Err(Refusal::Nonce));
    assert_eq!(parsed.clone().verify(&public(&stranger(2)), &NONCE), Err(Refusal::Signature));
    assert_eq!(parsed.verify(&PublicKey(Bytes([0; 64])), &NONCE), Err(Refusal::Signature));
}

/// Claims of any shape, signed by a key of the test's own.
struct Forge(SigningKey);

impl Forge {
    fn sign(&self, claims: &[u8]) -> Vec<u8> {
        let mut signed = vec![];
        let mut out = Encoder::new(&mut signed);
        out.array(4).unwrap().str(token::CONTEXT).unwrap().bytes(token::PROTECTED).unwrap();
        out.bytes(&[]).unwrap().bytes(claims).unwrap();
        let signature: p256::ecdsa::Signature = self.0.sign_prehash(&Sha256::digest(&signed)).unwrap();
        let mut token = vec![];
        let mut out = Encoder::new(&mut token);
        out.tag(minicbor::data::Tag::new(18)).unwrap().array(4).unwrap().bytes(token::PROTECTED).unwrap();
        out.map(0).unwrap().bytes(claims).unwrap().bytes(&signature.to_bytes()).unwrap();
        token
    }

    fn key(&self) -> PublicKey {
        public(&self.0)
    }

    fn check(&self, claims: &[u8]) -> Result<(), Refusal> {
        let token = self.sign(claims);
        Token::parse(&token)?.verify(&self.key(), &NONCE).map(drop)
    }

    /// Good claims but for `without`; `extra` is appended as so many claims more.
    fn claims(&self, without: i32, (count, extra): (u64, &[u8])) -> Vec<u8> {
        let mut out = vec![];
        let instance = [&[1], self.key().id().0.as_slice()].concat();
        let all: [(i32, Vec<u8>); 13] = [
            (claim::NONCE, bstr(&NONCE)),
            (claim::INSTANCE_ID, bstr(&instance)),
            (claim::PROFILE, bstr(token::PROFILE)),
            (claim::BOOT_SEED, bstr(&[5; 16])),
            (claim::CLIENT_ID, vec![0x20]),
            (claim::LIFECYCLE, vec![0x19, 0x30, 0]),
            (claim::IMPLEMENTATION_ID, bstr(&[6; 32])),
            (claim::SOFTWARE_COMPONENTS, vec![0x80]),
            (claim::WRAPPING_KEY, bstr(&[8; 32])),
            (claim::ROLLBACK_PROTECTION, vec![1]),
            (claim::HARDWARE_KEY, vec![2]),
            (claim::SECURITY_EPOCH, vec![3]),
            (claim::LOG_HEAD, [vec![0x84, 1, 2, 3], bstr(&[9; 32])].concat()),
        ];
        let kept: Vec<_> = all.iter().filter(|(key, _)| *key != without).collect();
        Encoder::new(&mut out).map(kept.len() as u64 + count).unwrap();
        for (key, value) in kept {
            Encoder::new(&mut out).i32(*key).unwrap();
            out.extend(value);
        }
        out.extend(extra);
        out
    }
}

fn bstr(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![];
    Encoder::new(&mut out).bytes(bytes).unwrap();
    out
}

const NOTHING: (u64, &[u8]) = (0, &[]);

#[test]
fn each_claim_is_needed_and_named() {
    let forge = Forge(stranger(60));
    assert_eq!(forge.check(&forge.claims(0, NOTHING)), Ok(()));
    for (key, name) in [
        (claim::NONCE, "nonce"),
        (claim::INSTANCE_ID, "instance-id"),
        (claim::PROFILE, "profile"),
        (claim::BOOT_SEED, "boot-seed"),
        (claim::CLIENT_ID, "client-id"),
        (claim::LIFECYCLE, "lifecycle"),
        (claim::IMPLEMENTATION_ID, "implementation-id"),
        (claim::SOFTWARE_COMPONENTS, "software-components"),
        (claim::WRAPPING_KEY, "wrapping-key"),
        (claim::ROLLBACK_PROTECTION, "rollback-protection"),
        (claim::HARDWARE_KEY, "hardware-key"),
        (claim::SECURITY_EPOCH, "security-epoch"),
        (claim::LOG_HEAD, "log-head"),
    ] {
        assert_eq!(forge.check(&forge.claims(key, NOTHING)), Err(Refusal::Missing(name)));
        let mut text = vec![];
        Encoder::new(&mut text).i32(key).unwrap().bool(true).unwrap();
        let answer = forge.check(&forge.claims(key, (1, &text)));
        assert!(matches!(answer, Err(Refusal::Claim { claim, .. }) if claim == name), "{name}: {answer:?}");
    }
}

#[test]
fn what_nobody_knows_is_passed_over_and_what_is_no_token_refused() {
    let forge = Forge(stranger(61));
    let with = |extra: &[u8]| forge.check(&forge.claims(0, (1, extra)));
    let unknown = |what| Err(Refusal::Claim { claim: "unknown", what });
    // 5000: {"a": [1, h'00', 3.5]}, then "name": null.
    assert_eq!(with(b"\x19\x13\x88\xa1\x61a\x83\x01\x41\0\xfb\x40\x0c\0\0\0\0\0\0"), Ok(()));
    assert_eq!(with(b"\x64name\xf6"), Ok(()));
    assert_eq!(with(b"\x19\x13\x88\x9f\xff"), unknown("of indefinite length"));
    assert_eq!(with(b"\x19\x13\x88\x81\x81\x81\x81\x81\x81\x81\x81\x81\x00"), unknown("nested too deeply"));
    assert_eq!(with(b"\x0a\x40"), Err(Refusal::Duplicate(10)));
    assert_eq!(
        with(b"\x19\x13\x88\x5b\xff\xff\xff\xff\xff\xff\xff\xff"),
        unknown("not a byte string of definite length")
    );
    let cut = forge.claims(0, (1, &[]));
    assert_eq!(forge.check(&cut), Err(Refusal::Claim { claim: "map", what: "cut short" }));
    let longer = [forge.claims(0, NOTHING), vec![0]].concat();
    assert_eq!(forge.check(&longer), Err(Refusal::Claim { claim: "map", what: "bytes are left over" }));
    let mut indefinite = forge.claims(0, NOTHING);
    indefinite[0] = 0xbf;
    indefinite.push(0xff);
    assert_eq!(forge.check(&indefinite), Err(Refusal::Claim { claim: "map", what: "of indefinite length" }));
}

/// Longer encodings than needed say the same; the signature is over the bytes as they came.
#[test]
fn other_encodings_are_accepted() {
    let forge = Forge(stranger(62));
    let mut extra = vec![];
    Encoder::new(&mut extra).i32(claim::SECURITY_EPOCH).unwrap();
    extra.extend([0x1b, 0, 0, 0, 0, 0, 0, 0, 9]);
    let token = forge.sign(&forge.claims(claim::SECURITY_EPOCH, (1, &extra)));
    let claims = Token::parse(&token).and_then(|token| token.verify(&forge.key(), &NONCE)).expect("verifies");
    assert_eq!(claims.security_epoch, 9);
}

#[test]
fn a_component_is_there_once() {
    let forge = Forge(stranger(63));
    let mut extra = vec![];
    let mut out = Encoder::new(&mut extra);
    out.i32(claim::SOFTWARE_COMPONENTS).unwrap().array(2).unwrap();
    for _ in 0..2 {
        out.map(3).unwrap().u8(1).unwrap().str("optee").unwrap().u8(2).unwrap().bytes(&[1; 32]).unwrap();
        out.u8(4).unwrap().str("1").unwrap();
    }
    let answer = forge.check(&forge.claims(claim::SOFTWARE_COMPONENTS, (1, &extra)));
    let what = "a component stands there twice";
    assert_eq!(answer, Err(Refusal::Claim { claim: "software-components", what }));
}

#[test]
fn appraisal_gives_a_reason_for_each_claim() {
    let (bytes, key) = token();
    let claims = Token::parse(&bytes).and_then(|token| token.verify(&key, &NONCE)).expect("verifies");
    let tier_of = |reference: &ReferenceValues, name: &str| {
        let findings = appraise(&claims, reference).findings;
        findings.into_iter().find(|finding| finding.claim == name).map(|finding| finding.tier)
    };
    let nothing = ReferenceValues::default();
    assert_eq!(appraise(&claims, &nothing).status, Tier::Warning);
    let strict = ReferenceValues {
        lifecycles: vec![0x3000],
        unique_hardware_key: true,
        min_security_epoch: 1,
        components: vec![
            Reference { kind: "optee".into(), measurements: vec!["c0".repeat(32)], ..Default::default() },
            Reference { kind: "trustbox".into(), measurements: vec!["00".repeat(32)], ..Default::default() },
            Reference { kind: "another".into(), required: true, ..Default::default() },
        ],
        ..nothing
    };
    assert_eq!(appraise(&claims, &strict).status, Tier::Contraindicated);
    for (name, tier) in [
        ("lifecycle", Tier::Contraindicated),
        ("hardware-key", Tier::Contraindicated),
        ("security-epoch", Tier::Contraindicated),
        ("rollback-protection", Tier::Warning),
        ("optee", Tier::Affirming),
        ("trustbox", Tier::Contraindicated),
        ("another", Tier::Contraindicated),
    ] {
        assert_eq!(tier_of(&strict, name), Some(tier), "{name}");
    }
}

//! Vectors for other implementers: tokens, the key as x‖y, the nonce, and what a verifier must say of them.
//!
//! Made by the TA's own writer. `UPDATE_VECTORS=1 cargo test -p trustbox-verifier` writes the files anew.

mod changes;

use std::path::Path;

use p256::ecdsa::signature::hazmat::PrehashSigner;
use trustbox_api::launch::Enclave;
use trustbox_api::message::{AttestRequest, Huk, ReportData, RollbackProtection, Version};
use trustbox_api::token::{Claims, log_head};
use trustbox_api::{Bytes, Command, PublicKey};
use trustbox_core::Session;
use trustbox_core::fake::Device;
use trustbox_test::forge::{public, stranger};
use trustbox_test::requests::encode;
use trustbox_verifier::{Refusal, Token};

const NONCE: [u8; 32] = [0x4e; 32];
/// Bytes of a token with four enclaves at most.
const MAX_TOKEN: usize = 1024;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn check(name: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(name);
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        std::fs::write(&path, made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(kept, made, "UPDATE_VECTORS=1 cargo test -p trustbox-verifier writes it anew");
}

fn enclave(number: u8, version: u32) -> Enclave {
    let uuid = trustbox_api::Uuid(Bytes([number; 16]));
    Enclave { uuid, digest: Bytes([number; 32]), version, publisher: Bytes([0xb1; 32]) }
}

/// A token in which everything has a value of its own.
fn token(nonce: &[u8], enclaves: &[Enclave], report: Option<&ReportData>) -> Vec<u8> {
    let key = stranger(60);
    let claims = Claims {
        nonce,
        attestation_key: public(&key).id(),
        boot: Bytes([5; 16]),
        lifecycle: 0x3000,
        board: "board",
        firmware: [(Bytes([6; 32]), Version(4, 10, 0)), (Bytes([7; 32]), Version(0, 1, 0))],
        enclaves,
        wrapping_key: Bytes([8; 32]),
        rollback_protection: RollbackProtection::Rpmb,
        hardware_key: Huk::Unique,
        epoch: 70_000,
        log: ([300, 70_000, 80_000], log_head(&[Bytes([9; 32]); 3])),
        owner_root: Some(Bytes([10; 32])),
        report,
    };
    let mut token = vec![0; 4096];
    let sign = |digest: &[u8; 32]| {
        let signature: p256::ecdsa::Signature = key.sign_prehash(digest).unwrap();
        Ok(Bytes(signature.to_bytes().into()))
    };
    let length = claims.sign(&mut token, sign).expect("room");
    token.truncate(length);
    token
}

fn report_data() -> ReportData {
    let bytes = b"total=1750".iter().copied().collect();
    ReportData { bytes, transport_key: Some(public(&stranger(61))) }
}

fn vector(nonce: &[u8], key: &PublicKey, token: &[u8], expected: &[(&str, &str)]) -> String {
    let mut text = format!("nonce = {}\nkey = {}\ntoken = {}\n", hex(nonce), hex(key.0.as_ref()), hex(token));
    for (name, value) in expected {
        text += &format!("expect {name} = {value}\n");
    }
    text
}

#[test]
fn a_blank_device() {
    let device = Device::new(1, &public(&stranger(1)));
    let mut session = Session::open(device.tee()).expect("a session");
    let request = encode(&AttestRequest { nonce: NONCE.into_iter().collect() });
    let mut token = vec![0; 4096];
    let length = session.handle(Command::Attest as u32, &request, &&[][..], &mut token).expect("a token");
    token.truncate(length);
    let mut info = vec![0; 4096];
    let length = session.handle(Command::Info as u32, &[], &&[][..], &mut info).expect("info");
    let info: trustbox_api::message::InfoReply = trustbox_api::wire::decode(&info[..length]).expect("info");
    let key = info.attestation_key.expect("a key");
    let claims = Token::parse(&token).and_then(|token| token.verify(&key, &NONCE)).expect("verifies");
    let expected = [
        ("client-id", claims.client_id.to_string()),
        ("lifecycle", claims.lifecycle.to_string()),
        ("implementation-id", hex(&claims.implementation_id)),
        ("wrapping-key", hex(&claims.wrapping_key)),
        ("optee", hex(&claims.component("optee").expect("listed").measurement)),
        ("trustbox", hex(&claims.component("trustbox").expect("listed").measurement)),
    ];
    let expected: Vec<_> = expected.iter().map(|(name, value)| (*name, value.as_str())).collect();
    check("blank-device.txt", &vector(&NONCE, &key, &token, &expected));
}

#[test]
fn an_enclaves_report() {
    let key = public(&stranger(60));
    let token = token(&NONCE, &[enclave(1, 7)], Some(&report_data()));
    let report = Token::parse(&token).and_then(|token| token.verify_report(&key, &NONCE)).expect("verifies");
    assert_eq!((report.enclave, report.data), (enclave(1, 7), &b"total=1750"[..]));
    assert_eq!(report.transport_key, Some(public(&stranger(61))));
    assert_eq!(report.claims.log_entries, [300, 70_000, 80_000]);
    let (uuid, offered) = (report.enclave.uuid.to_string(), hex(public(&stranger(61)).0.as_ref()));
    let expected = [
        ("client-id", "1"),
        ("enclave", &uuid),
        ("version", "7"),
        ("digest", &"01".repeat(32)),
        ("publisher", &"b1".repeat(32)),
        ("data", &hex(report.data)),
        ("transport-key", &offered),
    ];
    check("enclave-report.txt", &vector(&NONCE, &key, &token, &expected));
}

/// Claims as bytes, signed by the key of the other vectors.
fn forged(claims: &[u8]) -> Vec<u8> {
    let sign = |bytes: &[u8]| -> p256::ecdsa::Signature {
        stranger(60).sign_prehash(&<sha2::Sha256 as sha2::Digest>::digest(bytes)).unwrap()
    };
    let head = [0x59, (claims.len() >> 8) as u8, claims.len() as u8];
    let signed = [b"\x84\x6aSignature1\x43\xa1\x01\x26\x40", &head[..], claims].concat();
    let signature = sign(&signed).to_bytes();
    [b"\xd2\x84\x43\xa1\x01\x26\xa0", &head[..], claims, b"\x58\x40", &signature[..]].concat()
}

/// What a verifier must refuse although the signature is good, and what is in the way.
#[test]
fn refused_tokens() {
    let key = public(&stranger(60));
    let good = token(&NONCE, &[enclave(1, 7)], None);
    let claims = &good[10..good.len() - 66];
    let (count, pairs) = (claims[0], &claims[1..]);
    assert_eq!(forged(claims), good, "a forged token is made as the TA makes it");
    // One claim more, behind the others.
    let with = |extra: &[u8]| forged(&[&[count + 1], pairs, extra].concat());
    let mut indefinite = [&[0xbf], pairs, &[0xff]].concat();
    indefinite = forged(&indefinite);
    let mut other_algorithm = good.clone();
    other_algorithm[5] = 0x27;
    let tokens = [
        ("a claim twice", with(b"\x0a\x40")),
        ("a claim with a name twice", forged(&[&[count + 2], pairs, b"\x61a\x01\x61a\x02"].concat())),
        ("a nonce of 31 bytes", token(&[0x4e; 31], &[], None)),
        ("another nonce", token(&[0x4f; 32], &[], None)),
        ("claims of indefinite length", indefinite),
        ("an unknown claim of indefinite length", with(b"\x19\x13\x88\x9f\xff")),
        ("an unknown claim nested too deeply", with(b"\x19\x13\x88\x81\x81\x81\x81\x81\x81\x81\x81\x81\x00")),
        ("bytes behind the claims", forged(&[claims, &[0]].concat())),
        ("bytes behind the token", [&good[..], &[0]].concat()),
        ("a pair that is missing", forged(&[&[count + 1], pairs].concat())),
        ("another algorithm", other_algorithm),
        ("tag 61 around it", [&[0xd8, 0x3d], &good[..]].concat()),
        ("a report instead of the device's token", token(&NONCE, &[enclave(1, 7)], Some(&report_data()))),
    ];
    let mut text = format!("nonce = {}\nkey = {}\n", hex(&NONCE), hex(key.0.as_ref()));
    for (name, token) in &tokens {
        let refused = Token::parse(token).and_then(|token| token.verify(&key, &NONCE).map(drop));
        let refusal = refused.expect_err(name);
        text += &format!("\n# {name}: {refusal}\nrefuse = {}\n", hex(token));
    }
    // An unknown claim is no reason, and neither is an encoding that is longer than needed.
    for (name, token) in [
        ("an unknown claim", with(b"\x19\x13\x88\xa1\x61a\x83\x01\x41\0\xfb\x40\x0c\0\0\0\0\0\0")),
        (
            "a number of claims in eight bytes",
            forged(&[&[0xbb, 0, 0, 0, 0, 0, 0, 0, count & 0x1f], pairs].concat()),
        ),
    ] {
        assert!(
            Token::parse(&token).and_then(|token| token.verify(&key, &NONCE).map(drop)).is_ok(),
            "{name}"
        );
        text += &format!("\n# {name}\naccept = {}\n", hex(&token));
    }
    check("refused.txt", &text);
}

/// No token of the device is taken for a report, and no report for a token of the device, whoever signed it.
#[test]
fn the_kinds_are_told_apart() {
    let key = public(&stranger(60));
    let told = |token: &[u8]| {
        let parsed = Token::parse(token).expect("well formed");
        assert!(parsed.clone().verify(&key, &[0; 32]).is_err());
        (parsed.clone().verify(&key, &NONCE).map(drop), parsed.verify_report(&key, &NONCE).map(drop))
    };
    let not = |what| Err(Refusal::Claim { claim: "client-id", what });
    let report = token(&NONCE, &[enclave(1, 7)], Some(&report_data()));
    assert_eq!(told(&report), (not("not of the normal world, so no token of the device"), Ok(())));
    let device = token(&NONCE, &[enclave(1, 7)], None);
    assert_eq!(told(&device), (Ok(()), not("not of an enclave, so no report")));
    for enclaves in [&[][..], &[enclave(1, 7), enclave(2, 7)]] {
        let odd = token(&NONCE, enclaves, Some(&report_data()));
        let what = "not exactly one enclave";
        let want = Err(Refusal::Claim { claim: "software-components", what });
        assert_eq!(told(&odd).1, want);
    }
}

#[test]
fn any_change_of_a_report_is_refused() {
    let (good, key) = (token(&NONCE, &[enclave(1, 7)], Some(&report_data())), public(&stranger(60)));
    let believed =
        |bytes: &[u8]| Token::parse(bytes).and_then(|token| token.verify_report(&key, &NONCE).map(drop));
    assert_eq!(believed(&good), Ok(()));
    changes::are_refused(&good, |bytes| believed(bytes).is_ok());
}

#[test]
fn a_token_with_four_enclaves_has_a_kibibyte_at_most() {
    let enclaves: Vec<_> = (1..=4).map(|number| enclave(number, u32::MAX)).collect();
    for nonce in [&[1; 32][..], &[1; 48], &[1; 64]] {
        let token = token(nonce, &enclaves, None);
        println!("{} bytes with a nonce of {}", token.len(), nonce.len());
        assert!(token.len() <= MAX_TOKEN, "{} bytes", token.len());
    }
    let data = ReportData { bytes: [1; 64].into_iter().collect(), ..report_data() };
    let report = token(&NONCE, &[enclave(1, u32::MAX)], Some(&data));
    assert!(report.len() <= MAX_TOKEN, "{} bytes", report.len());
}

/// More enclaves than in any device still fit into a reply; what does not fit is an error, never a token cut short.
#[test]
fn a_token_that_does_not_fit_is_an_error() {
    let whole = token(&NONCE, &[enclave(1, 7)], Some(&report_data()));
    let enclaves: Vec<_> = (0..16).map(|number| enclave(number, u32::MAX)).collect();
    assert!(token(&[1; 64], &enclaves, None).len() <= trustbox_api::limits::MAX_REPLY);
    let device = Device::new(1, &public(&stranger(1)));
    let mut session = Session::open(device.tee()).expect("a session");
    let request = encode(&AttestRequest { nonce: NONCE.into_iter().collect() });
    for room in [0, 1, 60, whole.len() / 2] {
        let answer = session.handle(Command::Attest as u32, &request, &&[][..], &mut vec![0; room]);
        assert_eq!(answer, Err(trustbox_api::Error::ShortBuffer), "{room}");
    }
}

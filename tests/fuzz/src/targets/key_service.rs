//! What strangers send to the key service: JSON of its requests, keys as SubjectPublicKeyInfo, records of an audit export.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use trustbox_api::key::{KeyRef, Name};
use trustbox_api::limits::MAX_REQUEST;
use trustbox_api::manifest::Terms;
use trustbox_api::message::Version;
use trustbox_api::statement::{Audience, FORMAT, Header, Kind};
use trustbox_api::{Bytes, PublicKey, Secret, Uuid, wire};
use trustbox_keys::audit;
use trustbox_keys::issue::{MAX_DEVICE_KEY_BITS, MIN_DEVICE_KEY_BITS, parse_device_key, wrap};
use trustbox_keys::protocol::{
    CompatibilityRequest, ContentKeyAnswer, ContentKeyRequest, Device, DeviceChange, ExplainRequest, KeyChange, ReleaseRequest, VerifyRequest, parse_attestation_key,
};
use trustbox_package::{ClassKey, Request};

use crate::target::Target;

/// DER in front of the modulus of an RSA-2048 key (RFC 8017, RFC 5280), the modulus's leading zero included.
const RSA_2048: [u8; 33] = [
    0x30, 0x82, 0x01, 0x22, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
    0x03, 0x82, 0x01, 0x0f, 0x00, 0x30, 0x82, 0x01, 0x0a, 0x02, 0x82, 0x01, 0x01, 0x00,
];
const EXPONENT: [u8; 5] = [0x02, 0x03, 0x01, 0x00, 0x01];

/// The targets.
pub fn targets() -> Vec<Target> {
    vec![
        Target::new("key-request", "JSON for the key service", json_seeds(), json),
        Target::new("key-spki", "SubjectPublicKeyInfo of devices", vec![rsa(), attestation().spki().to_vec()], spki),
        Target::new("key-audit", "exports of the audit log", vec![export().into_bytes()], audit_export),
    ]
}

fn json(input: &[u8]) {
    same_again::<ReleaseRequest>(input);
    same_again::<Device>(input);
    same_again::<DeviceChange>(input);
    same_again::<KeyChange>(input);
    same_again::<ExplainRequest>(input);
    same_again::<VerifyRequest>(input);
    same_again::<ContentKeyAnswer>(input);
    let _ = serde_json::from_slice::<CompatibilityRequest>(input);
    if let Ok(request) = serde_json::from_slice::<ContentKeyRequest>(input) {
        let _ = request.content_key();
        if let Some((header, terms, _)) = request.manifest() {
            let again = ContentKeyRequest { manifest: BASE64_STANDARD.encode(front(&header, &terms)), ..request };
            let again = again.manifest().map(|(header, terms, _)| (header, terms));
            assert_eq!(again, Some((header, terms)), "another meaning");
        }
    }
}

/// What was understood is understood in the same way when it is written and read again.
fn same_again<T: Serialize + DeserializeOwned + PartialEq>(input: &[u8]) {
    let Ok(value) = serde_json::from_slice::<T>(input) else { return };
    let written = serde_json::to_vec(&value).expect("what was read can be written");
    assert!(serde_json::from_slice::<T>(&written).is_ok_and(|again| again == value), "another meaning");
}

fn spki(input: &[u8]) {
    if let Ok(key) = parse_device_key(input) {
        let wrapped = wrap(&key, &ClassKey::new(Secret::zero())).expect("a key that is accepted can be wrapped to");
        let bits = wrapped.len() as u32 * 8;
        assert!((MIN_DEVICE_KEY_BITS..=MAX_DEVICE_KEY_BITS).contains(&bits), "a key of {bits} bits");
    }
    if let Some(key) = parse_attestation_key(input) {
        assert_eq!(key.spki(), *input, "two encodings of one key");
    }
}

fn audit_export(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(head) = audit::verify(text) else { return };
    assert_eq!(head.sequence, text.lines().count() as u64, "a record that is not in the chain");
    if let Some((before, _)) = text.trim_end().rsplit_once('\n') {
        assert!(audit::verify(before).is_ok_and(|shorter| shorter.sequence + 1 == head.sequence));
    }
}

fn json_seeds() -> Vec<Vec<u8>> {
    let request = Request::KeyImport { device_id: Bytes([1; 32]), nonce: Bytes([2; 32]), device_key: rsa() };
    let release = ReleaseRequest { key: "meter".to_owned(), version: Some(2), request, token: "0oRDoQEm".to_owned() };
    let texts = [
        serde_json::to_string(&release).expect("JSON"),
        r#"{"class":"edge","attestation_key":"MFkw","device_key_sha256":"00","certificate":"MIIB"}"#.to_owned(),
        r#"{"state":"suspended","reason":"lost"}"#.to_owned(),
        r#"{"policy":{"classes":["edge"],"not-after":5,"quota":{"releases":1,"seconds":9},"min-versions":{"optee":"4.10"},"evidence":{"lifecycles":[12288]}}}"#.to_owned(),
        r#"{"device_id":"00","key":"meter","token":"0oRD","at":7}"#.to_owned(),
        r#"{"key_name":"meter","client_public_key":"MIIB"}"#.to_owned(),
        content_key_request(),
    ];
    texts.map(String::into_bytes).into()
}

fn front(header: &Header, terms: &Terms) -> Vec<u8> {
    let (mut first, mut second) = ([0; MAX_REQUEST], [0; MAX_REQUEST]);
    let parts = [wire::encode(header, &mut first), wire::encode(terms, &mut second)];
    parts.map(|part| part.expect("what was read can be written")).concat()
}

fn content_key_request() -> String {
    let header =
        Header { kind: Kind::Manifest, format: FORMAT, root: Bytes([1; 32]), audience: Audience::Fleet, sequence: 7 };
    let terms = Terms {
        publisher: Bytes([4; 32]),
        uuid: Uuid(Bytes([6; 16])),
        name: Name::try_from("meter").expect("a name"),
        version: 7,
        min_optee: Version(4, 10, 0),
        min_ta: Version(0, 1, 0),
        size: 1,
        ciphertext_sha256: Bytes([1; 32]),
        plaintext_sha256: Bytes([2; 32]),
        nonce: Bytes([3; 12]),
        tag: Bytes([5; 16]),
        class_key: KeyRef::new("meter", 1).expect("a key"),
    };
    let manifest = BASE64_STANDARD.encode(front(&header, &terms));
    format!("{{\"manifest\":\"{manifest}\",\"content_key\":\"{}\"}}", BASE64_STANDARD.encode([9; 32]))
}

fn rsa() -> Vec<u8> {
    [&RSA_2048[..], &[0xff; 256], &EXPONENT].concat()
}

/// The generator of P-256 is as good a key as any other.
fn attestation() -> PublicKey {
    let x = "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296";
    let y = "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";
    let halves = [x, y].map(|half| trustbox_package::request::parse_hex::<32>(half).expect("digits"));
    PublicKey(Bytes(std::array::from_fn(|index| halves[index / 32].0[index % 32])))
}

fn export() -> String {
    let mut head = audit::Head::default();
    let record = |sequence: u64| head.append(format!("{{\"sequence\":{sequence},\"action\":\"release\"}}"));
    let lines: Vec<_> = (1..=3).map(record).map(|record| serde_json::to_string(&record).expect("JSON")).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_go_deep() {
        assert!(parse_device_key(&rsa()).is_ok());
        assert!(parse_attestation_key(&attestation().spki()).is_some());
        assert_eq!(audit::verify(&export()).unwrap().sequence, 3);
        assert!(serde_json::from_slice::<ReleaseRequest>(&json_seeds()[0]).is_ok());
        assert!(serde_json::from_slice::<KeyChange>(&json_seeds()[3]).is_ok());
        let request: ContentKeyRequest = serde_json::from_slice(&json_seeds()[6]).unwrap();
        assert!(request.manifest().is_some() && request.content_key().is_some());
    }
}

//! Tests of packages: every cut, every changed byte, and what a JSON manifest can say that is not so.

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::open::open;
use crate::vectors::{class_key, packages};

static VECTORS: LazyLock<[(&str, Vec<u8>); 3]> = LazyLock::new(packages);
const UUID: &str = "5f0e6a52-7c0b-4a40-8d7e-0c1d6b3a9f21";

/// A package of the original with a changed JSON manifest.
fn original(change: impl FnOnce(&mut Value)) -> Result<(), PackageError> {
    let [(_, bytes), ..] = packages();
    let frame = Frame::read(&bytes).unwrap();
    let mut json: Value = serde_json::from_slice(frame.streams[6]).unwrap();
    change(&mut json);
    let text = json.to_string();
    let mut streams = frame.streams.to_vec();
    streams[6] = text.as_bytes();
    let bytes = Frame::new(&streams, 6).unwrap().write().unwrap();
    Package::read(&bytes).map(|_| ())
}

fn refused(change: impl FnOnce(&mut Value)) -> String {
    original(change).unwrap_err().to_string()
}

#[test]
fn every_cut_is_refused() {
    for (name, bytes) in packages() {
        for length in 0..bytes.len() {
            assert!(Package::read(&bytes[..length]).is_err(), "{name} cut to {length}");
        }
    }
}

/// INV-2: with a trusted manifest, only what is for people may change: vendor and date.
#[test]
fn every_changed_byte_is_refused() {
    let [_, _, (_, bytes)] = packages();
    let package = Package::read(&bytes).unwrap();
    let span = |role| {
        let start = package.place(role).offset as usize;
        start..start + package.stream(role).unwrap().len()
    };
    let (payload, words) = (span(Role::Payload), span(Role::Manifest));
    let sampled = |at: &usize| !words.contains(at) && (!payload.contains(at) || at.is_multiple_of(16));
    for at in (0..bytes.len()).filter(sampled) {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        let opened = Package::read(&changed).map(|package| open(&package, Some(&class_key())).is_err());
        assert!(opened.unwrap_or(true), "byte {at}");
    }
}

#[test]
fn what_the_manifest_says_of_streams_is_held_against_them() {
    assert!(original(|_| ()).is_ok());
    let said = refused(|json| json["payload"]["data"] = json!(1));
    assert_eq!(said, "stream 1 at offset 712 is named as payload and as nonce");
    let said = refused(|json| json["payload"]["data"] = json!(u64::MAX));
    assert!(said.starts_with("JSON manifest names stream 18446744073709551615 as payload"), "{said}");
    let said = refused(|json| json["payload"]["cert"] = json!("none"));
    assert!(said.ends_with("bytes and no role") && said.starts_with("stream 5 at offset"), "{said}");
    let said = refused(|json| json["payload"]["sig"]["rsa-pkcs1v15"]["key_strength"] = json!(3072));
    assert!(said.contains("has 256 bytes, expected 384"), "{said}");
    let said = refused(|json| json["package"]["map"] = json!([0, 1, 2, 3, 4, 5]));
    assert_eq!(said, "package map lists the streams [0, 1, 2, 3, 4, 5], the frame has 0 to 6");
    for member in ["dig", "sig", "cert"] {
        let value = match member {
            "dig" => json!({"sha256": {"data": 3}}),
            "sig" => json!({"rsa-pkcs1v15": {"key_strength": 2048, "data": 4}}),
            _ => json!({"embedded-x509-pem": {"data": 5}}),
        };
        let said = refused(|json| json["package"][member] = value);
        assert!(said.starts_with(&format!("package.{member} of the JSON manifest is not")), "{said}");
    }
}

#[test]
fn oversized_json_is_refused_before_it_is_parsed() {
    let said = refused(|json| json["cp-vendor"] = json!("v".repeat(MAX_JSON)));
    assert!(
        said.starts_with("JSON manifest in stream 6 at offset") && said.ends_with("limit is 16384"),
        "{said}"
    );
}

#[test]
fn attachments_belong_to_their_package() {
    let [_, (_, plain), (_, with)] = packages();
    let (plain, with) = (Package::read(&plain).unwrap(), Package::read(&with).unwrap());
    assert!(plain.sbom().is_none() && plain.attachments().next().is_none());
    assert_eq!(with.attachments().next().unwrap().0.name(), Some("SBOM"));
    let rebuilt = |streams: &[&[u8]]| Frame::new(streams, 4).unwrap().write().unwrap();
    let (annex, sbom) = (with.frame.streams[6], with.frame.streams[7]);
    let of = |count: usize| -> Vec<&[u8]> { with.frame.streams.iter().take(count).copied().collect() };
    let said = |streams: Vec<&[u8]>| Package::read(&rebuilt(&streams)).unwrap_err().to_string();
    assert!(said([of(6), vec![annex]].concat()).starts_with("package map lists"));
    assert!(said([of(7), vec![annex]].concat()).contains("attachment 0 has SHA-256"));
    assert!(said([of(6), vec![sbom, sbom]].concat()).contains("annex does not decode"));
}

#[test]
fn a_package_is_not_larger_than_any_device_takes() {
    let bytes = vec![0; MAX_PACKAGE as usize + 1];
    assert!(matches!(Package::read(&bytes), Err(PackageError::TooLarge { .. })));
}

#[test]
fn original_has_no_trusted_manifest() {
    let [(_, bytes), ..] = packages();
    let package = Package::read(&bytes).unwrap();
    assert!(matches!(package.trusted(), Err(PackageError::NoTrustedManifest)));
    assert_eq!(crate::legacy::request(&package, None).unwrap().uuid.to_string(), UUID);
}

proptest! {
    /// Whatever the bytes, an error and no panic; and what is a package is so again when written.
    #[test]
    fn no_bytes_do_harm(which in 0..3_usize, changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..6), cut in any::<usize>()) {
        let mut bytes = VECTORS[which].1.clone();
        for (at, value) in changes {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        if cut % 4 == 0 {
            bytes.truncate(cut / 4 % bytes.len());
        }
        if let Ok(package) = Package::read(&bytes) {
            prop_assert_eq!(&package.frame.write().unwrap(), &bytes);
            let _ = open(&package, Some(&class_key()));
        }
    }
}

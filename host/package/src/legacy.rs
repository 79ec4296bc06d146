//! Packages of the original, which have no trusted manifest: what their JSON manifest says, as the TA asks for it.
//!
//! Nobody signed any of it. The TA takes such a package only where the owner's policy names its UUID, and then holds the
//! image inside against every word.

use alloc::string::ToString;

use trustbox_api::key::Name;
use trustbox_api::limits::MAX_NAME;
use trustbox_api::message::LegacyRequest;
use trustbox_api::{Bytes, Uuid};

use crate::class_key::parse_name;
use crate::json::{Encryption, PayloadVersion};
use crate::layout::Role;
use crate::package::{Package, PackageError};

const KEY_BITS: u32 = 256;
const _: () = assert!(MAX_NAME == 64, "the text below says 64");

/// The request for the TA.
///
/// `version` is that of the OP-TEE header inside, which nobody can see from outside. Without it the JSON manifest's is taken,
/// which says it only if it has a major number alone: OP-TEE knows no others.
///
/// # Errors
///
/// [`PackageError::Original`] where the JSON manifest says something that the TA has no word for.
pub fn request(package: &Package<'_>, version: Option<u32>) -> Result<LegacyRequest, PackageError> {
    let manifest = &package.json;
    let Encryption::AesGcm { key_name, key_strength, .. } = &manifest.payload.enc else {
        return Err(other("encryption", "none", "aes-gcm"));
    };
    if *key_strength != KEY_BITS {
        return Err(other("key strength", key_strength, "256"));
    }
    let uuid: Option<Uuid> = manifest.id.parse().ok();
    let name = Name::from(&manifest.name).ok().filter(|name| !name.is_empty());
    let size = u32::try_from(package.payload.len()).ok();
    Ok(LegacyRequest {
        uuid: uuid.ok_or_else(|| other("application id", &manifest.id, "a UUID"))?,
        name: name.ok_or_else(|| other("name", &manifest.name, "1 to 64 bytes"))?,
        version: version.map_or_else(|| single(&manifest.payload.ver), Ok)?,
        size: size.ok_or_else(|| other("payload size", package.payload.len(), "less than 4 GiB"))?,
        plaintext_sha256: stream(package, Role::Digest)?,
        nonce: stream(package, Role::Nonce)?,
        tag: stream(package, Role::Tag)?,
        class_key: parse_name(key_name)
            .ok_or_else(|| other("class key", key_name, "NAME or NAME@VERSION"))?,
    })
}

/// The one number of a version that has no more.
fn single(version: &PayloadVersion) -> Result<u32, PackageError> {
    let PayloadVersion { maj, min, rev, .. } = version;
    match (min, rev) {
        (0, 0) => Ok(*maj),
        _ => Err(other("version", format_args!("{maj}.{min}.{rev}"), "one number, as OP-TEE has it")),
    }
}

/// A package has streams of the right lengths, or none of that role.
fn stream<const N: usize>(package: &Package<'_>, role: Role) -> Result<Bytes<N>, PackageError> {
    let bytes = package.stream(role).and_then(Bytes::from_slice);
    bytes.ok_or_else(|| other(role.name(), "none", "one"))
}

fn other(what: &'static str, found: impl ToString, expected: &'static str) -> PackageError {
    PackageError::Original { what, found: found.to_string(), expected }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Frame;
    use serde_json::{Value, json};

    const UUID: &str = "5f0e6a52-7c0b-4a40-8d7e-0c1d6b3a9f21";

    fn manifest() -> Value {
        json!({
            "cp-id": UUID, "cp-name": "meter", "cp-vendor": "v",
            "payload": {
                "data": 0, "target": {"arch": "aarch64", "os": "OP-TEE"},
                "ver": {"maj": 7, "min": 0, "rev": 0, "date": "2026-11-21 09:11:47 UTC"},
                "enc": {"aes-gcm": {"key_name": "class@2", "key_strength": 256, "nonce": 1, "tag": 2}},
                "dig": {"sha256": {"data": 3}}, "sig": "none", "cert": "none",
            },
            "package": {"map": [0, 1, 2, 3, 4], "dig": "none", "sig": "none", "cert": "none"},
        })
    }

    fn original(manifest: &Value, tag: &[u8]) -> Vec<u8> {
        let json = manifest.to_string();
        Frame::new(&[b"ciphertext", &[1; 12], tag, &[3; 32], json.as_bytes()], 4).unwrap().write().unwrap()
    }

    fn converted(bytes: &[u8], version: Option<u32>) -> Result<LegacyRequest, PackageError> {
        request(&Package::read(bytes).unwrap(), version)
    }

    #[test]
    fn every_field_comes_from_its_place() {
        let found = converted(&original(&manifest(), &[2; 16]), None).unwrap();
        let expected = LegacyRequest {
            uuid: UUID.parse().unwrap(),
            name: Name::from("meter").unwrap(),
            version: 7,
            size: 10,
            plaintext_sha256: Bytes([3; 32]),
            nonce: Bytes([1; 12]),
            tag: Bytes([2; 16]),
            class_key: parse_name("class@2").unwrap(),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn version_is_given_or_a_single_number() {
        let mut manifest = manifest();
        manifest["payload"]["ver"]["rev"] = json!(3);
        let bytes = original(&manifest, &[2; 16]);
        let error = converted(&bytes, None).unwrap_err();
        assert_eq!(error.to_string(), "version is 7.0.3, an install needs one number, as OP-TEE has it");
        assert_eq!(converted(&bytes, Some(9)).unwrap().version, 9);
    }

    #[test]
    fn what_the_ta_has_no_word_for_is_named() {
        for (path, value, what) in [
            ("/cp-id", json!("an-app"), "application id"),
            ("/cp-name", json!(""), "name"),
            ("/cp-name", json!("n".repeat(MAX_NAME + 1)), "name"),
            ("/payload/enc/aes-gcm/key_strength", json!(128), "key strength"),
            ("/payload/enc/aes-gcm/key_name", json!("class@0"), "class key"),
        ] {
            let mut manifest = manifest();
            *manifest.pointer_mut(path).unwrap() = value;
            let error = converted(&original(&manifest, &[2; 16]), None).unwrap_err();
            assert!(matches!(error, PackageError::Original { what: found, .. } if found == what), "{error}");
        }
    }

    #[test]
    fn what_is_not_protected_is_named() {
        let mut plain = manifest();
        plain["payload"]["enc"] = json!("none");
        plain["package"]["map"] = json!([0, 1, 2]);
        let write = |manifest: &Value| {
            let json = manifest.to_string();
            Frame::new(&[b"plain", &[3; 32], json.as_bytes()], 2).unwrap().write().unwrap()
        };
        plain["payload"]["dig"]["sha256"]["data"] = json!(1);
        let error = converted(&write(&plain), None).unwrap_err();
        assert_eq!(error.to_string(), "encryption is none, an install needs aes-gcm");
        let mut undigested = manifest();
        undigested["payload"]["dig"] = json!("none");
        undigested["package"]["map"] = json!([0, 1, 2, 3]);
        let json = undigested.to_string();
        let streams: [&[u8]; 4] = [b"cipher", &[1; 12], &[2; 16], json.as_bytes()];
        let bytes = Frame::new(&streams, 3).unwrap().write().unwrap();
        let error = converted(&bytes, None).unwrap_err();
        assert_eq!(error.to_string(), "digest is none, an install needs one");
    }
}

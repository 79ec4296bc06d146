//! What clients and the key-release service say to each other, as JSON. Unknown fields are refused: nothing is ignored that
//! somebody meant.
//!
//! Device key and attestation key travel as standard base64 of their DER SubjectPublicKeyInfo, ids and nonces as hexadecimal
//! digits, times as seconds since 1970.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use trustbox_api::key::{KeyRef, PublicKey};
use trustbox_api::manifest::{NONCE_SIZE, Terms, WrappedKey};
use trustbox_api::statement::{FORMAT, Header, Kind};
use trustbox_api::{Bytes, DeviceId, Secret, wire};
use trustbox_package::Request;
use trustbox_package::request::parse_hex;
use trustbox_verifier::ReferenceValues;
use zeroize::Zeroizing;

use crate::policy::Policy;

/// Bytes of a request's body at most.
pub const MAX_BODY: usize = 32 << 10;
/// Bytes of a challenge: random, expiry and MAC.
pub const CHALLENGE: usize = 64;

/// Asks for a challenge.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChallengeRequest {
    /// How long it must be good for, where minutes are not enough: for devices without a network. Not for role `device`.
    #[serde(default)]
    pub lifetime: Option<u64>,
}

/// What the device must attest over.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Challenge {
    /// For `trustbox attest --nonce`.
    pub nonce: String,
    /// Until when.
    pub expires: u64,
}

/// Asks for a class key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseRequest {
    /// Name of the key.
    pub key: String,
    /// Its version; the newest one where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// What `trustbox key import --request` wrote.
    pub request: Request,
    /// What `trustbox attest --nonce CHALLENGE` wrote.
    pub token: String,
}

/// A class key for one device.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReleaseAnswer {
    /// Number of the release; the same again for the same request.
    pub release: String,
    /// Name of the key.
    pub key: String,
    /// Its version.
    pub version: u32,
    /// For `trustbox key import`, in base64.
    pub bundle: String,
}

/// Where a device stands for the registry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceState {
    /// It may have keys.
    Enrolled,
    /// Not now.
    Suspended,
    /// Never again.
    Revoked,
    /// It is at the end of its life.
    Decommissioned,
}

/// A device in the registry.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Its class.
    #[serde(default)]
    pub class: String,
    /// Its attestation key.
    pub attestation_key: String,
    /// SHA-256 of its device key's SubjectPublicKeyInfo, as `trustbox info` shows it.
    pub device_key_sha256: String,
    /// The factory's X.509 certificate of the attestation key, DER in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// The factory's X.509 certificate of the device key, DER in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_key_certificate: Option<String>,
}

/// Moves a device to another state.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceChange {
    /// The state.
    pub state: DeviceState,
    /// Why, for the audit log.
    pub reason: String,
}

/// Lets a device be enrolled anew that came back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReturnRequest {
    /// The owner's signed word, as `trustbox-keys return-order` wrote it.
    pub order: String,
}

/// Takes a device in hand for a station.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimRequest {
    /// Which station, on which machine.
    pub station: String,
    /// What is made of it.
    pub sku: String,
    /// The step that was done last.
    pub step: String,
}

/// Tells what became of a device.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportRequest {
    /// The signed report, as the station wrote it.
    pub report: String,
}

/// Makes a key, or gives it another policy.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyChange {
    /// Who gets it.
    pub policy: Policy,
}

/// Makes a new version of a key.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// Seconds for which older versions are still released.
    #[serde(default)]
    pub overlap: u64,
}

/// Asks to wrap a content key for a package.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContentKeyRequest {
    /// Header and terms of the package's trusted manifest, as encoded, in base64: the additional data.
    pub manifest: String,
    /// The content key, 32 bytes in base64.
    pub content_key: Zeroizing<String>,
}

impl ContentKeyRequest {
    /// What the manifest says, and its bytes; `None` where they are not header and terms of a package and nothing more.
    pub fn manifest(&self) -> Option<(Header, Terms, Vec<u8>)> {
        let bytes = BASE64_STANDARD.decode(&self.manifest).ok()?;
        let (header, rest) = wire::decode_prefix::<Header>(&bytes).ok()?;
        let terms: Terms = wire::decode(rest).ok()?;
        ((header.kind, header.format) == (Kind::Manifest, FORMAT)).then_some((header, terms, bytes))
    }

    /// The content key.
    pub fn content_key(&self) -> Option<Secret<32>> {
        let bytes = Zeroizing::new(BASE64_STANDARD.decode(&*self.content_key).ok()?);
        let mut key = Secret::zero();
        (bytes.len() == key.expose().len()).then(|| key.expose_mut().copy_from_slice(&bytes))?;
        Some(key)
    }
}

/// A content key under a class key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ContentKeyAnswer {
    /// Name of the class key.
    pub key: String,
    /// Its version.
    pub version: u32,
    /// Nonce, ciphertext and tag of AES-256-GCM in base64.
    pub wrapped: String,
}

impl ContentKeyAnswer {
    /// An answer with a wrapped key.
    pub fn new(key: &KeyRef, wrapped: &WrappedKey) -> Self {
        let bytes = [wrapped.nonce.as_ref(), wrapped.ciphertext.as_ref(), wrapped.tag.as_ref()].concat();
        Self { key: key.name.to_string(), version: key.version, wrapped: BASE64_STANDARD.encode(bytes) }
    }

    /// The wrapped key in it.
    pub fn wrapped_key(&self) -> Option<WrappedKey> {
        let bytes = BASE64_STANDARD.decode(&self.wrapped).ok()?;
        let (nonce, rest) = bytes.split_at_checked(NONCE_SIZE)?;
        let (ciphertext, tag) = rest.split_at_checked(32)?;
        Some(WrappedKey {
            nonce: Bytes::from_slice(nonce)?,
            ciphertext: Bytes::from_slice(ciphertext)?,
            tag: Bytes::from_slice(tag)?,
        })
    }
}

/// A statement of a revoker.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevocationStatement {
    /// The statement, in base64, as `trustbox-keys revoke` wrote it.
    pub statement: String,
}

/// Asks what would be answered, and why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExplainRequest {
    /// The device.
    pub device_id: String,
    /// Name of the key.
    pub key: String,
    /// Its version.
    #[serde(default)]
    pub version: Option<u32>,
    /// A token, of any age; without one the rules on evidence are left open.
    #[serde(default)]
    pub token: Option<String>,
    /// When; now, where it is not said.
    #[serde(default)]
    pub at: Option<u64>,
}

/// Asks whether to believe a device.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifyRequest {
    /// The token, in base64.
    pub token: String,
    /// The nonce that was given to the device, hexadecimal digits.
    pub nonce: String,
    /// The factory's certificate of its attestation key, DER in base64; without one the registry's key counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// The device; without one that of the certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// What is expected of it.
    #[serde(default)]
    pub reference: ReferenceValues,
}

/// The original's question.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct CompatibilityRequest {
    /// Name of the key.
    pub key_name: String,
    /// The client's RSA-2048 key, padded standard base64 of DER SubjectPublicKeyInfo.
    pub client_public_key: String,
}

/// The answer to a refused request (RFC 9457).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Problem {
    /// What kind of problem, a URN that ends in its name.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its number.
    pub number: u32,
    /// What kind of problem, for people.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// This one.
    pub detail: String,
    /// The rule of the policy that denied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

/// A device id: 64 hexadecimal digits.
pub fn parse_device_id(text: &str) -> Option<DeviceId> {
    parse_hex(text)
}

/// A P-256 key from its DER SubjectPublicKeyInfo, in the one encoding that devices use.
pub fn parse_attestation_key(der: &[u8]) -> Option<PublicKey> {
    let point = der.get(der.len().checked_sub(64)?..).and_then(Bytes::from_slice)?;
    let key = PublicKey(point);
    let on_curve = p256::ecdsa::VerifyingKey::from_sec1_bytes(&[&[4], key.0.as_ref()].concat()).is_ok();
    (key.spki() == der && on_curve).then_some(key)
}

/// A name that a class key may have: what fits the TA's interface, a file name and a URL.
pub fn parse_key_name(text: &str) -> Option<KeyRef> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let starts = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    (starts && text.bytes().all(good)).then(|| KeyRef::new(text, 1))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::generate;
    use trustbox_package::sign::public_key;

    #[test]
    fn attestation_keys_have_one_encoding() {
        let key = public_key(generate().unwrap().verifying_key());
        let der = key.spki();
        assert_eq!(parse_attestation_key(&der), Some(key));
        let mut off_curve = der;
        off_curve[90] ^= 1;
        for bad in [&der[1..], &der[..90], &off_curve, b"", &[0; 64]] {
            assert_eq!(parse_attestation_key(bad), None);
        }
    }

    #[test]
    fn names_fit_urls_and_files() {
        assert!(parse_key_name("demo-class_2.a").is_some());
        for bad in ["", "..", "-x", "a/b", "a b", "a@2", "ä", &"n".repeat(41)] {
            assert!(parse_key_name(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_wrapped_key_is_told_as_it_is() {
        let wrapped = WrappedKey { nonce: Bytes([1; 12]), ciphertext: Bytes([2; 32]), tag: Bytes([3; 16]) };
        let answer = ContentKeyAnswer::new(&KeyRef::new("meter", 2).unwrap(), &wrapped);
        assert_eq!((answer.key.as_str(), answer.version), ("meter", 2));
        assert_eq!(answer.wrapped_key(), Some(wrapped));
        for bad in ["", "AAAA", "!", &BASE64_STANDARD.encode([0; 61]), &BASE64_STANDARD.encode([0; 59])] {
            assert_eq!(ContentKeyAnswer { wrapped: (*bad).to_owned(), ..answer.clone() }.wrapped_key(), None);
        }
    }

    #[test]
    fn unknown_fields_are_refused() {
        assert!(serde_json::from_str::<ChallengeRequest>("{\"lifetime\":5}").is_ok());
        assert!(serde_json::from_str::<ChallengeRequest>("{\"lifetme\":5}").is_err());
        assert!(serde_json::from_str::<KeyChange>("{\"policy\":{\"classs\":[]}}").is_err());
    }
}

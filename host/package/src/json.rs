//! The JSON manifest, version 1: what the streams of a package are, for tools of the original. Reader and writer.
//!
//! Nothing authenticates it, so no decision about security is made from it. Numbers in `data`, `nonce` and `tag`
//! are stream indices. Each of `enc`, `dig`, `sig` and `cert` may be the string "none".

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

/// Bytes of a JSON manifest at most.
pub const MAX_JSON: usize = 16 << 10;

/// The manifest; fields are written in this order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Application id; ours is the UUID in text form.
    #[serde(rename = "cp-id")]
    pub id: String,
    /// Display name.
    #[serde(rename = "cp-name")]
    pub name: String,
    /// Vendor.
    #[serde(rename = "cp-vendor")]
    pub vendor: String,
    /// What is packed.
    pub payload: Payload,
    /// The package itself.
    pub package: Container,
}

impl Manifest {
    /// Reads a manifest; a member that this version does not know is an error, since nobody would look at it.
    pub fn read(bytes: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(bytes)
    }

    /// The manifest as the original writes it, byte for byte.
    pub fn write(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(self)
    }
}

/// What is packed, and how it is protected.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payload {
    /// Stream of the payload, encrypted or not.
    pub data: usize,
    /// Where it runs.
    pub target: Target,
    /// Its version.
    pub ver: PayloadVersion,
    /// Encryption.
    pub enc: Encryption,
    /// Digest of the plaintext.
    pub dig: Digest,
    /// Signature of the plaintext.
    pub sig: Signature,
    /// Certificate of the signer.
    pub cert: Certificate,
}

/// Where a payload runs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// "aarch64".
    pub arch: String,
    /// "OP-TEE".
    pub os: String,
}

impl Target {
    /// The one there is.
    pub fn optee() -> Self {
        Self { arch: "aarch64".to_owned(), os: "OP-TEE".to_owned() }
    }
}

/// Version of a payload. We write OP-TEE's single version number as `maj`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PayloadVersion {
    /// Major.
    pub maj: u32,
    /// Minor.
    pub min: u32,
    /// Revision.
    pub rev: u32,
    /// When it was packed, as `2026-11-21 09:11:47 UTC`.
    pub date: String,
}

/// Encryption of the payload.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Encryption {
    /// Plaintext.
    #[serde(rename = "none")]
    None,
    /// AES-GCM with empty additional data.
    #[serde(rename = "aes-gcm")]
    AesGcm {
        /// Name of the key; ours is the class key's name in a key store, `NAME` or `NAME@VERSION`.
        key_name: String,
        /// Bits of the key.
        key_strength: u32,
        /// Stream of the nonce.
        nonce: usize,
        /// Stream of the tag.
        tag: usize,
    },
}

/// Digest of the payload's plaintext.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Digest {
    /// None.
    #[serde(rename = "none")]
    None,
    /// SHA-256.
    #[serde(rename = "sha256")]
    Sha256 {
        /// Stream of the digest.
        data: usize,
    },
}

/// Signature of the payload's plaintext.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Signature {
    /// None; ours stands in the trusted manifest.
    #[serde(rename = "none")]
    None,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    #[serde(rename = "rsa-pkcs1v15")]
    RsaPkcs1v15 {
        /// Bits of the key.
        key_strength: u32,
        /// Stream of the signature.
        data: usize,
    },
}

/// Certificate of the signer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Certificate {
    /// None.
    #[serde(rename = "none")]
    None,
    /// X.509 in PEM.
    #[serde(rename = "embedded-x509-pem")]
    EmbeddedX509Pem {
        /// Stream of the certificate.
        data: usize,
    },
}

/// The package itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Container {
    /// Every stream of the frame.
    pub map: Vec<usize>,
    /// Digest of the package.
    pub dig: Digest,
    /// Signature of the package.
    pub sig: Signature,
    /// Certificate of its signer.
    pub cert: Certificate,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGINAL: &str = concat!(
        r#"{"cp-id":"an-app","cp-name":"Name","cp-vendor":"Vendor","payload":{"data":0,"#,
        r#""target":{"arch":"aarch64","os":"OP-TEE"},"#,
        r#""ver":{"maj":1,"min":0,"rev":0,"date":"2026-11-21 09:11:47.138845454 UTC"},"#,
        r#""enc":{"aes-gcm":{"key_name":"an-app","key_strength":256,"nonce":1,"tag":2}},"#,
        r#""dig":{"sha256":{"data":3}},"sig":{"rsa-pkcs1v15":{"key_strength":2048,"data":4}},"#,
        r#""cert":{"embedded-x509-pem":{"data":5}}},"#,
        r#""package":{"map":[0,1,2,3,4,5,6],"dig":"none","sig":"none","cert":"none"}}"#
    );

    #[test]
    fn original_round_trips_byte_for_byte() {
        let manifest = Manifest::read(ORIGINAL.as_bytes()).unwrap();
        assert_eq!(manifest.write().unwrap(), ORIGINAL.as_bytes());
    }

    #[test]
    fn anything_else_is_refused() {
        let changed = |from: &str, to: &str| {
            let text = ORIGINAL.replacen(from, to, 1);
            assert_ne!(text, ORIGINAL);
            Manifest::read(text.as_bytes()).unwrap_err().to_string()
        };
        assert!(changed("{\"cp-id\"", "{\"more\":1,\"cp-id\"").contains("unknown field `more`"));
        assert!(changed("\"nonce\"", "\"iv\":1,\"nonce\"").contains("unknown field `iv`"));
        assert!(changed("\"cp-name\"", "\"cp-id\":\"\",\"cp-name\"").contains("duplicate field"));
        assert!(changed("\"cp-vendor\":\"Vendor\",", "").contains("missing field `cp-vendor`"));
        assert!(changed("\"nonce\":1", "\"nonce\":-1").contains("invalid value"));
        assert!(changed("\"nonce\":1", "\"nonce\":1.5").contains("invalid type"));
        assert!(changed("sha256", "md5").contains("unknown variant `md5`"));
        assert!(changed("\"none\"}}", "\"none\"}}}").contains("trailing characters"));
        let deep = "[".repeat(100_000);
        assert!(Manifest::read(deep.as_bytes()).is_err());
        for length in 0..ORIGINAL.len() {
            assert!(Manifest::read(&ORIGINAL.as_bytes()[..length]).is_err(), "length {length}");
        }
    }

    #[test]
    fn anything_may_be_none() {
        let mut manifest: Manifest = serde_json::from_str(ORIGINAL).unwrap();
        let payload = &mut manifest.payload;
        (payload.enc, payload.dig) = (Encryption::None, Digest::None);
        (payload.sig, payload.cert) = (Signature::None, Certificate::None);
        let text = serde_json::to_string(&manifest).unwrap();
        assert!(
            text.contains(r#""enc":"none","dig":"none","sig":"none","cert":"none"},"package""#),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<Manifest>(&text).unwrap(), manifest);
    }
}

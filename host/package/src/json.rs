//! The JSON manifest, version 1: what the streams of a package are, for tools of the original.
//!
//! Nothing authenticates it, so no decision about security is made from it. Numbers in `data`, `nonce` and `tag`
//! are stream indices. Each of `enc`, `dig`, `sig` and `cert` may be the string "none".

use serde::{Deserialize, Serialize};

/// The manifest; fields are written in this order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
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

/// What is packed, and how it is protected.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
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
pub struct Target {
    /// "aarch64".
    pub arch: String,
    /// "OP-TEE".
    pub os: String,
}

/// Version of a payload. We write OP-TEE's single version number as `maj`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
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

/// A point in time as the manifest writes it, from seconds since 1970-01-01 UTC.
pub fn date(seconds: u64) -> String {
    let (year, month, day) = civil_from_days(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

fn civil_from_days(mut days: u64) -> (u64, u64, u64) {
    // The calendar repeats every 400 years of 146097 days.
    let mut year = 1970 + days / 146_097 * 400;
    days %= 146_097;
    while days >= days_in_year(year) {
        days -= days_in_year(year);
        year += 1;
    }
    let mut month = 1;
    while days >= days_in_month(year, month) {
        days -= days_in_month(year, month);
        month += 1;
    }
    (year, month, days + 1)
}

fn days_in_year(year: u64) -> u64 {
    365 + u64::from(is_leap(year))
}

fn days_in_month(year: u64, month: u64) -> u64 {
    match month {
        2 => 28 + u64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
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
        let manifest: Manifest = serde_json::from_str(ORIGINAL).unwrap();
        assert_eq!(serde_json::to_string(&manifest).unwrap(), ORIGINAL);
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

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(date(951_782_399), "2000-02-28 23:59:59 UTC");
        assert_eq!(date(951_782_400), "2000-02-29 00:00:00 UTC");
        assert_eq!(date(1_795_252_307), "2026-11-21 09:11:47 UTC");
        assert_eq!(date(4_107_542_400), "2100-03-01 00:00:00 UTC");
    }
}

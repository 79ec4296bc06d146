//! Tokens of either kind, for those who are handed one and must say what it proves: a device's own, and an enclave's report.

use serde_json::{Value, json};
use trustbox_api::{Bytes, PublicKey};
use trustbox_package::request::hex;
use trustbox_verifier::{Claims, Refusal, Report, Token};

/// A verified token.
pub enum Verified<'a> {
    /// Of the device.
    Device(Claims<'a>),
    /// Of one enclave on it.
    Enclave(Report<'a>),
}

impl<'a> Verified<'a> {
    /// What a token says, provided that `key` signed it for `nonce`.
    pub fn parse(bytes: &'a [u8], key: &PublicKey, nonce: &[u8]) -> Result<Self, Refusal> {
        let token = Token::parse(bytes)?;
        match token.is_report() {
            true => token.verify_report(key, nonce).map(Self::Enclave),
            false => token.verify(key, nonce).map(Self::Device),
        }
    }

    /// What it says of the device.
    pub fn claims(&self) -> &Claims<'a> {
        match self {
            Self::Device(claims) => claims,
            Self::Enclave(report) => &report.claims,
        }
    }

    /// Which enclave vouches for what; null in a token of the device.
    pub fn enclave(&self) -> Value {
        let Self::Enclave(Report { enclave, data, transport_key, .. }) = self else { return Value::Null };
        json!({
            "uuid": enclave.uuid.to_string(),
            "version": enclave.version,
            "digest": enclave.digest.to_string(),
            "publisher": enclave.publisher.to_string(),
            "data": hex(data),
            "transport_key_sha256": transport_key.as_ref().map(|key| key.id().to_string()),
        })
    }

    /// The same for people.
    pub fn lines(&self) -> Vec<String> {
        let Self::Enclave(Report { enclave, data, transport_key, .. }) = self else { return Vec::new() };
        let mut lines = vec![
            format!("report of enclave {} version {}", enclave.uuid, enclave.version),
            format!("it vouches for {} bytes: {}", data.len(), hex(data)),
        ];
        lines.extend(transport_key.as_ref().map(|key| format!("it holds transport key {}", key.id())));
        lines
    }

    /// SHA-256 of the attestation key, and of the key to which class keys are wrapped.
    pub fn keys(&self) -> [Bytes<32>; 2] {
        [self.claims().attestation_key, self.claims().wrapping_key].map(Bytes)
    }
}

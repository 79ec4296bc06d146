//! What the device's token says of its log, and the log held against it.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use trustbox_api::log::{Channel, LogReply};
use trustbox_api::message::{InfoReply, Nonce};
use trustbox_api::{Bytes, PublicKey};
use trustbox_client::TrustBox;
use trustbox_package::verify;
use trustbox_verifier::Token;

use crate::failure::Failure;

/// A token whose signature was checked.
pub(super) struct Said {
    token: Vec<u8>,
    attestation_key: PublicKey,
    nonce: Nonce,
    entries: [u64; 3],
    head: Bytes<32>,
}

/// Heads to which the log leads, as the device signed.
pub(super) struct Heads {
    said: Said,
    heads: [Bytes<32>; 3],
}

/// Has the device sign what its log leads to, and checks that it did.
pub(super) fn ask(trustbox: &mut TrustBox, nonce: Nonce) -> Result<Said, Failure> {
    let asked = trustbox.attest(&nonce.0).and_then(|token| Ok((token, trustbox.info()?)));
    let (token, info) = asked.map_err(|error| Failure::call("log", "head", &error))?;
    Said::new(token, &info, nonce)
}

impl Said {
    pub(super) fn new(token: Vec<u8>, info: &InfoReply, nonce: Nonce) -> Result<Self, Failure> {
        let Some(attestation_key) = info.attestation_key else {
            return Err(Failure::call(
                "log",
                "attestation key",
                &trustbox_client::Error::Refused(trustbox_api::Error::WrongLifecycle),
            ));
        };
        let claims = Token::parse(&token).and_then(|token| token.verify(&attestation_key, &nonce.0));
        let claims = claims.map_err(|refusal| Failure::evidence("log", "head", &refusal))?;
        let (entries, head) = (claims.log_entries, Bytes(claims.log_head));
        Ok(Self { token, attestation_key, nonce, entries, head })
    }

    /// Whether every channel leads to its head.
    pub(super) fn check(self, logs: &[LogReply; 3]) -> Result<Heads, Failure> {
        let heads = verify::log(logs.each_ref().map(|log| &log.ring), self.entries, self.head)
            .map_err(|error| Failure::evidence("log", "head", &error))?;
        Ok(Heads { said: self, heads })
    }
}

impl Heads {
    fn channels(&self) -> impl Iterator<Item = (&'static str, u64, String)> {
        let numbers = Channel::ALL.iter().zip(self.said.entries).zip(self.heads);
        numbers.map(|((channel, number), head)| (channel.name(), number, head.to_string()))
    }

    pub(super) fn to_json(&self) -> Value {
        let channels = self.channels();
        let channels: serde_json::Map<String, Value> = channels
            .map(|(name, number, head)| (name.to_owned(), json!({"number": number, "head": head})))
            .collect();
        json!({
            "verified": true,
            "nonce": self.said.nonce.to_string(),
            "attestation_key_sha256": self.said.attestation_key.id().to_string(),
            "channels": channels,
            "token": BASE64_STANDARD.encode(&self.said.token),
        })
    }

    pub(super) fn to_lines(&self) -> Vec<String> {
        let (key, nonce) = (self.said.attestation_key.id(), self.said.nonce);
        let mut lines = vec![format!("heads: signed by attestation key {key} over nonce {nonce}")];
        lines.extend(self.channels().map(|(name, number, head)| {
            format!("{name}: its chain leads to the signed head {head} of {number} entries")
        }));
        lines.push("the key is the one that this device names: compare it with the one you know".to_owned());
        lines
    }
}

//! The signed heads of the log, and the log held against them.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use trustbox_api::PublicKey;
use trustbox_api::log::{Channel, LogHead, LogReply};
use trustbox_api::message::{InfoReply, Nonce};
use trustbox_client::TrustBox;
use trustbox_package::verify;

use crate::failure::Failure;

/// Heads whose signature was checked.
pub(super) struct Head {
    evidence: Vec<u8>,
    attestation_key: PublicKey,
    said: LogHead,
}

/// Has the device sign the heads of its log, and checks that it did.
pub(super) fn ask(trustbox: &mut TrustBox, nonce: Nonce) -> Result<Head, Failure> {
    let asked = trustbox.log_head(nonce).and_then(|evidence| Ok((evidence, trustbox.info()?)));
    let (evidence, info) = asked.map_err(|error| Failure::call("log", "head", &error))?;
    Head::new(evidence, &info, nonce)
}

impl Head {
    pub(super) fn new(evidence: Vec<u8>, info: &InfoReply, nonce: Nonce) -> Result<Self, Failure> {
        let Some(attestation_key) = info.attestation_key else {
            return Err(Failure::call(
                "log",
                "attestation key",
                &trustbox_client::Error::Refused(trustbox_api::Error::WrongLifecycle),
            ));
        };
        let said = verify::log_head(&evidence, &attestation_key, info.device_id, nonce)
            .map_err(|error| Failure::evidence("log", "head", &error))?;
        Ok(Self { evidence, attestation_key, said })
    }

    /// Whether every channel leads to its head.
    pub(super) fn check(&self, logs: &[LogReply]) -> Result<(), Failure> {
        for ((channel, log), head) in Channel::ALL.iter().zip(logs).zip(self.said.heads) {
            verify::chain(&log.ring, head)
                .map_err(|error| Failure::evidence("log", channel.name(), &error))?;
        }
        Ok(())
    }

    /// After [`Head::check`].
    pub(super) fn to_json(&self) -> Value {
        let channels: serde_json::Map<String, Value> = Channel::ALL
            .iter()
            .zip(self.said.heads)
            .map(|(channel, (number, head))| {
                (channel.name().to_owned(), json!({"number": number, "head": head.to_string()}))
            })
            .collect();
        json!({
            "verified": true,
            "device_id": self.said.device_id.to_string(),
            "nonce": self.said.nonce.to_string(),
            "attestation_key_sha256": self.attestation_key.id().to_string(),
            "channels": channels,
            "evidence": BASE64_STANDARD.encode(&self.evidence),
        })
    }

    /// After [`Head::check`].
    pub(super) fn to_lines(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "heads: signed by attestation key {} over nonce {}",
            self.attestation_key.id(),
            self.said.nonce
        )];
        lines.extend(Channel::ALL.iter().zip(self.said.heads).map(|(channel, (number, head))| {
            format!("{}: its chain leads to the signed head {head} of {number} entries", channel.name())
        }));
        lines.push("the key is the one that this device names: compare it with the one you know".to_owned());
        lines
    }
}

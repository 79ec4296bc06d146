//! The later life of an enclave: upgrade, rollback, revocation, removal; and the log that shows all of it.

use std::fs;

use anyhow::{Context, Result, anyhow, ensure};
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Value, json};
use trustbox_api::log::Channel;
use trustbox_api::statement::Revoked;
use trustbox_api::token::log_head;
use trustbox_api::{Bytes, Error, PublicKey};
use trustbox_keys::issue;
use trustbox_package::request::parse_hex;
use trustbox_package::sign::public_key;
use trustbox_verifier::Token;

use super::attestation::attestation_key;
use super::talk::{done, install_refused, json, refused, say, share};
use super::{CLASS, Demo, Known};
use crate::device::Device;

impl Demo {
    /// Version 2 keeps the total; version 1 never comes back.
    pub(super) fn upgrade(&self, device: &mut Device, older: &[u8]) -> Result<()> {
        self.install_version(device, 2)?;
        self.expect_total(device)?;
        let reason = install_refused(device, "older.cpk", older, Error::VersionRollback)?;
        say(&format!("the older version 1 again, refused: {reason}"));
        Ok(())
    }

    /// The version that runs is revoked and runs no more; a newer one does.
    pub(super) fn revoke(&self, device: &mut Device) -> Result<()> {
        let uuid = &self.meter.uuid;
        let root = public_key(self.keys.owner_root.verifying_key()).id();
        let items = [Revoked::Enclave { uuid: uuid.parse()?, floor: 3 }];
        let statement = issue::revoke(&self.keys.revoker, root, &items, 1)?;
        let statement = from_base64(&self.service.revoke(&to_base64(&statement)?)?)?;
        let path = share(device, "revocation.statement", &statement)?;
        done(device, &["revoke", &path])?;
        let reason = refused(device, &["run", uuid], Error::Revoked)?;
        say(&format!("versions below 3 revoked by the revoker; the next run is refused: {reason}"));
        self.install_version(device, 3)?;
        self.expect_total(device)
    }

    /// Installs a newer version, encrypted like the first one.
    fn install_version(&self, device: &mut Device, version: usize) -> Result<()> {
        let image = fs::read(&self.newer[version - 2])?;
        let path = share(device, &format!("meter-{version}.cpk"), &self.package(&image, CLASS)?)?;
        let reply = json(device, &["install", &path])?;
        ensure!(reply["version"] == version, "installed {reply}, not version {version}");
        say(&format!("upgraded: {} version {version}", self.meter.uuid));
        Ok(())
    }

    /// Gone, but not forgotten.
    pub(super) fn uninstall(&self, device: &mut Device) -> Result<()> {
        let uuid = &self.meter.uuid;
        done(device, &["uninstall", uuid])?;
        refused(device, &["run", uuid], Error::NotInstalled)?;
        let list = json(device, &["list"])?;
        let entry = list["enclaves"].as_array().into_iter().flatten().find(|entry| entry["uuid"] == **uuid);
        let entry = entry.with_context(|| format!("the list has no {uuid}: {list}"))?;
        ensure!(entry["version"].is_null() && entry["floor"] == 3, "after uninstall the list says {entry}");
        say("uninstalled; its version floor 3 stays");
        Ok(())
    }

    /// The log has the story, and its head is the device's, over a nonce made here and now.
    pub(super) fn log(&self, device: &mut Device, known: &Known) -> Result<()> {
        let mut nonce = [0; 32];
        SystemRandom::new().fill(&mut nonce).map_err(|_| anyhow!("no random numbers"))?;
        let nonce = Bytes(nonce);
        let log = json(device, &["log", "--head", "--nonce", &nonce.to_string()])?;
        let entries = log["entries"].as_array().context("the log has no entries")?;
        for event in self.story() {
            ensure!(entries.iter().any(|entry| matches(entry, &event)), "the log has no {event}");
        }
        say(&format!(
            "log: {} entries: installed 1, 2 and 3, revoked below 3, refused rollback and revoked, uninstalled",
            entries.len()
        ));
        ensure!(log["head"]["verified"] == true, "trustbox did not verify the log: {}", log["head"]);
        let key = attestation_key(device, known)?;
        check_head(&log["head"], &key, nonce)
    }

    /// Every event of the later life, as the log must show it.
    fn story(&self) -> Vec<Value> {
        let uuid = &self.meter.uuid;
        let refused = |error: Error| json!({"event": "refused", "error": error as u32});
        let installed = |version: u32| json!({"event": "installed", "uuid": uuid, "version": version});
        let mut story = vec![json!({"event": "provisioned"}), json!({"event": "uninstalled", "uuid": uuid})];
        story.push(json!({"event": "revoked", "enclave": uuid, "versions_below": 3}));
        story.push(json!({"event": "key-imported", "class_key": CLASS}));
        story.extend([1, 2, 3].map(installed));
        story.extend([Error::CiphertextDigest, Error::VersionRollback, Error::Revoked].map(refused));
        story
    }
}

/// Away from the device: believes only the attestation key that was noted when the device was provisioned.
fn check_head(head: &Value, key: &PublicKey, nonce: Bytes<32>) -> Result<()> {
    let token = from_base64(head["token"].as_str().context("no token")?)?;
    let claims = Token::parse(&token).and_then(|token| token.verify(key, &nonce.0))?;
    let stale = Token::parse(&token).and_then(|token| token.verify(key, &[0; 32]));
    ensure!(stale.is_err(), "the log is of any time");
    let heads =
        Channel::ALL.map(|channel| head["channels"][channel.name()]["head"].as_str().and_then(parse_hex));
    let [Some(a), Some(b), Some(c)] = heads else { return Err(anyhow!("a head is missing: {head}")) };
    ensure!(log_head(&[a, b, c]).0 == claims.log_head, "the heads are not those that the device signed");
    say("its heads are those of a token of the device, over a nonce made here");
    Ok(())
}

/// Whether an entry of the log has every field of `wanted`.
fn matches(entry: &Value, wanted: &Value) -> bool {
    wanted.as_object().is_some_and(|fields| fields.iter().all(|(name, value)| entry[name] == *value))
}

/// Base64 in one line, as JSON has it, is PEM without its frame.
pub(super) fn from_base64(text: &str) -> Result<Vec<u8>> {
    let lines: Vec<&str> =
        (0..text.len()).step_by(64).filter_map(|at| text.get(at..text.len().min(at + 64))).collect();
    let pem = format!("-----BEGIN EVIDENCE-----\n{}\n-----END EVIDENCE-----\n", lines.join("\n"));
    let decoded = pem_rfc7468::decode_vec(pem.as_bytes()).map_err(|error| anyhow!("evidence: {error}"))?;
    Ok(decoded.1)
}

/// The same in the other direction, on one line.
fn to_base64(bytes: &[u8]) -> Result<String> {
    let pem = pem_rfc7468::encode_string("STATEMENT", pem_rfc7468::LineEnding::LF, bytes);
    let pem = pem.map_err(|error| anyhow!("statement: {error}"))?;
    Ok(pem.lines().filter(|line| !line.starts_with('-')).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_must_have_every_field_that_is_wanted() {
        let entry = json!({"boot": 1, "event": "refused", "error": 51});
        assert!(matches(&entry, &json!({"event": "refused", "error": 51})));
        assert!(!matches(&entry, &json!({"event": "refused", "error": 5})));
        assert!(!matches(&entry, &json!({"event": "refused", "uuid": "x"})));
    }

    #[test]
    fn base64_of_any_length_is_read() {
        assert_eq!(from_base64("AAEC").unwrap(), [0, 1, 2]);
        assert_eq!(from_base64(&"AAAA".repeat(40)).unwrap(), [0; 120]);
        assert!(from_base64("!").is_err());
    }
}

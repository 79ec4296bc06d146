//! `trustbox key`: the device key, and class keys.

use std::io::IsTerminal;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use trustbox_api::key::KeyRef;
use trustbox_api::message::{InfoReply, Purpose};
use trustbox_api::statement::Kind;
use trustbox_api::{Bytes, Error as Refused, PublicKey};
use trustbox_client::{Error, TrustBox};
use trustbox_package::Request;
use trustbox_package::class_key::parse_name;

use crate::arguments::{Encoding, Key};
use crate::failure::Failure;
use crate::output::Output;
use crate::pem::pem;
use crate::statement::{self, Statement};

pub(crate) fn run(command: &Key, output: Output) -> Result<(), Failure> {
    match command {
        Key::Export { attestation: false, format } => export(*format, output),
        Key::Export { attestation: true, format } => export_attestation(*format, output),
        Key::Import { request: Some(file), .. } => write_request(file, output),
        Key::Import { bundle: Some(file), .. } => import(file, output),
        Key::Import { .. } => {
            Err(Failure::usage("key import: neither request nor bundle", "trustbox key import --help"))
        }
        Key::Disk => disk(output),
        Key::List => list(output),
        Key::Destroy { key, yes } => destroy(key, *yes, output),
    }
}

fn export(format: Encoding, output: Output) -> Result<(), Failure> {
    let key = TrustBox::open().and_then(|mut trustbox| trustbox.device_key());
    let key = key.map_err(|error| Failure::call("key export", "device key", &error))?;
    match format {
        Encoding::Der if !output.json => output.bytes(&key),
        _ => output.result(&export_json(&key), &pem("PUBLIC KEY", &key)),
    }
}

/// Whoever reads a terminal is no disk.
fn disk(output: Output) -> Result<(), Failure> {
    if output.json || std::io::stdout().is_terminal() {
        return Err(Failure::usage(
            "key disk: a secret is neither JSON nor for a terminal",
            "trustbox key disk | cryptsetup …",
        ));
    }
    let key = TrustBox::open().and_then(|mut trustbox| trustbox.disk_key());
    output.bytes(key.map_err(|error| Failure::call("key disk", "disk key", &error))?.expose())
}

fn export_attestation(format: Encoding, output: Output) -> Result<(), Failure> {
    let info = TrustBox::open().and_then(|mut trustbox| trustbox.info());
    let info = info.map_err(|error| Failure::call("key export", "attestation key", &error))?;
    let none = || Failure::call("key export", "attestation key", &Error::Refused(Refused::WrongLifecycle));
    let key = info.attestation_key.ok_or_else(none)?;
    match format {
        Encoding::Der if !output.json => output.bytes(&key.spki()),
        _ => output.result(&attestation_json(&key), &pem("PUBLIC KEY", &key.spki())),
    }
}

fn attestation_json(key: &PublicKey) -> Value {
    let id = key.id().to_string();
    json!({"attestation_key": BASE64_STANDARD.encode(key.spki()), "attestation_key_sha256": id})
}

fn export_json(key: &[u8]) -> Value {
    let sha256 = Bytes::<32>(Sha256::digest(key).into());
    json!({"device_key": BASE64_STANDARD.encode(key), "device_key_sha256": sha256.to_string()})
}

fn write_request(file: &Path, output: Output) -> Result<(), Failure> {
    let request = TrustBox::open().and_then(|mut trustbox| {
        let device_key = trustbox.device_key()?;
        let reply = trustbox.challenge(Purpose::ImportKey)?;
        Ok(Request::KeyImport { device_id: reply.device_id, nonce: reply.nonce, device_key })
    });
    let request = request.map_err(|error| Failure::call("key import", "device", &error))?;
    statement::deliver(&request, file, output)
}

fn import(file: &Path, output: Output) -> Result<(), Failure> {
    let bundle = Statement::read("key import", file, &[Kind::KeyBundle])?;
    let imported = TrustBox::open().and_then(|mut trustbox| {
        trustbox.import_key(&bundle.bytes)?;
        trustbox.info()
    });
    let info = imported.map_err(|error| Failure::call("key import", file.display(), &error))?;
    let text = format!("class key imported; the device holds: {}", keys_text(&info, " "));
    output.result(&keys_json(&info), &text)
}

fn destroy(key: &KeyRef, yes: bool, output: Output) -> Result<(), Failure> {
    let name = format!("{}@{}", key.name, key.version);
    if !yes {
        let would =
            "packages for this class key could not be installed until it is released to the device again";
        return Err(Failure::unconfirmed("key destroy", name, would));
    }
    let destroyed = TrustBox::open().and_then(|mut trustbox| {
        trustbox.destroy_key(*key)?;
        trustbox.info()
    });
    let info = destroyed.map_err(|error| Failure::call("key destroy", &name, &error))?;
    let text = format!("{name} destroyed; the device holds: {}", keys_text(&info, " "));
    output.result(&keys_json(&info), &text)
}

/// One version of a class key; which one must be said.
pub(crate) fn parse_version(text: &str) -> Result<KeyRef, String> {
    let key = parse_name(text).filter(|_| text.contains('@'));
    key.ok_or_else(|| "not a class key and its version: NAME@VERSION".to_owned())
}

fn list(output: Output) -> Result<(), Failure> {
    let info = TrustBox::open().and_then(|mut trustbox| trustbox.info());
    let info = info.map_err(|error| Failure::call("key list", "device", &error))?;
    output.result(&keys_json(&info), &keys_text(&info, "\n"))
}

fn keys_json(info: &InfoReply) -> Value {
    let keys = info.class_keys.iter();
    let keys: Vec<Value> =
        keys.map(|key| json!({"name": key.name.as_str(), "version": key.version})).collect();
    json!({ "class_keys": keys })
}

fn keys_text(info: &InfoReply, separator: &str) -> String {
    let keys: Vec<String> =
        info.class_keys.iter().map(|key| format!("{}@{}", key.name, key.version)).collect();
    if keys.is_empty() { "no class keys".to_owned() } else { keys.join(separator) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Status;

    #[test]
    fn class_keys_are_destroyed_by_name_version_and_yes() {
        let key = parse_version("meter@1").unwrap();
        assert_eq!((key.name.as_str(), key.version), ("meter", 1));
        assert!(parse_version("meter").is_err() && parse_version("meter@0").is_err());
        let failure = destroy(&key, false, Output { json: false }).unwrap_err();
        assert_eq!((failure.status, failure.name), (Status::Usage, "Unconfirmed"));
        assert!(failure.text.starts_with("key destroy: meter@1: "));
        assert_eq!(destroy(&key, true, Output { json: false }).unwrap_err().status, Status::NoTee);
    }

    #[test]
    fn export_names_the_key_as_info_does() {
        let value = export_json(b"abc");
        assert_eq!(value["device_key"], "YWJj");
        assert_eq!(
            value["device_key_sha256"],
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}

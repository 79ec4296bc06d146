//! `trustbox key`: the device key, and class keys.

use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use trustbox_api::Bytes;
use trustbox_api::limits::MAX_REQUEST;
use trustbox_api::message::{InfoReply, Purpose};
use trustbox_api::statement::Kind;
use trustbox_client::TrustBox;
use trustbox_package::Request;

use crate::arguments::{Encoding, Key};
use crate::failure::Failure;
use crate::output::Output;
use crate::{files, provision};

/// Characters on a line of PEM (RFC 7468, section 2).
const PEM_LINE: usize = 64;

pub(crate) fn run(command: &Key, output: Output) -> Result<(), Failure> {
    match command {
        Key::Export { format } => export(*format, output),
        Key::Import { request: Some(file), .. } => write_request(file, output),
        Key::Import { bundle: Some(file), .. } => import(file, output),
        Key::Import { .. } => {
            Err(Failure::usage("key import: neither request nor bundle", "trustbox key import --help"))
        }
        Key::List => list(output),
    }
}

fn export(format: Encoding, output: Output) -> Result<(), Failure> {
    let key = TrustBox::open().and_then(|mut trustbox| trustbox.device_key());
    let key = key.map_err(|error| Failure::call("key export", "device key", &error))?;
    match format {
        Encoding::Der if !output.json => output.bytes(&key),
        _ => output.result(&export_json(&key), &pem(&key)),
    }
}

fn export_json(key: &[u8]) -> Value {
    let sha256 = Bytes::<32>(Sha256::digest(key).into());
    json!({"device_key": BASE64_STANDARD.encode(key), "device_key_sha256": sha256.to_string()})
}

fn pem(der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<&str> = (0..text.len())
        .step_by(PEM_LINE)
        .map(|start| &text[start..text.len().min(start + PEM_LINE)])
        .collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
}

fn write_request(file: &Path, output: Output) -> Result<(), Failure> {
    let request = TrustBox::open().and_then(|mut trustbox| {
        let device_key = trustbox.device_key()?;
        let reply = trustbox.challenge(Purpose::ImportKey)?;
        Ok(Request::KeyImport { device_id: reply.device_id, nonce: reply.nonce, device_key })
    });
    let request = request.map_err(|error| Failure::call("key import", "device", &error))?;
    provision::deliver(&request, file, output)
}

fn import(file: &Path, output: Output) -> Result<(), Failure> {
    let name = file.display();
    let bundle = files::read(file, MAX_REQUEST as u64)?;
    let kind = provision::header(file, &bundle)?.kind;
    if kind != Kind::KeyBundle {
        let text =
            format_args!("key import: {name}: statement of kind {kind:?}, expected {:?}", Kind::KeyBundle);
        return Err(Failure::usage(text, "check which file was given"));
    }
    let imported = TrustBox::open().and_then(|mut trustbox| {
        trustbox.import_key(&bundle)?;
        trustbox.info()
    });
    let info = imported.map_err(|error| Failure::call("key import", &name, &error))?;
    let text = format!("class key imported; the device holds: {}", keys_text(&info, " "));
    output.result(&keys_json(&info), &text)
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

    #[test]
    fn pem_lines_have_64_characters() {
        let text = pem(&[0xaa; 100]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            (lines[0], lines[lines.len() - 1]),
            ("-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----")
        );
        assert_eq!(lines[1..lines.len() - 1].iter().map(|line| line.len()).collect::<Vec<_>>(), [64, 64, 8]);
        assert_eq!(BASE64_STANDARD.decode(lines[1..lines.len() - 1].concat()).unwrap(), [0xaa; 100]);
        assert_eq!(pem(&[0; 48]).lines().count(), 3);
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

//! What a statement says, as JSON and as text. The signature is checked against the signer the statement names.

use anyhow::{Result, anyhow};
use serde_json::{Map, Value, json};
use trustbox_api::statement::{
    Audience, Decommission, Envelope, FORMAT, Header, KeyBundle, Kind, Lock, PinRoot, Publisher, Releaser,
    Revocation, Revoker, RotateRoot,
};
use trustbox_api::{Error, manifest, wire};
use trustbox_package::class_key::name;
use trustbox_package::{verify, words};

/// Describes a statement as a JSON object.
pub fn describe(bytes: &[u8]) -> Result<Value> {
    let damaged = |_| anyhow!("not a statement of format {FORMAT}\nhelp: check which file was given");
    let envelope: Envelope = wire::decode(bytes).map_err(damaged)?;
    let (header, body) = wire::decode_prefix::<Header>(envelope.payload).map_err(damaged)?;
    let mut out = describe_header(&header, &envelope);
    let body = describe_body(header.kind, envelope.payload, body).map_err(damaged)?;
    if let Value::Object(body) = body {
        out.extend(body);
    }
    Ok(Value::Object(out))
}

/// The lines of a description for people.
pub fn lines(description: &Value) -> Vec<String> {
    let Value::Object(fields) = description else { return Vec::new() };
    fields
        .iter()
        .map(|(field, value)| format!("{:<22}{}", words::spaced(field), words::text(value)))
        .collect()
}

fn describe_header(header: &Header, envelope: &Envelope<'_>) -> Map<String, Value> {
    let audience = match header.audience {
        Audience::Device(device) => format!("device {device}"),
        Audience::Class(name) => format!("class {name}"),
        Audience::Fleet => "fleet".to_owned(),
    };
    let fields = [
        ("kind", words::kind(header.kind).into()),
        ("format", header.format.into()),
        ("owner_root", header.root.to_string().into()),
        ("audience", audience.into()),
        ("sequence", header.sequence.into()),
        ("signer", envelope.signer.id().to_string().into()),
        ("signature", if verify::statement(envelope) { "valid" } else { "INVALID" }.into()),
    ];
    fields.into_iter().map(|(field, value)| (field.to_owned(), value)).collect()
}

fn describe_body(kind: Kind, payload: &[u8], body: &[u8]) -> Result<Value, Error> {
    Ok(match kind {
        Kind::PinRoot => {
            let body: PinRoot = wire::decode(body)?;
            json!({"nonce": body.nonce.to_string(), "pinned_root": body.root.id().to_string()})
        }
        Kind::Publisher => {
            let body: Publisher = wire::decode(body)?;
            let uuids: Vec<String> = body.uuids.iter().map(ToString::to_string).collect();
            json!({"publisher": body.key.id().to_string(), "uuids": uuids})
        }
        Kind::Releaser => {
            let body: Releaser = wire::decode(body)?;
            let names: Vec<&str> = body.keys.iter().map(|name| name.as_str()).collect();
            json!({"releaser": body.key.id().to_string(), "class_keys": names})
        }
        Kind::KeyBundle => {
            let body: KeyBundle<'_> = wire::decode(body)?;
            json!({"nonce": body.nonce.to_string(), "class_key": name(&body.key), "wrapped_bits": 8 * body.wrapped.len()})
        }
        Kind::Revoker => {
            let body: Revoker = wire::decode(body)?;
            json!({"revoker": body.key.id().to_string()})
        }
        Kind::Policy => words::policy(&wire::decode(body)?),
        Kind::Revocation => {
            let body: Revocation = wire::decode(body)?;
            json!({"revoked": body.items.iter().map(words::revoked).collect::<Vec<_>>()})
        }
        Kind::RotateRoot => {
            let body: RotateRoot = wire::decode(body)?;
            json!({"nonce": body.nonce.to_string(), "new_root": body.root.id().to_string()})
        }
        Kind::Lock => {
            let body: Lock = wire::decode(body)?;
            json!({"nonce": body.nonce.to_string()})
        }
        Kind::Decommission => {
            let body: Decommission = wire::decode(body)?;
            json!({"nonce": body.nonce.to_string()})
        }
        Kind::Manifest => describe_terms(&manifest::parse(payload)?.manifest.terms),
    })
}

fn describe_terms(terms: &manifest::Terms) -> Value {
    let version = |v: trustbox_api::message::Version| format!("{}.{}.{}", v.0, v.1, v.2);
    json!({
        "publisher": terms.publisher.to_string(),
        "uuid": terms.uuid.to_string(),
        "name": terms.name.as_str(),
        "version": terms.version,
        "min_optee": version(terms.min_optee),
        "min_ta": version(terms.min_ta),
        "size": terms.size,
        "ciphertext_sha256": terms.ciphertext_sha256.to_string(),
        "plaintext_sha256": terms.plaintext_sha256.to_string(),
        "class_key": name(&terms.class_key),
    })
}

#[cfg(test)]
mod tests {
    use trustbox_api::statement::Revoked;
    use trustbox_api::{Bytes, Uuid};
    use trustbox_package::sign::public_key;

    use super::*;
    use crate::files::generate;
    use crate::issue;

    #[test]
    fn statement_is_described_and_forgery_shown() {
        let root = generate().unwrap();
        let key = public_key(root.verifying_key());
        let mut bytes = issue::delegate_publisher(&root, &key, &[Uuid(Bytes([7; 16]))], 3).unwrap();
        let shown = describe(&bytes).unwrap();
        assert_eq!(shown["kind"], "publisher");
        assert_eq!(shown["signature"], "valid");
        assert_eq!(shown["uuids"][0], "07070707-0707-0707-0707-070707070707");
        assert!(lines(&shown)[4].starts_with("sequence ") && lines(&shown)[4].ends_with(" 3"));
        *bytes.last_mut().unwrap() ^= 1;
        assert_eq!(describe(&bytes).unwrap()["signature"], "INVALID");
    }

    #[test]
    fn every_kind_of_the_owner_is_described() {
        let root = generate().unwrap();
        let (key, root_id) = (public_key(root.verifying_key()), public_key(root.verifying_key()).id());
        let asking = issue::Asking { device_id: Bytes([1; 32]), nonce: Bytes([2; 32]) };
        let floor = Revoked::Enclave { uuid: Uuid(Bytes([7; 16])), floor: 3 };
        for (bytes, kind, field) in [
            (issue::pin_root(&root, &key, &asking), "pin-root", "pinned_root"),
            (issue::delegate_revoker(&root, &key, 1), "revoker", "revoker"),
            (issue::policy(&root, &[], 4, 1), "policy", "max_enclaves"),
            (issue::revoke(&root, root_id, &[floor], 1), "revocation", "revoked"),
            (issue::rotate_root(&root, &key, &asking), "rotate-root", "new_root"),
            (issue::lock(&root, root_id, &asking), "lock", "nonce"),
            (issue::decommission(&root, &asking), "decommission", "nonce"),
        ] {
            let shown = describe(&bytes.unwrap()).unwrap();
            assert_eq!((&shown["kind"], &shown["signature"]), (&json!(kind), &json!("valid")));
            assert!(shown.get(field).is_some(), "{kind}");
        }
    }

    #[test]
    fn audiences_and_revoked_items_read_well() {
        let root = generate().unwrap();
        let id = public_key(root.verifying_key()).id();
        let class = Audience::Class(trustbox_api::KeyName::from("meter").unwrap());
        let items = [
            Revoked::Key(Bytes([0xab; 32])),
            Revoked::Enclave { uuid: Uuid(Bytes([7; 16])), floor: u32::MAX },
        ];
        let scope = issue::Scope { audience: class, sequence: 1 };
        let shown = lines(&describe(&issue::revoke(&root, id, &items, scope).unwrap()).unwrap());
        assert!(shown.iter().any(|line| line.starts_with("audience ") && line.ends_with(" class meter")));
        let revoked = shown.last().unwrap();
        assert!(
            revoked.contains("abab, enclave 07070707-") && revoked.ends_with("versions all"),
            "{revoked}"
        );
    }

    #[test]
    fn other_files_are_refused() {
        for bytes in [&b""[..], b"-----BEGIN PRIVATE KEY-----", &[0; 4096]] {
            assert!(describe(bytes).unwrap_err().to_string().contains("help: "));
        }
    }
}

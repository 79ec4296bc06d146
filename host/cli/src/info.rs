//! `trustbox info`.

use std::fmt::Write;

use serde_json::{Value, json};
use trustbox_api::command::Lifecycle;
use trustbox_api::message::{Huk, InfoReply, Profile, RollbackProtection, Version};
use trustbox_client::TrustBox;
use trustbox_package::words;

use crate::failure::Failure;
use crate::output::Output;

const CLIENT_VERSION: &str = env!("CARGO_PKG_VERSION");

pub(crate) fn run(output: Output) -> Result<(), Failure> {
    let info = TrustBox::open().and_then(|mut trustbox| trustbox.info());
    let info = info.map_err(|error| Failure::call("info", "device", &error))?;
    output.result(&to_json(&info), &to_text(&info))
}

fn to_json(info: &InfoReply) -> Value {
    let keys = info.class_keys.iter();
    let class_keys: Vec<Value> =
        keys.map(|key| json!({"name": key.name.as_str(), "version": key.version})).collect();
    json!({
        "device_id": info.device_id.to_string(),
        "device_key_sha256": info.device_key.map(|id| id.to_string()),
        "attestation_key_sha256": info.attestation_key.map(|key| key.id().to_string()),
        "lifecycle": info.lifecycle.name(),
        "huk": huk(info.huk),
        "rollback_protection": rollback_protection(info.rollback_protection),
        "profile": profile(info.profile),
        "versions": {
            "ta": dotted(info.ta_version),
            "optee": dotted(info.optee_version),
            "client": CLIENT_VERSION,
        },
        "owner_root": info.owner_root.map(|id| id.to_string()),
        "provisioning_authority": info.provisioning_authority.to_string(),
        "policy": words::policy(&info.policy),
        "epoch": info.epoch,
        "class_keys": class_keys,
        "max_image": info.max_image,
    })
}

fn to_text(info: &InfoReply) -> String {
    let or_none = |id: Option<trustbox_api::KeyId>| id.map_or("none".to_owned(), |id| id.to_string());
    let keys: Vec<String> =
        info.class_keys.iter().map(|key| format!("{}@{}", key.name, key.version)).collect();
    let keys = if keys.is_empty() { "none".to_owned() } else { keys.join(" ") };
    let versions = format!(
        "TA {}, OP-TEE {}, client {CLIENT_VERSION}",
        dotted(info.ta_version),
        dotted(info.optee_version)
    );
    let fields = [
        ("device id", info.device_id.to_string()),
        ("lifecycle", explained(info.lifecycle.name(), lifecycle_meaning(info.lifecycle))),
        ("profile", explained(profile(info.profile), profile_meaning(info.profile))),
        ("hardware unique key", explained(huk(info.huk), huk_meaning(info.huk))),
        ("rollback protection", explained_rollback(info.rollback_protection)),
        ("versions", versions),
        ("provisioning authority", info.provisioning_authority.to_string()),
        ("owner root", or_none(info.owner_root)),
        ("device key sha256", or_none(info.device_key)),
        ("attestation key sha256", or_none(info.attestation_key.map(|key| key.id()))),
        ("policy", words::text(&words::policy(&info.policy))),
        ("revocation epoch", info.epoch.to_string()),
        ("class keys", keys),
        ("max image", format!("{} bytes", info.max_image)),
    ];
    fields.iter().fold(String::new(), |mut text, (field, value)| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{field:<24}{value}");
        text
    })
}

fn lifecycle_meaning(lifecycle: Lifecycle) -> &'static str {
    match lifecycle {
        Lifecycle::Blank => "nobody owns the device yet",
        Lifecycle::Provisioned => "it has an owner, the factory is not done with it",
        Lifecycle::Locked => "it has an owner, the factory is done with it",
        Lifecycle::Decommissioned => "nothing secret is left on it, and nothing will be",
    }
}

fn huk(huk: Huk) -> &'static str {
    match huk {
        Huk::Unique => "unique",
        Huk::TestKey => "test-key",
        Huk::Stub => "stub",
    }
}

fn huk_meaning(huk: Huk) -> &'static str {
    match huk {
        Huk::Unique => "no other device and nobody outside of the TEE can read what this one stores",
        Huk::TestKey => "a key that all unfused parts share: stored secrets are not secret",
        Huk::Stub => "a constant of the build: stored secrets are not secret",
    }
}

fn rollback_protection(protection: RollbackProtection) -> &'static str {
    match protection {
        RollbackProtection::None => "none",
        RollbackProtection::Rpmb => "rpmb",
    }
}

fn explained_rollback(protection: RollbackProtection) -> String {
    let meaning = match protection {
        RollbackProtection::None => {
            "an old copy of the whole storage is accepted, and takes back what was revoked, upgraded or erased since"
        }
        RollbackProtection::Rpmb => "an old copy of the storage is recognised and refused",
    };
    explained(rollback_protection(protection), meaning)
}

fn profile(profile: Profile) -> &'static str {
    match profile {
        Profile::Dev => "dev",
        Profile::Production => "production",
    }
}

fn profile_meaning(profile: Profile) -> &'static str {
    match profile {
        Profile::Dev => "NOT-TRUSTED: development firmware, its keys protect nothing",
        Profile::Production => "",
    }
}

fn explained(value: &str, meaning: &str) -> String {
    if meaning.is_empty() { value.to_owned() } else { format!("{value} ({meaning})") }
}

fn dotted(Version(major, minor, patch): Version) -> String {
    format!("{major}.{minor}.{patch}")
}

#[cfg(test)]
mod tests {
    use trustbox_api::key::KeyRef;
    use trustbox_api::{Bytes, PublicKey};

    use super::*;

    fn blank() -> InfoReply {
        InfoReply {
            device_id: Bytes([1; 32]),
            lifecycle: Lifecycle::Blank,
            huk: Huk::Stub,
            rollback_protection: RollbackProtection::None,
            profile: Profile::Dev,
            ta_version: Version(0, 1, 0),
            optee_version: Version(4, 10, 0),
            device_key: Some(Bytes([0xab; 32])),
            attestation_key: Some(PublicKey(Bytes([3; 64]))),
            owner_root: None,
            provisioning_authority: Bytes([2; 32]),
            policy: Default::default(),
            epoch: 7,
            class_keys: Default::default(),
            max_image: 1 << 20,
        }
    }

    #[test]
    fn json_has_the_documented_fields() {
        let mut info = blank();
        info.class_keys.try_push(KeyRef::new("class", 2).unwrap()).unwrap();
        let value = to_json(&info);
        assert_eq!(value["device_id"], "01".repeat(32));
        assert_eq!(value["device_key_sha256"], "ab".repeat(32));
        assert_eq!((&value["lifecycle"], &value["huk"]), (&json!("blank"), &json!("stub")));
        assert_eq!((&value["rollback_protection"], &value["profile"]), (&json!("none"), &json!("dev")));
        assert_eq!(value["versions"], json!({"ta": "0.1.0", "optee": "4.10.0", "client": CLIENT_VERSION}));
        assert_eq!(value["owner_root"], Value::Null);
        assert_eq!(value["attestation_key_sha256"], PublicKey(Bytes([3; 64])).id().to_string());
        assert_eq!(value["policy"], json!({"legacy": [], "max_enclaves": 16}));
        assert_eq!((&value["epoch"], &value["max_image"]), (&json!(7), &json!(1_048_576)));
        assert_eq!(value["class_keys"], json!([{"name": "class", "version": 2}]));
    }

    #[test]
    fn text_says_what_platforms_are_worth() {
        let weak = to_text(&blank());
        assert!(weak.contains("dev (NOT-TRUSTED: ") && weak.contains("stub (a constant of the build"));
        assert!(weak.contains("none (an old copy") && weak.contains("blank (nobody owns"));
        let strong = InfoReply {
            huk: Huk::Unique,
            rollback_protection: RollbackProtection::Rpmb,
            profile: Profile::Production,
            ..blank()
        };
        let strong = to_text(&strong);
        assert!(strong.contains("rpmb (an old copy of the storage is recognised"));
        assert!(strong.contains("unique (no other device") && !strong.contains("NOT-TRUSTED"));
    }

    #[test]
    fn destroyed_keys_are_none() {
        let lifecycle = Lifecycle::Decommissioned;
        let dead = InfoReply { lifecycle, device_key: None, attestation_key: None, ..blank() };
        let value = to_json(&dead);
        assert_eq!(value["lifecycle"], "decommissioned");
        assert!(value["device_key_sha256"].is_null() && value["attestation_key_sha256"].is_null());
        let text = to_text(&dead);
        assert!(text.lines().any(|line| line.starts_with("device key sha256 ") && line.ends_with(" none")));
    }
}

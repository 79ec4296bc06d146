//! `trustbox info`.

use std::fmt::Write;

use serde_json::{Value, json};
use trustbox_api::command::Lifecycle;
use trustbox_api::message::{Huk, InfoReply, Profile, RollbackProtection, Version};
use trustbox_client::TrustBox;

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
        "device_key_sha256": info.device_key.to_string(),
        "lifecycle": lifecycle(info.lifecycle),
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
        "class_keys": class_keys,
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
        ("lifecycle", lifecycle(info.lifecycle).to_owned()),
        ("profile", explained(profile(info.profile), profile_meaning(info.profile))),
        ("hardware unique key", explained(huk(info.huk), huk_meaning(info.huk))),
        ("rollback protection", explained_rollback(info.rollback_protection)),
        ("versions", versions),
        ("provisioning authority", info.provisioning_authority.to_string()),
        ("owner root", or_none(info.owner_root)),
        ("device key sha256", info.device_key.to_string()),
        ("class keys", keys),
    ];
    fields.iter().fold(String::new(), |mut text, (field, value)| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{field:<24}{value}");
        text
    })
}

pub(crate) fn lifecycle(lifecycle: Lifecycle) -> &'static str {
    match lifecycle {
        Lifecycle::Blank => "blank",
        Lifecycle::Provisioned => "provisioned",
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
        Huk::Unique => "",
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
        RollbackProtection::None => "an old copy of the whole storage is accepted",
        RollbackProtection::Rpmb => "",
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
    use trustbox_api::Bytes;
    use trustbox_api::key::KeyRef;

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
            device_key: Bytes([0xab; 32]),
            owner_root: None,
            provisioning_authority: Bytes([2; 32]),
            class_keys: Default::default(),
        }
    }

    #[test]
    fn json_has_the_documented_fields() {
        let mut info = blank();
        info.class_keys.push(KeyRef::new("class", 2).unwrap()).unwrap();
        let value = to_json(&info);
        assert_eq!(value["device_id"], "01".repeat(32));
        assert_eq!(value["device_key_sha256"], "ab".repeat(32));
        assert_eq!((&value["lifecycle"], &value["huk"]), (&json!("blank"), &json!("stub")));
        assert_eq!((&value["rollback_protection"], &value["profile"]), (&json!("none"), &json!("dev")));
        assert_eq!(value["versions"], json!({"ta": "0.1.0", "optee": "4.10.0", "client": CLIENT_VERSION}));
        assert_eq!(value["owner_root"], Value::Null);
        assert_eq!(value["class_keys"], json!([{"name": "class", "version": 2}]));
    }

    #[test]
    fn text_warns_of_weak_platforms_only() {
        let weak = to_text(&blank());
        assert!(
            weak.contains("dev (NOT-TRUSTED: ")
                && weak.contains("stub (")
                && weak.contains("none (an old copy")
        );
        let strong = InfoReply {
            huk: Huk::Unique,
            rollback_protection: RollbackProtection::Rpmb,
            profile: Profile::Production,
            ..blank()
        };
        assert!(!to_text(&strong).contains('('));
    }
}

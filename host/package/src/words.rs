//! How the parts of statements and of the activity log are called, in JSON and for people, by every tool.

use serde_json::{Value, json};
use trustbox_api::statement::{Kind, Policy, Revoked};

/// A kind of statement.
pub const fn kind(kind: Kind) -> &'static str {
    kind.name()
}

/// Something revoked.
pub fn revoked(item: &Revoked) -> Value {
    match item {
        Revoked::Key(id) => json!({"key": id.to_string()}),
        Revoked::Enclave { uuid, floor: u32::MAX } => json!({"enclave": uuid.to_string(), "versions": "all"}),
        Revoked::Enclave { uuid, floor } => json!({"enclave": uuid.to_string(), "versions_below": floor}),
        Revoked::ClassKey { name, floor } => json!({"class_key": name.as_str(), "versions_below": floor}),
    }
}

/// What the owner allows.
pub fn policy(policy: &Policy) -> Value {
    let legacy: Vec<String> = policy.legacy.iter().map(ToString::to_string).collect();
    json!({"legacy": legacy, "max_enclaves": policy.max_enclaves})
}

/// A text with nothing in it that moves a terminal's cursor.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A value for people, printable: `field value field value`, items separated by commas.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => printable(text),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(field, value)| format!("{} {}", spaced(field), text(value)));
            fields.collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    }
}

/// A field's name for people.
pub fn spaced(field: &str) -> String {
    field.replace('_', " ")
}

#[cfg(test)]
mod tests {
    use trustbox_api::key::KeyName;
    use trustbox_api::{Bytes, Uuid};

    use super::*;

    #[test]
    fn revoked_items_read_well() {
        let (uuid, name) = (Uuid(Bytes([1; 16])), KeyName::from("meter").unwrap());
        let shown = |item| text(&revoked(&item));
        assert_eq!(shown(Revoked::Key(Bytes([0xab; 32]))), format!("key {}", "ab".repeat(32)));
        assert_eq!(shown(Revoked::Enclave { uuid, floor: 4 }), format!("enclave {uuid} versions below 4"));
        assert_eq!(shown(Revoked::Enclave { uuid, floor: u32::MAX }), format!("enclave {uuid} versions all"));
        assert_eq!(shown(Revoked::ClassKey { name, floor: 2 }), "class key meter versions below 2");
    }

    #[test]
    fn policies_read_well() {
        let mut allowed = Policy::default();
        assert_eq!(text(&policy(&allowed)), "legacy none max enclaves 16");
        allowed.legacy.try_push(Uuid(Bytes([1; 16]))).unwrap();
        allowed.legacy.try_push(Uuid(Bytes([2; 16]))).unwrap();
        assert_eq!(policy(&allowed)["legacy"][1], "02020202-0202-0202-0202-020202020202");
        assert!(text(&policy(&allowed)).contains("0101, 0202"));
    }

    #[test]
    fn no_text_moves_the_cursor() {
        assert_eq!(text(&json!({"note": "a\x1b[2J\u{9b}\n"})), "note a\u{fffd}[2J\u{fffd}\u{fffd}");
    }
}

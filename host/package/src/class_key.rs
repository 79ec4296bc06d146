//! A class key: the AES-256 key that devices of one class share and that wraps content keys. The device needs its name only.

use alloc::format;
use alloc::string::{String, ToString};

#[cfg(feature = "seal")]
use trustbox_api::Secret;
use trustbox_api::key::KeyRef;

/// A class key; wiped when dropped, never shown or compared.
#[cfg(feature = "seal")]
#[derive(Clone)]
pub struct ClassKey(Secret<32>);

#[cfg(feature = "seal")]
impl ClassKey {
    /// Takes over a key.
    pub fn new(key: Secret<32>) -> Self {
        Self(key)
    }

    /// A fresh random key.
    pub fn generate() -> Result<Self, getrandom::Error> {
        random_secret().map(Self)
    }

    /// The key itself, to store it or to wrap it for a device.
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }
}

/// The name of a class key in key stores, JSON manifests and on command lines: `NAME` is version 1, later versions
/// are `NAME@VERSION`.
pub fn name(key: &KeyRef) -> String {
    match key.version {
        1 => key.name.to_string(),
        version => format!("{}@{version}", key.name),
    }
}

/// The class key of a name as [`name`] writes it; `NAME@1` is also understood.
pub fn parse_name(text: &str) -> Option<KeyRef> {
    let (name, version) = text.split_once('@').unwrap_or((text, "1"));
    let digits = version.bytes().all(|byte| byte.is_ascii_digit());
    let version = version.parse().ok().filter(|version| digits && *version > 0)?;
    KeyRef::new(name, version).filter(|_| !name.is_empty())
}

#[cfg(feature = "seal")]
pub(crate) fn random_secret() -> Result<Secret<32>, getrandom::Error> {
    let mut secret = Secret::zero();
    getrandom::fill(secret.expose_mut())?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use trustbox_api::limits::MAX_KEY_NAME;

    use super::*;

    #[test]
    fn names_round_trip() {
        for (text, key, version) in [("meter", "meter", 1), ("meter@2", "meter", 2)] {
            let parsed = parse_name(text).unwrap();
            assert_eq!((parsed.name.as_str(), parsed.version), (key, version));
            assert_eq!(name(&parsed), text);
        }
        assert_eq!(parse_name("meter@1"), parse_name("meter"));
        for bad in
            ["", "@2", "a@", "a@0", "a@-1", "a@+1", "a@2@3", "a@4294967296", &"n".repeat(MAX_KEY_NAME + 1)]
        {
            assert_eq!(parse_name(bad), None, "{bad}");
        }
    }
}

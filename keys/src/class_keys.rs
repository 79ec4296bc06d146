//! The store of class keys: a JSON object of name to base64 key, as the original's file key store.
//!
//! ```json
//! {"meter": "<base64 of 32 bytes>", "meter@2": "…"}
//! ```
//!
//! `NAME` is version 1 of a key, so that a store of the original is one of ours; later versions are `NAME@VERSION`.
//! The file is secret: mode 600, refused otherwise.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, anyhow, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use trustbox_api::Secret;
use trustbox_api::key::KeyRef;
use trustbox_api::limits::MAX_KEY_NAME;
use trustbox_package::ClassKey;
use trustbox_package::class_key::{name, parse_name};
use zeroize::Zeroizing;

use crate::files;

/// Class keys by name and version.
#[derive(Default)]
pub struct ClassKeys(BTreeMap<(String, u32), ClassKey>);

impl ClassKeys {
    /// Reads a store.
    pub fn load(path: &Path) -> Result<Self> {
        Self::from_json(&files::read_private(path)?).map_err(|error| anyhow!("{}: {error}", path.display()))
    }

    /// Writes the store, atomically.
    pub fn store(&self, path: &Path) -> Result<()> {
        files::write_private(path, &self.to_json()?)
    }

    /// Reads the JSON text of a store.
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        // The parser's words are not shown: they could quote a key.
        let entries: BTreeMap<String, Zeroizing<String>> = serde_json::from_slice(bytes).map_err(|error| {
            anyhow!(
                "line {}: not a JSON object of name to base64 key\nhelp: see the format in the documentation",
                error.line()
            )
        })?;
        let mut keys = Self::default();
        for (entry, text) in &entries {
            let key = parse_entry(entry, text)?;
            keys.insert(&key.0, key.1)?;
        }
        Ok(keys)
    }

    /// The JSON text of the store.
    pub fn to_json(&self) -> Result<Zeroizing<Vec<u8>>> {
        let entries: BTreeMap<String, Zeroizing<String>> = self
            .0
            .iter()
            .filter_map(|((name, version), key)| Some((KeyRef::new(name, *version)?, key)))
            .map(|(key_ref, key)| (name(&key_ref), Zeroizing::new(BASE64_STANDARD.encode(key.expose()))))
            .collect();
        let mut text = Zeroizing::new(serde_json::to_vec_pretty(&entries)?);
        text.push(b'\n');
        Ok(text)
    }

    /// A key.
    pub fn get(&self, key: &KeyRef) -> Option<&ClassKey> {
        self.0.get(&(key.name.to_string(), key.version))
    }

    /// A key, or an error that lists what there is.
    pub fn require(&self, key: &KeyRef) -> Result<&ClassKey> {
        let known = || self.refs().iter().map(name).collect::<Vec<_>>().join(", ");
        self.get(key).ok_or_else(|| {
            anyhow!("no class key {} in the store\nhelp: the store has: {}", name(key), known())
        })
    }

    /// Adds a key; one that is there already is never replaced.
    pub fn insert(&mut self, key: &KeyRef, value: ClassKey) -> Result<()> {
        match self.get(key) {
            Some(_) => bail!("class key {} is there already\nhelp: add a new version", name(key)),
            None => self.0.insert((key.name.to_string(), key.version), value),
        };
        Ok(())
    }

    /// Names and versions of all keys.
    pub fn refs(&self) -> Vec<KeyRef> {
        self.0.keys().filter_map(|(name, version)| KeyRef::new(name, *version)).collect()
    }
}

/// A class key as named on a command line, `NAME` or `NAME@VERSION`.
pub fn parse_key_ref(text: &str) -> Result<KeyRef> {
    parse_name(text).ok_or_else(|| {
        anyhow!("not a class key: {text}\nhelp: NAME of 1 to {MAX_KEY_NAME} bytes, or NAME@VERSION from 1")
    })
}

fn parse_entry(entry: &str, text: &str) -> Result<(KeyRef, ClassKey)> {
    let key = parse_key_ref(entry)?;
    let bytes = Zeroizing::new(BASE64_STANDARD.decode(text).unwrap_or_default());
    let mut secret = Secret::zero();
    if bytes.len() != secret.expose().len() {
        bail!("class key {entry} is not the base64 of 32 bytes\nhelp: openssl rand -base64 32 makes one");
    }
    secret.expose_mut().copy_from_slice(&bytes);
    Ok((key, ClassKey::new(secret)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_ref(text: &str) -> KeyRef {
        parse_key_ref(text).unwrap()
    }

    #[test]
    fn store_round_trips_and_orders_versions() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.json");
        let mut keys = ClassKeys::default();
        for text in ["meter@10", "meter", "meter@2", "a"] {
            keys.insert(&key_ref(text), ClassKey::generate().unwrap()).unwrap();
        }
        keys.store(&path).unwrap();
        let read = ClassKeys::load(&path).unwrap();
        let names: Vec<String> = read.refs().iter().map(name).collect();
        assert_eq!(names, ["a", "meter", "meter@2", "meter@10"]);
        let same = |text| {
            keys.require(&key_ref(text)).unwrap().expose() == read.require(&key_ref(text)).unwrap().expose()
        };
        assert!(same("meter") && same("meter@10"));
        assert!(read.require(&key_ref("meter@3")).err().unwrap().to_string().contains("meter@2, meter@10"));
    }

    #[test]
    fn store_of_the_original_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.json");
        let text = format!(r#"{{"an-app-id":"{}"}}"#, BASE64_STANDARD.encode([7; 32]));
        files::write_private(&path, text.as_bytes()).unwrap();
        let keys = ClassKeys::load(&path).unwrap();
        assert_eq!(keys.require(&key_ref("an-app-id")).unwrap().expose(), &[7; 32]);
    }

    #[test]
    fn wrong_stores_are_refused_without_being_quoted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.json");
        let key = BASE64_STANDARD.encode([7; 32]);
        let short = BASE64_STANDARD.encode([7; 31]);
        for text in [
            format!("[\"{key}\"]"),
            format!("{{\"a\":\"{key}\""),
            format!("{{\"a\":\"{short}\"}}"),
            format!("{{\"a@0\":\"{key}\"}}"),
            format!("{{\"a\":\"{key}\",\"a@1\":\"{key}\"}}"),
            "{\"a\":7}".to_owned(),
        ] {
            files::write_private(&path, text.as_bytes()).unwrap();
            let error = ClassKeys::load(&path).err().unwrap().to_string();
            assert!(error.contains("help: ") && !error.contains(&short[..20]), "{error}");
        }
    }
}

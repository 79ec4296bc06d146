//! PKCS#11 URIs (RFC 7512), as far as one key needs them: which module, which token, which object, and where the PIN is.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Error, Result, bail, ensure};

/// What such a URI starts with.
pub const SCHEME: &str = "pkcs11:";
/// The environment variable with the module's path, where the URI has none.
pub const MODULE_VARIABLE: &str = "TRUSTBOX_PKCS11_MODULE";
/// The environment variable with the PIN, where the URI names no file.
pub const PIN_VARIABLE: &str = "TRUSTBOX_PKCS11_PIN";

/// A key in a token: `pkcs11:token=T;object=O;id=%01?module-path=/usr/lib/….so&pin-source=file:/path`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Uri {
    /// Label of the token; the only one there is, where it is missing.
    pub token: Option<String>,
    /// Serial number of the token.
    pub serial: Option<String>,
    /// Label of the key.
    pub object: Option<String>,
    /// Id of the key.
    pub id: Option<Vec<u8>>,
    module: Option<PathBuf>,
    pin_file: Option<PathBuf>,
    text: String,
}

impl Uri {
    /// The module's path, from the URI or from the environment.
    pub fn module(&self) -> Result<PathBuf> {
        let named = self.module.clone().or_else(|| env::var_os(MODULE_VARIABLE).map(PathBuf::from));
        named.with_context(|| {
            format!(
                "{self}: no PKCS#11 module is named\nhelp: add ?module-path=FILE.so, or set {MODULE_VARIABLE}"
            )
        })
    }

    /// Another object of the same token.
    pub fn of_object(&self, label: &str) -> Self {
        Self { object: Some(label.to_owned()), id: None, ..self.clone() }
    }

    /// The file with the PIN, if there is one.
    pub fn pin_file(&self) -> Option<&Path> {
        self.pin_file.as_deref()
    }

    fn set(&mut self, name: &str, value: Vec<u8>) -> Result<()> {
        let text = || String::from_utf8(value.clone()).with_context(|| format!("{name} is not UTF-8"));
        match name {
            "token" => self.token = Some(text()?),
            "serial" => self.serial = Some(text()?),
            "object" => self.object = Some(text()?),
            "id" => self.id = Some(value),
            "module-path" => self.module = Some(text()?.into()),
            "pin-source" => self.pin_file = Some(text()?.trim_start_matches("file:").into()),
            "pin-value" => bail!(
                "a PIN on a command line or in a file of settings is not secret\nhelp: name a file with pin-source, or set {PIN_VARIABLE}"
            ),
            // What a key is follows from what it is used for; who made a token does not matter.
            "type" | "manufacturer" | "model" => {}
            other => bail!(
                "attribute {other} is not known\nhelp: token, serial, object, id, module-path, pin-source"
            ),
        }
        Ok(())
    }
}

impl FromStr for Uri {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let body = text.strip_prefix(SCHEME).with_context(|| format!("does not start with {SCHEME}"))?;
        let (path, query) = body.split_once('?').unwrap_or((body, ""));
        let mut uri = Self { text: format!("{SCHEME}{path}"), ..Self::default() };
        let attributes = path.split(';').chain(query.split('&')).filter(|attribute| !attribute.is_empty());
        let mut seen = Vec::new();
        for attribute in attributes {
            let (name, value) = attribute.split_once('=').context("an attribute has no value")?;
            ensure!(!seen.contains(&name), "attribute {name} is there twice");
            seen.push(name);
            uri.set(name, decoded(value)?)?;
        }
        ensure!(
            uri.object.is_some() || uri.id.is_some(),
            "no key is named\nhelp: add object=LABEL or id=%01"
        );
        Ok(uri)
    }
}

/// The path only: what is behind it says where secrets are.
impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Percent-encoding undone.
fn decoded(text: &str) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        let (high, low) = (digit(bytes.next()), digit(bytes.next()));
        let (Some(high), Some(low)) = (high, low) else {
            bail!("% is not followed by two hexadecimal digits")
        };
        out.push((high << 4 | low) as u8);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_read() {
        let text = "pkcs11:token=My%20Token;serial=1;object=key;id=%01%aB;type=private?module-path=/m.so&pin-source=file:/p";
        let uri: Uri = text.parse().unwrap();
        assert_eq!((uri.token.as_deref(), uri.serial.as_deref()), (Some("My Token"), Some("1")));
        assert_eq!((uri.object.as_deref(), uri.id.as_deref()), (Some("key"), Some(&[1, 0xab][..])));
        assert_eq!(uri.module().unwrap(), Path::new("/m.so"));
        assert_eq!(uri.pin_file(), Some(Path::new("/p")));
        assert_eq!(uri.to_string(), "pkcs11:token=My%20Token;serial=1;object=key;id=%01%aB;type=private");
        assert_eq!(format!("{uri:?}"), uri.to_string());
    }

    #[test]
    fn wrong_ones_say_why() {
        for (text, why) in [
            ("file:x", "does not start with pkcs11:"),
            ("pkcs11:token=t", "no key is named"),
            ("pkcs11:object", "an attribute has no value"),
            ("pkcs11:object=%4", "hexadecimal digits"),
            ("pkcs11:object=%ff", "object is not UTF-8"),
            ("pkcs11:object=a;object=b", "attribute object is there twice"),
            ("pkcs11:object=a;slot-id=3", "attribute slot-id is not known"),
            ("pkcs11:object=a?pin-value=1234", "is not secret"),
        ] {
            let error = text.parse::<Uri>().unwrap_err().to_string();
            assert!(error.contains(why) && !error.contains("1234"), "{error}");
        }
    }
}

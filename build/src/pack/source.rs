//! Where keys come from: a file or a PKCS#11 token. What is not named is a development key, with a note.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Error, Result, bail};
use trustbox_api::key::{KeyId, KeyRef};
use trustbox_keys::client::ServiceKey;
use trustbox_keys::{ClassKeys, DevKeys, dev, files};
use trustbox_package::original::Rs256;
use trustbox_package::seal::{Aes256, WrapContentKey};
use trustbox_package::sign::{Es256, public_key};
use trustbox_pkcs11::{AesKey, EcKey, RsaKey, SCHEME, Uri};

use crate::builder::Repo;
use crate::pack::settings::Settings;
use crate::usage::Usage;
use crate::{sign_ta, ui};

/// Where a key is.
#[derive(Clone)]
pub(crate) enum Source {
    /// In a file.
    File(PathBuf),
    /// In a PKCS#11 token.
    Token(Uri),
}

impl Source {
    /// The same, with a relative path taken from `folder`.
    pub(crate) fn below(self, folder: &Path) -> Self {
        match self {
            Self::File(path) => Self::File(folder.join(path)),
            other => other,
        }
    }
}

impl FromStr for Source {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.starts_with(SCHEME) {
            return Ok(Self::Token(text.parse()?));
        }
        if text.starts_with("http://") || text.starts_with("https://") {
            bail!(
                "{text}: no key comes out of a key service\nhelp: --key-service has it wrap with a class key that stays there"
            );
        }
        Ok(Self::File(text.into()))
    }
}

/// The publisher's key, and the owner root under which it publishes.
pub(crate) fn publisher(settings: &Settings) -> Result<(Box<dyn Es256>, KeyId)> {
    let key: Box<dyn Es256> = match &settings.publisher {
        Some(Source::File(path)) => Box::new(files::load_private(path)?),
        Some(Source::Token(uri)) => Box::new(EcKey::open(uri)?),
        None => Box::new(stand_in("publisher key")?.publisher),
    };
    let owner_root = match &settings.owner_root {
        Some(path) => files::load_public(path)?,
        None => public_key(stand_in("owner root")?.owner_root.verifying_key()),
    };
    Ok((key, owner_root.id()))
}

/// What wraps the content key.
pub(crate) fn wrapping_key(settings: &Settings, key: &KeyRef) -> Result<Box<dyn WrapContentKey>> {
    match (&settings.key_service, &settings.identity) {
        (Some(_), _) if settings.class_keys.is_some() => {
            Err(Usage("key-service and class-keys exclude each other\nhelp: leave one out".to_owned()).into())
        }
        (Some(url), Some(identity)) => Ok(Box::new(ServiceKey::new(url, identity, *key))),
        (None, None) => Ok(Box::new(class_key(settings, key)?)),
        _ => Err(Usage("key-service and identity go together\nhelp: name both".to_owned()).into()),
    }
}

/// A class key that encrypts here or in a token.
pub(crate) fn class_key(settings: &Settings, key: &KeyRef) -> Result<Box<dyn Aes256>> {
    Ok(match &settings.class_keys {
        Some(Source::File(path)) => Box::new(ClassKeys::load(path)?.require(key)?.clone()),
        Some(Source::Token(uri)) => Box::new(AesKey::open(uri)?),
        None => Box::new(stand_in("class key")?.class_keys.require(key)?.clone()),
    })
}

/// The key that signs TAs for OP-TEE.
pub(crate) fn ta_key(settings: &Settings) -> Result<sign_ta::SigningKey> {
    match &settings.ta_key {
        Some(Source::File(path)) => sign_ta::SigningKey::load(path),
        Some(Source::Token(uri)) => Ok(sign_ta::SigningKey::in_token(RsaKey::open(uri)?)),
        None => {
            not_trusted("TA signing key");
            sign_ta::SigningKey::load_or_generate(&Repo::find()?.dev_keys().join("ta-signing.pem"))
        }
    }
}

/// The key that signs packages of the original. There is no development key for it.
pub(crate) fn original_signer(settings: &Settings) -> Result<Box<dyn Rs256>> {
    match settings.signer.as_ref().context("no key to sign with\nhelp: --signer names an RSA-2048 key")? {
        Source::File(path) => Ok(Box::new(sign_ta::SigningKey::load(path)?)),
        Source::Token(uri) => Ok(Box::new(RsaKey::open(uri)?)),
    }
}

/// Development keys are used only in place of what is not named.
fn stand_in(what: &str) -> Result<DevKeys> {
    not_trusted(what);
    dev::ensure(&Repo::find()?.dev_keys())
}

fn not_trusted(what: &str) {
    ui::line(&format!("NOT-TRUSTED: {what} is a development key"));
}

/// A certificate, which a package of the original needs.
pub(crate) fn certificate(settings: &Settings) -> Result<Vec<u8>> {
    match &settings.certificate {
        Some(path) => crate::input::read(path, trustbox_package::layout::MAX_CERTIFICATE as u64),
        None => bail!("no certificate\nhelp: --certificate names one of the key that signs, in PEM"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_told_by_how_it_begins() {
        let shown = |text: &str| match text.parse::<Source>().unwrap() {
            Source::File(path) => format!("file {}", path.display()),
            Source::Token(uri) => format!("token {uri}"),
        };
        assert_eq!(shown("keys.json"), "file keys.json");
        assert_eq!(shown("pkcs11:object=a?pin-source=file:/p"), "token pkcs11:object=a");
        assert!("pkcs11:".parse::<Source>().is_err());
        let error = "https://keys/get".parse::<Source>().err().unwrap().to_string();
        assert!(error.contains("no key comes out of a key service\nhelp: --key-service"), "{error}");
    }
}

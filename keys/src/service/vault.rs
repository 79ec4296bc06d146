//! Where class keys are: sealed in the database under one key of this service, or inside a PKCS#11 token. Nothing else in the
//! service sees a key; what leaves here is wrapped for a device, or a content key that it wraps.
//!
//! What the database keeps of a version, its material, is a sealed key (base64 of nonce, AES-256-GCM ciphertext and tag, with
//! name and version as additional data) or the label of a key in the token.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use rsa::RsaPublicKey;
use rsa::traits::PublicKeyParts;
use trustbox_api::key::KeyRef;
use trustbox_api::manifest::WrappedKey;
use trustbox_api::{Bytes, Secret};
use trustbox_package::ClassKey;
use trustbox_package::class_key;
use trustbox_package::seal::WrapContentKey;
use trustbox_pkcs11::{KeySession, Padding, TokenError, Uri};
use zeroize::Zeroizing;

use super::azure::Azure;
use super::problem::{Answer, Reason, Refusal};
use crate::issue;

/// What additional data of a sealed key begins with.
const DOMAIN: &[u8] = b"TrustBox class key\0";
/// Sessions with a token at most.
const SESSIONS: usize = 8;
/// How long a request waits for one.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where class keys are.
#[derive(Clone)]
pub enum Vault {
    /// Sealed in the database.
    Sealed(Arc<Sealed>),
    /// In a token.
    Token(Arc<Token>),
    /// In the database, wrapped by a key in Azure. Not tried live.
    Azure(Arc<Azure>),
}

impl Vault {
    /// A vault whose keys are sealed under a key of 32 bytes.
    pub fn sealed(key: &[u8]) -> Result<Self> {
        ensure!(key.len() == 32, "the store key has {} bytes, expected 32", key.len());
        let key = UnboundKey::new(&AES_256_GCM, key).ok().context("the store key is not good")?;
        Ok(Self::Sealed(Arc::new(Sealed { key: LessSafeKey::new(key) })))
    }

    /// A vault in a token; labels begin with the object that the URI names.
    pub fn token(uri: &Uri, exportable: bool) -> Result<Self> {
        let token = Token {
            uri: uri.clone(),
            exportable,
            idle: Mutex::default(),
            free: tokio::sync::Semaphore::new(SESSIONS),
        };
        let session = KeySession::open(uri)?;
        token.give_back(session);
        Ok(Self::Token(Arc::new(token)))
    }

    /// Makes a key; returns its material.
    pub async fn create(&self, key: &KeyRef) -> Answer<String> {
        match self {
            Self::Sealed(sealed) => sealed.seal(key, &fresh()?),
            Self::Token(token) => {
                let (label, exportable) = (token.label(key), token.exportable);
                token.run(move |session| session.generate(&label, exportable).map(|()| label)).await
            }
            Self::Azure(azure) => azure.wrap(&fresh()?).await.map_err(azure_failed),
        }
    }

    /// Takes over a key that was made elsewhere; returns its material.
    pub async fn import(&self, key: &KeyRef, value: &ClassKey) -> Answer<String> {
        match self {
            Self::Sealed(sealed) => sealed.seal(key, value),
            Self::Azure(azure) => azure.wrap(value).await.map_err(azure_failed),
            Self::Token(_) => Err(Refusal::new(Reason::Mechanism, "keys of a token are made in the token")),
        }
    }

    /// Wraps a key for a device.
    pub async fn wrap(
        &self,
        key: &KeyRef,
        material: &str,
        to: RsaPublicKey,
        padding: Padding,
    ) -> Answer<Vec<u8>> {
        match self {
            // Quicker than another thread would be found for it.
            Self::Sealed(sealed) => wrap(&sealed.open(key, material)?, &to, padding),
            Self::Azure(azure) => wrap(&unwrapped(azure, material).await?, &to, padding),
            Self::Token(token) => {
                let (label, exportable) = (material.to_owned(), token.exportable);
                token.run(move |session| wrap_in(session, &label, &to, padding, exportable)).await
            }
        }
    }

    /// Wraps a content key under a class key, with a nonce that nobody else chose.
    pub async fn wrap_content_key(
        &self,
        key: &KeyRef,
        material: &str,
        additional: Vec<u8>,
        content_key: Secret<32>,
    ) -> Answer<WrappedKey> {
        let mut nonce = Bytes::default();
        getrandom::fill(&mut nonce.0).map_err(|_| Refusal::new(Reason::Vault, "no random numbers"))?;
        let value = match self {
            Self::Sealed(sealed) => sealed.open(key, material)?,
            Self::Azure(azure) => unwrapped(azure, material).await?,
            Self::Token(token) => {
                let label = material.to_owned();
                let wrap = move |session: &KeySession| {
                    session.wrap_content_key(&label, &nonce, &additional, &content_key)
                };
                return token.run(wrap).await;
            }
        };
        let wrapped = value.wrap(&nonce, &additional, &content_key);
        wrapped.map_err(|error| Refusal::new(Reason::Vault, error.to_string()))
    }

    /// Destroys a key where it is not the database that has it.
    pub async fn destroy(&self, material: &str) -> Answer<()> {
        match self {
            Self::Sealed(_) | Self::Azure(_) => Ok(()),
            Self::Token(token) => {
                let label = material.to_owned();
                let destroyed = token.run(move |session| match session.destroy(&label) {
                    // Somebody was here before, and was cut off before it was written down.
                    Err(TokenError::Missing(_)) => Ok(()),
                    other => other,
                });
                destroyed.await
            }
        }
    }

    /// Whether keys can be used now.
    pub async fn check(&self) -> Answer<()> {
        match self {
            Self::Sealed(_) | Self::Azure(_) => Ok(()),
            Self::Token(token) => token.run(|session| session.check()).await,
        }
    }
}

fn fresh() -> Answer<ClassKey> {
    ClassKey::generate().map_err(|_| Refusal::new(Reason::Vault, "no random numbers"))
}

async fn unwrapped(azure: &Azure, material: &str) -> Answer<ClassKey> {
    let value = azure.unwrap(material).await.map_err(azure_failed)?;
    let damaged = || Refusal::new(Reason::Vault, "what Azure unwrapped is not a class key");
    secret(&value).map(ClassKey::new).ok_or_else(damaged)
}

fn azure_failed(error: anyhow::Error) -> Refusal {
    tracing::error!(error = %format!("{error:#}"), "azure");
    Refusal::new(Reason::Vault, "the vault in Azure does not answer as it should")
}

/// Keys sealed in the database.
pub struct Sealed {
    key: LessSafeKey,
}

impl Sealed {
    fn seal(&self, key: &KeyRef, value: &ClassKey) -> Answer<String> {
        let failed = || Refusal::new(Reason::Vault, "sealing failed");
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|_| failed())?;
        let mut bytes = value.expose().to_vec();
        let sealed =
            self.key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad(key), &mut bytes);
        sealed.map_err(|_| failed())?;
        Ok(BASE64_STANDARD.encode([&nonce[..], &bytes].concat()))
    }

    fn open(&self, key: &KeyRef, material: &str) -> Answer<ClassKey> {
        let failed = || {
            Refusal::new(
                Reason::Vault,
                format!("key {} does not open with this store key", class_key::name(key)),
            )
        };
        let bytes = BASE64_STANDARD.decode(material).map_err(|_| failed())?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN).ok_or_else(failed)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| failed())?;
        let mut sealed = Zeroizing::new(sealed.to_vec());
        let opened = self.key.open_in_place(nonce, aad(key), &mut sealed).map_err(|_| failed())?;
        secret(opened).map(ClassKey::new).ok_or_else(failed)
    }
}

fn aad(key: &KeyRef) -> Aad<Vec<u8>> {
    Aad::from([DOMAIN, class_key::name(key).as_bytes()].concat())
}

/// A key of 32 bytes.
fn secret(bytes: &[u8]) -> Option<Secret<32>> {
    let mut secret = Secret::zero();
    if bytes.len() != secret.expose().len() {
        return None;
    }
    secret.expose_mut().copy_from_slice(bytes);
    Some(secret)
}

/// In this host's memory, with the public operation of the device's key.
fn wrap(value: &ClassKey, to: &RsaPublicKey, padding: Padding) -> Answer<Vec<u8>> {
    let wrapped = match padding {
        Padding::OaepSha256 => issue::wrap(to, value).map_err(|error| error.to_string()),
        Padding::Pkcs1v15 => super::compatibility::wrap(to, value),
    };
    wrapped.map_err(|error| Refusal::new(Reason::Vault, error))
}

/// Keys in a token.
pub struct Token {
    uri: Uri,
    exportable: bool,
    idle: Mutex<Vec<KeySession>>,
    free: tokio::sync::Semaphore,
}

impl Token {
    fn label(&self, key: &KeyRef) -> String {
        format!("{}:{}", self.uri.object.as_deref().unwrap_or("trustbox"), class_key::name(key))
    }

    fn give_back(&self, session: KeySession) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(session);
    }

    /// Works with a session of the pool. One that failed is not used again: a token that comes back gets new ones.
    async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&KeySession) -> Result<T, TokenError> + Send + 'static,
    ) -> Answer<T> {
        let gone = |what: String| Refusal::new(Reason::Vault, what);
        let permit = tokio::time::timeout(PATIENCE, self.free.acquire()).await;
        let _permit = permit
            .ok()
            .and_then(Result::ok)
            .ok_or_else(|| gone("all sessions with the token are busy".to_owned()))?;
        let token = Arc::clone(self);
        let worked = tokio::task::spawn_blocking(move || token.run_blocking(work));
        match worked.await.map_err(|_| gone("the token's module failed".to_owned()))? {
            Ok(done) => Ok(done),
            Err(TokenError::Mechanism(what)) => Err(Refusal::new(Reason::Mechanism, what)),
            Err(error) => {
                tracing::error!(error = %error, "token");
                Err(gone("the token does not answer, or lacks the key".to_owned()))
            }
        }
    }

    fn run_blocking<T>(
        &self,
        work: impl FnOnce(&KeySession) -> Result<T, TokenError>,
    ) -> Result<T, TokenError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let session = match idle {
            Some(session) => session,
            None => KeySession::open(&self.uri).map_err(|error| TokenError::Lost(format!("{error:#}")))?,
        };
        let done = work(&session);
        if !matches!(done, Err(TokenError::Lost(_))) {
            self.give_back(session);
        }
        done
    }
}

fn wrap_in(
    session: &KeySession,
    label: &str,
    to: &RsaPublicKey,
    padding: Padding,
    exportable: bool,
) -> Result<Vec<u8>, TokenError> {
    let (modulus, exponent) = (to.n().to_be_bytes_trimmed_vartime(), to.e().to_be_bytes_trimmed_vartime());
    match session.wrap(label, &modulus, &exponent, padding) {
        Err(TokenError::Mechanism(_)) if exportable => {
            let value =
                secret(&session.export(label)?).ok_or_else(|| TokenError::Missing(label.to_owned()))?;
            wrap(&ClassKey::new(value), to, padding).map_err(|refusal| TokenError::Mechanism(refusal.detail))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_keys_open_under_their_name_only() {
        let (vault, other) = (Vault::sealed(&[1; 32]).unwrap(), Vault::sealed(&[2; 32]).unwrap());
        let (Vault::Sealed(vault), Vault::Sealed(other)) = (vault, other) else { unreachable!() };
        let (key, value) = (KeyRef::new("a", 1).unwrap(), ClassKey::generate().unwrap());
        let material = vault.seal(&key, &value).unwrap();
        assert!(vault.open(&key, &material).unwrap().expose() == value.expose());
        assert!(vault.seal(&key, &value).unwrap() != material);
        for wrong in [KeyRef::new("a", 2), KeyRef::new("b", 1)] {
            assert!(vault.open(&wrong.unwrap(), &material).is_err());
        }
        assert!(other.open(&key, &material).is_err());
        assert!(vault.open(&key, "").is_err() && vault.open(&key, "!").is_err());
        assert!(Vault::sealed(&[1; 31]).is_err());
    }
}

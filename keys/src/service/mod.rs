//! The key-release service: gives class keys to devices that prove what they are, and writes down what it did.
//!
//! The way of a request: [`server`] (TLS, limits) → [`routes`] (role, rate) → [`release`], [`registry`], [`keys`],
//! [`revocation`] → [`store`] (change and audit record, one transaction) → answer. Class keys stay in the [`vault`].
//! The line's web [`page`] has an address of its own. Nothing is kept in the process that another instance would miss.

pub mod azure;
pub mod challenge;
pub mod compatibility;
pub mod config;
pub mod content_keys;
pub mod identity;
pub mod keys;
pub mod line;
pub mod metrics;
pub mod operations;
pub mod page;
pub mod problem;
pub mod registry;
pub mod release;
pub mod revocation;
pub mod routes;
pub mod server;
pub mod store;
pub mod tls;
pub mod vault;
pub mod verification;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse, Response};
use rustls::pki_types::CertificateDer;
use serde::de::DeserializeOwned;
use trustbox_api::Bytes as Octets;
use trustbox_api::PublicKey;
use trustbox_api::key::KeyId;
use trustbox_package::request::parse_hex;
use trustbox_package::sign::Es256;
use trustbox_pkcs11::{EcKey, Uri};

use crate::ceremony::protect;
use crate::files;
use challenge::Challenger;
use config::{Config, VaultConfig};
use metrics::Metrics;
use problem::{Answer, Reason, Refusal};
use store::change::Event;
use store::writer::Writer;
use store::{DeviceRow, KeyRow, Store};
use vault::Vault;

/// Everything a request needs.
pub struct Service {
    config: Config,
    store: Store,
    writer: Writer,
    vault: Vault,
    challenger: Challenger,
    releaser: Releaser,
    owner_root: KeyId,
    /// Whose revocations are published, the owner root among them.
    revokers: Vec<PublicKey>,
    factory: Vec<CertificateDer<'static>>,
    /// The key of the factory's CA, which signs reports and vouchers.
    factory_key: Option<PublicKey>,
    metrics: Metrics,
}

/// The releaser's key.
#[derive(Clone)]
enum Releaser {
    Memory(Arc<crate::SigningKey>),
    Token(Arc<std::sync::Mutex<EcKey>>),
}

impl Releaser {
    fn bundle(
        &self,
        root: KeyId,
        asking: &crate::issue::Asking,
        key: &trustbox_api::key::KeyRef,
        wrapped: &[u8],
    ) -> Answer<Vec<u8>> {
        let bundle = match self {
            Self::Memory(signer) => crate::issue::bundle(signer.as_ref(), root, asking, key, wrapped),
            Self::Token(signer) => {
                let signer = signer.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                crate::issue::bundle(&*signer, root, asking, key, wrapped)
            }
        };
        bundle.map_err(|error| {
            tracing::error!(error = %error, "releaser");
            Refusal::new(Reason::Vault, "the releaser's key does not sign")
        })
    }
}

impl Service {
    /// Opens database, keys and vault.
    pub async fn open(config: Config) -> Result<Arc<Self>> {
        let store = Store::open(&config.database, config.connections).await?;
        let vault = open_vault(&config)?;
        let seed = fresh_seed()?;
        let seed = store.setting("challenge-key", &seed).await.map_err(failed)?;
        let seed: Octets<32> = parse_hex(&seed).context("the database's challenge key is damaged")?;
        let owner_root = files::load_public(&config.owner_root)?;
        let revokers =
            config.revokers.iter().map(|path| files::load_public(path)).collect::<Result<Vec<_>>>()?;
        let factory =
            config.factory_ca.as_deref().map(crate::tls::certificates).transpose()?.unwrap_or_default();
        Ok(Arc::new(Self {
            writer: Writer::start(&store, config.instance.clone()),
            challenger: Challenger::new(&seed.0),
            releaser: open_releaser(&config)?,
            owner_root: owner_root.id(),
            revokers: revokers.into_iter().chain([owner_root]).collect(),
            factory_key: config
                .factory_ca
                .as_deref()
                .and_then(|path| crate::factory::holder_of_ca(path).ok()),
            factory,
            metrics: Metrics::default(),
            store,
            vault,
            config,
        }))
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Id of the releaser, for the log.
    pub fn releaser_id(&self) -> KeyId {
        match &self.releaser {
            Releaser::Memory(key) => key.public_key().id(),
            Releaser::Token(key) => {
                key.lock().unwrap_or_else(std::sync::PoisonError::into_inner).public_key().id()
            }
        }
    }

    /// A device that must be in the registry.
    async fn device(&self, device_id: &str) -> Answer<DeviceRow> {
        let device = self.store.device(device_id).await?;
        device.ok_or_else(|| Refusal::new(Reason::NotFound, "no such device"))
    }

    /// The key of the factory's CA.
    fn factory_key(&self) -> Answer<PublicKey> {
        let none = || {
            Refusal::new(Reason::NotFound, "this service knows no factory with a P-256 key: see factory-ca")
        };
        self.factory_key.ok_or_else(none)
    }

    /// A key that must be there.
    async fn key(&self, name: &str) -> Answer<KeyRow> {
        let key = self.store.key(name).await?;
        key.ok_or_else(|| Refusal::new(Reason::NotFound, "no such key"))
    }

    /// A body within its limit.
    fn body(&self, body: Result<Bytes, BytesRejection>) -> Answer<Bytes> {
        body.map_err(|rejection| match rejection.into_response().status().as_u16() {
            413 => Refusal::new(Reason::TooLarge, format!("more than {} bytes", crate::protocol::MAX_BODY)),
            _ => Refusal::new(Reason::Malformed, "the body was cut off"),
        })
    }

    /// Writes down a refusal, then answers with it.
    async fn refuse(&self, refusal: Refusal, event: Event) -> Response {
        let recorded = refusal.recorded;
        let outcome = if refusal.reason.status() < 500 { "denied" } else { "failed" };
        let rule = refusal.rule.as_ref().map(|rule| format!(" (rule {rule})")).unwrap_or_default();
        let reason = format!("{}: {}{rule}", refusal.reason.name(), refusal.detail);
        let object = refusal.object.clone().unwrap_or(event.object);
        let note = Event { outcome, reason, object, ..event };
        // What cannot be written down is not answered, but with that.
        match if recorded { Ok(()) } else { self.writer.note(note).await } {
            Ok(()) => self.refuse_unrecorded(refusal),
            Err(lost) => self.refuse_unrecorded(lost),
        }
    }

    /// Answers with a refusal that is counted, but not in the audit log: there may be any number of them.
    fn refuse_unrecorded(&self, refusal: Refusal) -> Response {
        self.metrics.refused(refusal.reason.name());
        refusal.into_response()
    }
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A value of a body. The parser's words are kept back: they may quote what was sent.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Answer<T> {
    serde_json::from_slice(body).map_err(|error| {
        let what = match error.classify() {
            serde_json::error::Category::Data => "not of the form that /openapi.json describes",
            _ => "not JSON",
        };
        Refusal::new(Reason::Malformed, format!("line {}, column {}: {what}", error.line(), error.column()))
    })
}

/// The same, where no body says what is usual.
fn parse_or_default<T: Default + DeserializeOwned>(body: &[u8]) -> Answer<T> {
    if body.is_empty() { Ok(T::default()) } else { parse(body) }
}

fn damaged(what: &str) -> Refusal {
    Refusal::new(Reason::Internal, format!("a {what} in the database is damaged"))
}

/// An answer's refusal as an error of a program.
pub fn failed(refusal: Refusal) -> anyhow::Error {
    anyhow::anyhow!("{}: {}", refusal.reason.title(), refusal.detail)
}

/// 32 random bytes in hexadecimal digits.
fn fresh_seed() -> Result<String> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).context("no random numbers")?;
    Ok(Octets(seed).to_string())
}

/// The vault that a configuration names.
pub fn open_vault(config: &Config) -> Result<Vault> {
    match &config.vault {
        VaultConfig::Sealed { key } => {
            let passphrase = protect::passphrase_of_service(config.passphrase_file.as_deref())?;
            let bytes = protect::read(key, &passphrase)?;
            Vault::sealed(&bytes).with_context(|| key.display().to_string())
        }
        VaultConfig::Pkcs11 { uri, dangerously_exportable } => {
            if *dangerously_exportable {
                tracing::warn!("NOT-TRUSTED: class keys may leave the token");
            }
            Vault::token(&uri.parse::<Uri>()?, *dangerously_exportable)
        }
        VaultConfig::Azure { key, token, ca } => {
            tracing::warn!("the vault in Azure was never tried live");
            Ok(Vault::Azure(Arc::new(azure::Azure::new(key, token, ca)?)))
        }
    }
}

fn open_releaser(config: &Config) -> Result<Releaser> {
    if config.releaser.starts_with(trustbox_pkcs11::SCHEME) {
        let key = EcKey::open(&config.releaser.parse::<Uri>()?)?;
        return Ok(Releaser::Token(Arc::new(std::sync::Mutex::new(key))));
    }
    let passphrase = protect::passphrase_of_service(config.passphrase_file.as_deref())?;
    let path = std::path::Path::new(&config.releaser);
    Ok(Releaser::Memory(Arc::new(protect::read_signing_key(path, &passphrase)?)))
}

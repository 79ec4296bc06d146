//! The endpoint of the original, for devices of old: off unless the configuration has it, and then only for keys whose policy
//! says `compatibility`. The only place with PKCS#1 v1.5.
//!
//! `POST` of `{"key_name": …, "client_public_key": …}` gives `{"wrapped_key": …}`. Nobody proves anything here: whoever reaches
//! the address gets the key. No answer but a good one contains the word `wrapped_key`, since those clients look at nothing else.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use rsa::traits::PublicKeyParts;
use rsa::{Pkcs1v15Encrypt, RsaPublicKey};
use serde_json::json;
use trustbox_api::key::KeyRef;
use trustbox_package::ClassKey;
use trustbox_package::class_key::parse_name;
use trustbox_pkcs11::Padding;

use super::Service;
use super::config::Compatibility;
use super::problem::{Answer, Reason, Refusal};
use super::store::change::Event;
use crate::issue;
use crate::protocol::{CompatibilityRequest, MAX_BODY};

/// Bits of every client's key.
const BITS: u32 = 2048;

struct Endpoint {
    service: Arc<Service>,
    limiter: DefaultKeyedRateLimiter<IpAddr>,
}

/// The endpoint at its path.
pub fn router(service: &Arc<Service>, config: &Compatibility) -> Router {
    let limit = NonZeroU32::new(config.requests_per_minute).unwrap_or(NonZeroU32::MIN);
    let endpoint =
        Endpoint { service: Arc::clone(service), limiter: RateLimiter::keyed(Quota::per_minute(limit)) };
    Router::new()
        .route(&config.path, post(answer))
        .fallback(|| async { Refusal::new(Reason::NotFound, "no such path").into_response() })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(Arc::new(endpoint))
}

async fn answer(
    State(endpoint): State<Arc<Endpoint>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let service = &endpoint.service;
    if !super::routes::admitted(&endpoint.limiter, &peer.ip()) {
        return service.refuse_unrecorded(
            Refusal::new(Reason::RateLimit, "too many requests of this address").after(60),
        );
    }
    let event = |object: &str| Event {
        actor: format!("anybody:{}", peer.ip()),
        action: "compatibility-release",
        object: object.to_owned(),
        outcome: "allowed",
        reason: "PKCS#1 v1.5, to whoever asks".to_owned(),
    };
    let released = match service.body(body) {
        Ok(body) => release(service, &body, event).await,
        Err(refusal) => Err(refusal),
    };
    match released {
        Ok(wrapped) => axum::Json(json!({"wrapped_key": BASE64_STANDARD.encode(wrapped)})).into_response(),
        Err(refusal) => service.refuse(refusal, event("")).await,
    }
}

async fn release(service: &Service, body: &[u8], event: impl Fn(&str) -> Event) -> Answer<Vec<u8>> {
    let request: CompatibilityRequest = super::parse(body)?;
    let to = parse_client_key(&request.client_public_key)?;
    let name =
        parse_name(&request.key_name).ok_or_else(|| Refusal::new(Reason::NotFound, "no key of this name"))?;
    let (key, material) = find(service, &name).await?;
    let wrapped = service.vault.wrap(&key, &material, to, Padding::Pkcs1v15).await?;
    service.writer.note(event(&request.key_name)).await?;
    service.metrics.released(key.name.as_str(), "compatibility");
    Ok(wrapped)
}

/// A key that may be had here; what may not is as unknown as what is not there.
async fn find(service: &Service, name: &KeyRef) -> Answer<(KeyRef, String)> {
    let unknown = || Refusal::new(Reason::NotFound, "no key of this name is released here");
    let row = service.store.key(name.name.as_str()).await?.ok_or_else(unknown)?;
    let policy = row.policy()?;
    let version = row.versions.iter().find(|row| row.version == name.version && row.state == "active");
    let now = super::now();
    let good = policy.compatibility && policy.is_open(now);
    let version = version.filter(|version| good && !version.is_retired(now)).ok_or_else(unknown)?;
    Ok((*name, version.material.clone()))
}

/// RSA-2048 in padded standard base64, and nothing else: as the original's clients send it.
pub fn parse_client_key(text: &str) -> Answer<RsaPublicKey> {
    let bad = |what: &str| Refusal::new(Reason::DeviceKey, format!("client public key: {what}"));
    let der = BASE64_STANDARD.decode(text).map_err(|_| bad("not padded standard base64"))?;
    let key = issue::parse_device_key(&der).map_err(|error| bad(&error.to_string()))?;
    if key.n().bits_vartime() != BITS {
        return Err(bad("not of 2048 bits"));
    }
    Ok(key)
}

/// RSAES-PKCS1-v1_5 of a class key.
pub(super) fn wrap(to: &RsaPublicKey, value: &ClassKey) -> Result<Vec<u8>, String> {
    // Fails here, as an error, where the generator below would panic.
    getrandom::u32().map_err(|error| error.to_string())?;
    to.encrypt(&mut UnwrapErr(SysRng), Pkcs1v15Encrypt, value.expose()).map_err(|error| error.to_string())
}

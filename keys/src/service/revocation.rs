//! Revocations: statements of a revoker, published for devices, and told to those who asked to hear of them.
//!
//! The service only passes on: the device itself verifies signature, root and sequence. What is no revocation of this fleet is
//! refused here all the same, so that nobody publishes what no device would accept.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axum::Json;
use axum::body::Bytes as Body;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, Query, State};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::hmac::{HMAC_SHA256, Key, sign};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use trustbox_api::statement::{Envelope, FORMAT, Header, Kind, Revocation};
use trustbox_api::{Bytes, wire};
use trustbox_package::verify;

use super::identity::Client;
use super::problem::{Answer, Reason, Refusal};
use super::registry::{After, event};
use super::store::change::Change;
use super::{Service, now};
use crate::client::Connection;
use crate::protocol::RevocationStatement;
use crate::{files, tls};

/// Seconds between looks at what is to be delivered.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a webhook may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Seconds until the next attempt, at most.
const MAX_DELAY: u64 = 3600;
/// Header with the HMAC-SHA256 of the body, in hexadecimal digits.
const SIGNATURE: &str = "trustbox-signature";

/// `GET /v1/revocations`.
pub async fn list(State(service): State<Arc<Service>>, Query(after): Query<After>) -> Answer<Json<Value>> {
    let found = service.store.revocations(after.sequence()?).await?;
    let shown =
        found.iter().map(|(sequence, statement)| json!({"sequence": sequence, "statement": statement}));
    Ok(Json(json!({"revocations": shown.collect::<Vec<_>>()})))
}

/// `POST /v1/revocations`.
pub async fn publish(
    State(service): State<Arc<Service>>,
    Extension(client): Extension<Client>,
    body: Result<Body, BytesRejection>,
) -> Answer<Json<Value>> {
    let request: RevocationStatement = super::parse(&service.body(body)?)?;
    let bad = |what: &str| Refusal::new(Reason::Malformed, format!("statement: {what}"));
    let bytes = BASE64_STANDARD.decode(&request.statement).map_err(|_| bad("not standard base64"))?;
    let sequence = service.check_revocation(&bytes).map_err(bad)?;
    let statement = BASE64_STANDARD.encode(&bytes);
    if service.store.revocations(sequence.saturating_sub(1)).await?.first()
        == Some(&(sequence, statement.clone()))
    {
        return Ok(Json(json!({"sequence": sequence})));
    }
    let insert = "INSERT INTO revocations (sequence, statement, time) SELECT $1, $2, $3 \
        WHERE NOT EXISTS (SELECT 1 FROM revocations WHERE sequence >= $1)";
    let mut changes =
        vec![Change::new(insert, [sequence.into(), statement.as_str().into(), now().into()]).must()];
    let message = json!({"event": "revocation", "sequence": sequence, "statement": statement}).to_string();
    for hook in &service.config.webhooks {
        let id = Bytes::<32>(Sha256::digest(format!("{} {message}", hook.url)).into()).to_string();
        let insert = "INSERT INTO outbox (id, url, body, attempts, due) VALUES ($1, $2, $3, 0, 0) ON CONFLICT DO NOTHING";
        changes.push(Change::new(insert, [id.into(), hook.url.as_str().into(), message.as_str().into()]));
    }
    let event = event(&client, "publish-revocation", &format!("sequence {sequence}"), String::new());
    service.writer.change(event, changes).await?;
    Ok(Json(json!({"sequence": sequence})))
}

impl Service {
    /// The sequence of a revocation that devices of this owner accept.
    fn check_revocation(&self, bytes: &[u8]) -> Result<u64, &'static str> {
        let envelope: Envelope = wire::decode(bytes).map_err(|_| "not a statement")?;
        let (header, body) =
            wire::decode_prefix::<Header>(envelope.payload).map_err(|_| "not a statement")?;
        if header.kind != Kind::Revocation || header.format != FORMAT {
            return Err("not a revocation");
        }
        wire::decode::<Revocation>(body).map_err(|_| "not a revocation")?;
        if header.root != self.owner_root {
            return Err("of another owner");
        }
        if !self.revokers.contains(&envelope.signer) {
            return Err("not signed by a revoker that is configured, nor by the owner root");
        }
        if !verify::statement(&envelope) {
            return Err("the signature does not verify");
        }
        Ok(header.sequence)
    }
}

/// Delivers what webhooks are owed, each until it is taken, later and later.
pub(super) async fn deliver(service: Arc<Service>, mut stopped: watch::Receiver<bool>) {
    if service.config.webhooks.is_empty() {
        return;
    }
    loop {
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            _ = stopped.changed() => return,
        }
        let due = service.store.due(now()).await.unwrap_or_default();
        for owed in due {
            let result = service.call(&owed.url, &owed.body).await;
            if let Err(error) = &result {
                tracing::warn!(url = owed.url, error = %format!("{error:#}"), "webhook");
            }
            let delay = (1 << owed.attempts.clamp(0, 12)).min(MAX_DELAY);
            let _ = service.store.delivered(&owed.id, result.is_ok(), now() + delay).await;
        }
    }
}

impl Service {
    async fn call(&self, url: &str, body: &str) -> Result<()> {
        let hook = self
            .config
            .webhooks
            .iter()
            .find(|hook| hook.url == url)
            .context("it is not configured any more")?;
        let secret = files::read_private(&PathBuf::from(&hook.secret))?;
        let mac = sign(&Key::new(HMAC_SHA256, &secret), body.as_bytes());
        let mac: Bytes<32> = Bytes::from_slice(mac.as_ref()).context("no MAC")?;
        let tls = tls::client(&hook.ca, None)?;
        let called = async {
            let mut connection = Connection::open(url, tls).await?;
            connection.send("POST", None, body.as_bytes().to_vec(), &[(SIGNATURE, &mac.to_string())]).await
        };
        let answer = tokio::time::timeout(PATIENCE, called).await.context("it took too long")??;
        ensure!((200..300).contains(&answer.status), "it answers with status {}", answer.status);
        Ok(())
    }
}

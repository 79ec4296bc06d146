//! For those who run the service: metrics, whether the process lives, and whether it can release keys.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;

use super::Service;
use super::problem::Answer;

const PATIENCE: Duration = Duration::from_secs(5);

/// `/metrics`, `/healthz`, `/readyz`.
pub fn router(service: &Arc<Service>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(Arc::clone(service))
}

async fn metrics(State(service): State<Arc<Service>>) -> Response {
    // What is wrong shows in the figures.
    let _ = look(&service).await;
    if let Ok(head) = service.store.audit_head().await {
        service.metrics.audit.set(head.sequence as i64);
    }
    let kind = [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    (kind, service.metrics.text()).into_response()
}

async fn ready(State(service): State<Arc<Service>>) -> Response {
    let (database, vault) = look(&service).await;
    let status =
        if database.is_ok() && vault.is_ok() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let shown = |found: Answer<()>| found.map_or_else(|refusal| refusal.detail, |()| "ok".to_owned());
    (status, axum::Json(json!({"database": shown(database), "vault": shown(vault)}))).into_response()
}

/// Database and vault, as they are now.
async fn look(service: &Service) -> (Answer<()>, Answer<()>) {
    let late = |what: &str| {
        super::problem::Refusal::new(
            super::problem::Reason::Timeout,
            format!("the {what} does not answer in time"),
        )
    };
    let database =
        tokio::time::timeout(PATIENCE, service.store.ping()).await.unwrap_or_else(|_| Err(late("database")));
    let vault =
        tokio::time::timeout(PATIENCE, service.vault.check()).await.unwrap_or_else(|_| Err(late("vault")));
    service.metrics.database.set(database.is_ok().into());
    service.metrics.vault.set(vault.is_ok().into());
    (database, vault)
}

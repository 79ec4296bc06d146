//! The line's web page: who is where, what failed and why, vouchers, and whether the audit log is whole. For people, in HTML that the
//! server makes; there is no script, nothing comes from elsewhere, and nothing here changes a device or a key.
//!
//! The way of a request: [`framed`] (headers, errors as pages) → [`session`] (who is looking) → [`line`], [`vouchers`], [`audit`].

mod audit;
mod layout;
mod line;
mod login;
mod session;
pub mod users;
mod vouchers;

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use tokio::sync::Semaphore;

use super::Service;
use super::config::Page as Config;
use super::problem::{Reason, Refusal};

/// What every answer says. No script runs, nothing is loaded from elsewhere, no other site shows it in a frame, and nothing is kept.
const HEADERS: [(&str, &str); 8] = [
    (
        "content-security-policy",
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("strict-transport-security", "max-age=31536000"),
    ("cache-control", "no-store"),
];
const STYLE: &str = include_str!("style.css");
/// Bytes of a form at most.
const MAX_FORM: usize = 4096;
/// Passwords that are looked at together: each takes 19 MiB.
const PASSWORDS: usize = 2;

/// Everything a page needs.
pub struct Page {
    service: Arc<Service>,
    config: Config,
    by_address: DefaultKeyedRateLimiter<IpAddr>,
    by_name: DefaultKeyedRateLimiter<String>,
    passwords: Semaphore,
    verified: Mutex<audit::Verification>,
}

/// All pages.
pub fn router(service: &Arc<Service>, config: &Config) -> Router {
    let quota = Quota::per_minute(NonZeroU32::new(config.logins_per_minute).unwrap_or(NonZeroU32::MIN));
    let page = Arc::new(Page {
        service: Arc::clone(service),
        config: config.clone(),
        by_address: RateLimiter::keyed(quota),
        by_name: RateLimiter::keyed(quota),
        passwords: Semaphore::new(PASSWORDS),
        verified: Mutex::default(),
    });
    Router::new()
        .route("/", get(line::status))
        .route("/devices", get(line::devices))
        .route("/devices/{id}", get(line::device))
        .route("/failures", get(line::failures))
        .route("/yields", get(line::yields))
        .route("/vouchers", get(vouchers::list))
        .route("/vouchers/{fingerprint}", get(vouchers::show))
        .route("/vouchers/{fingerprint}/label.svg", get(vouchers::label))
        .route("/vouchers/{fingerprint}/file", get(vouchers::file))
        .route("/audit", get(audit::show))
        .route("/audit/verify", post(audit::verify))
        .route("/login", get(login::form).post(login::login))
        .route("/logout", post(login::logout))
        .route("/style.css", get(|| async { ([(header::CONTENT_TYPE, "text/css")], STYLE) }))
        .fallback(|| async { Refusal::new(Reason::NotFound, "there is no such page") })
        .method_not_allowed_fallback(|| async { Refusal::new(Reason::Method, "not with this method") })
        .layer(DefaultBodyLimit::max(MAX_FORM))
        .layer(from_fn_with_state(Arc::clone(&page), framed))
        .with_state(page)
}

/// Headers on every answer; a refusal becomes a page.
async fn framed(State(page): State<Arc<Page>>, request: Request, next: Next) -> Response {
    let start = std::time::Instant::now();
    let mut response = next.run(request).await;
    if let Some(refusal) = response.extensions_mut().remove::<Refusal>() {
        response = error(&refusal);
    } else if response.status().is_client_error() && response.extensions().get::<layout::Html>().is_none() {
        // What axum itself refuses: a form or a query that is none.
        response = error(&Refusal::new(Reason::Malformed, "the form or the address is not understood"));
    }
    for (name, value) in HEADERS {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    page.service.metrics.request("page", response.status().as_u16(), start.elapsed());
    response
}

fn error(refusal: &Refusal) -> Response {
    let status = StatusCode::from_u16(refusal.reason.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let help = match refusal.reason.status() {
        404 => "Go back, or look for the device on the page of devices.",
        429 => "Wait a minute, then try again.",
        status if status >= 500 => "Try again in a moment; where it stays, tell who runs the service.",
        _ => "Go back and try again.",
    };
    let mut response = (status, layout::error(refusal.reason.title(), &refusal.detail, help)).into_response();
    if let Some(seconds) = refusal.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

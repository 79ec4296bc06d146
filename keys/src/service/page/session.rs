//! Who is looking: a session in the database, known by a random cookie. What is stored of the cookie is a hash; the forms' secret is
//! another hash of it, so that a form of another site cannot have it.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Redirect, Response};
use sha2::{Digest, Sha256};
use trustbox_api::Bytes;

use super::Page;
use super::users::{Users, may_look};
use crate::service::identity::{Client, Role};
use crate::service::now;
use crate::service::problem::{Answer, Reason, Refusal};
use crate::service::store::change::Change;

/// The cookie of who is logged in, and of who is about to.
pub const SESSION: &str = "__Host-session";
pub const VISIT: &str = "__Host-visit";

/// Somebody who is logged in.
#[derive(Clone, Debug)]
pub struct Viewer {
    /// The name.
    pub name: String,
    /// The role.
    pub role: Role,
    /// What forms must have.
    pub form: String,
    /// What the session is stored by.
    pub id: String,
}

impl FromRequestParts<Arc<Page>> for Viewer {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, page: &Arc<Page>) -> Result<Self, Response> {
        let found = page.viewer(&parts.headers, parts.extensions.get::<Client>()).await;
        found.map_err(IntoResponse::into_response)?.ok_or_else(|| Redirect::to("/login").into_response())
    }
}

impl Viewer {
    /// As in the audit log.
    pub fn actor(&self) -> String {
        format!("{}:{}:page", self.role.name(), self.name)
    }

    /// Whether it may read the audit log.
    pub fn reads_audit(&self) -> bool {
        matches!(self.role, Role::Admin | Role::Auditor)
    }
}

impl Page {
    /// Who is logged in; nobody where the certificate of the session is not the connection's, or the person was removed.
    pub async fn viewer(&self, headers: &HeaderMap, client: Option<&Client>) -> Answer<Option<Viewer>> {
        let Some(cookie) = cookie(headers, SESSION) else { return Ok(None) };
        let id = hash("session", &cookie);
        let Some(session) = self.service.store.session(&id, now()).await? else { return Ok(None) };
        let Some(role) = Role::parse(&session.role).filter(|role| may_look(*role)) else { return Ok(None) };
        let still = if session.fingerprint.is_empty() {
            self.users()?.find(&session.name).is_some_and(|user| user.role() == Some(role))
        } else {
            client.is_some_and(|client| client.fingerprint == session.fingerprint)
                && !self.service.store.client_revoked(&session.fingerprint).await?
        };
        Ok(still.then(|| Viewer { name: session.name, role, form: hash("form", &cookie), id }))
    }

    /// Who has a password.
    pub fn users(&self) -> Answer<Users> {
        let users = self.config.users.as_deref().map_or_else(|| Ok(Users::default()), Users::read);
        users.map_err(|error| {
            tracing::error!(error = %format!("{error:#}"), "users");
            Refusal::new(Reason::Internal, "the file of users cannot be read")
        })
    }
}

/// The changes that make a session.
pub fn make(cookie: &str, name: &str, role: Role, fingerprint: &str, ends: u64) -> Vec<Change> {
    const INSERT: &str =
        "INSERT INTO page_sessions (id, name, role, fingerprint, ends) VALUES ($1, $2, $3, $4, $5)";
    let id = hash("session", cookie);
    let values = [id.into(), name.into(), role.name().into(), fingerprint.into(), ends.into()];
    vec![
        Change::new(INSERT, values),
        Change::new("DELETE FROM page_sessions WHERE ends <= $1", [now().into()]),
    ]
}

/// The change that ends one.
pub fn end(id: &str) -> Change {
    Change::new("DELETE FROM page_sessions WHERE id = $1", [id.into()])
}

/// The change that uses a one-time password up; it must change something.
pub fn use_up(name: &str, step: u64) -> Change {
    const UPSERT: &str = "INSERT INTO page_steps (name, step) VALUES ($1, $2) \
        ON CONFLICT (name) DO UPDATE SET step = excluded.step WHERE page_steps.step < excluded.step";
    Change::new(UPSERT, [name.into(), step.into()]).must()
}

/// Whether a form came from this site, and from a page that was shown to the same browser.
pub fn check_form(headers: &HeaderMap, expected: &str, sent: &str) -> Answer<()> {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let origin = text(header::ORIGIN);
    let own = text(header::HOST).map(|host| format!("https://{host}"));
    let same_site = origin.is_none() || origin == own.as_deref();
    let fetched = headers.get("sec-fetch-site").is_none_or(|site| site == "same-origin" || site == "none");
    // Of hashes, so that the time says nothing.
    let same = hash("compare", expected) == hash("compare", sent);
    let foreign = || Refusal::new(Reason::Role, "the form was not sent from this page, or is too old");
    if same_site && fetched && same { Ok(()) } else { Err(foreign()) }
}

/// A cookie's value.
pub fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = all.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(found, _)| *found == name).map(|(_, value)| value.to_owned())
}

/// A cookie as it is set: only over TLS, not for scripts, not for other sites.
pub fn set_cookie(name: &str, value: &str, seconds: u64) -> String {
    format!("{name}={value}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Strict")
}

/// What is known of a cookie's value without having it.
pub fn hash(purpose: &str, cookie: &str) -> String {
    let digest = Sha256::new().chain_update("TrustBox page ").chain_update(purpose).chain_update([0]);
    Bytes::<32>(digest.chain_update(cookie).finalize().into()).to_string()
}

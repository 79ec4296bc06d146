//! In and out: by the certificate of the connection, or by password and one-time password. Every try is in the audit log, but floods.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Form;
use axum::extract::{ConnectInfo, Extension, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use maud::html;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::session::{self, SESSION, VISIT, Viewer, check_form, cookie, hash, set_cookie};
use super::users::may_look;
use super::{Page, layout};
use crate::service::identity::{Client, Role};
use crate::service::problem::{Answer, Reason, Refusal};
use crate::service::routes::{admitted, may_record};
use crate::service::store::change::Event;
use crate::service::{fresh_seed, now};

/// How long a form may be left open.
const VISIT_SECONDS: u64 = 3600;
/// What is said of any wrong name, password or code: which it was is nobody's business.
const WRONG: &str = "Name, password or code is wrong, or the code was used before.";

/// What is typed.
#[derive(Deserialize)]
pub struct Typed {
    form: String,
    method: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    password: Zeroizing<String>,
    #[serde(default)]
    code: String,
}

/// What ends a session.
#[derive(Deserialize)]
pub struct Out {
    /// The session's.
    pub form: String,
}

/// `GET /login`.
pub async fn form(
    State(page): State<Arc<Page>>,
    client: Option<Extension<Client>>,
    headers: HeaderMap,
) -> Answer<Response> {
    let client = client.map(|Extension(client)| client);
    if page.viewer(&headers, client.as_ref()).await?.is_some() {
        return Ok(Redirect::to("/").into_response());
    }
    shown(&page, client.as_ref(), &headers, StatusCode::OK, None)
}

fn shown(
    page: &Page,
    client: Option<&Client>,
    headers: &HeaderMap,
    status: StatusCode,
    error: Option<&str>,
) -> Answer<Response> {
    let visit = visit(headers)?;
    let form = hash("form", &visit);
    let certified = client.filter(|client| client.role.is_some_and(may_look));
    let body = html! {
        h1 { "Log in" }
        @if let Some(error) = error { p.error role="alert" id="error" { (error) } }
        @if let Some(client) = certified {
            form method="post" action="/login" {
                input type="hidden" name="form" value=(form);
                input type="hidden" name="method" value="certificate";
                p { "This browser showed the certificate of " strong { (client.name) } ", role "
                    (client.role.map_or("none", Role::name)) "." }
                button type="submit" { "Continue as " (client.name) }
            }
        }
        @if page.config.users.is_some() {
            form method="post" action="/login" {
                input type="hidden" name="form" value=(form);
                input type="hidden" name="method" value="password";
                p { label for="name" { "Name" } input id="name" name="name" autocomplete="username" required maxlength="32"
                    aria-describedby=[error.map(|_| "error")]; }
                p { label for="password" { "Password" } input id="password" name="password" type="password"
                    autocomplete="current-password" required maxlength="256"; }
                p { label for="code" { "Code of six digits from the authenticator" } input id="code" name="code"
                    inputmode="numeric" autocomplete="one-time-code" pattern="[0-9]{6}" required maxlength="6"; }
                button type="submit" { "Log in" }
            }
        }
    };
    let set = AppendHeaders([(header::SET_COOKIE, set_cookie(VISIT, &visit, VISIT_SECONDS))]);
    Ok((status, set, layout::page("Log in", "", None, body)).into_response())
}

/// `POST /login`.
pub async fn login(
    State(page): State<Arc<Page>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    client: Option<Extension<Client>>,
    headers: HeaderMap,
    Form(typed): Form<Typed>,
) -> Answer<Response> {
    let client = client.map(|Extension(client)| client);
    check_form(&headers, &hash("form", &visit(&headers)?), &typed.form)?;
    let name: String = typed.name.chars().filter(|c| !c.is_control()).take(32).collect();
    let certified = client.as_ref().filter(|_| typed.method == "certificate");
    let who = certified.map_or_else(|| name.clone(), |client| client.fingerprint.clone());
    if !admitted(&page.by_address, &peer.ip()) || !admitted(&page.by_name, &who) {
        return Err(Refusal::new(Reason::RateLimit, "too many tries to log in").after(60));
    }
    let cookie = random()?;
    let tried = match typed.method.as_str() {
        "certificate" => page.by_certificate(client.as_ref(), &cookie).await,
        _ => page.by_password(&name, typed, &cookie).await,
    };
    match tried {
        Ok(()) => {
            let set = [
                (header::SET_COOKIE, set_cookie(SESSION, &cookie, page.config.session_seconds)),
                (header::SET_COOKIE, set_cookie(VISIT, "", 0)),
            ];
            Ok((AppendHeaders(set), Redirect::to("/")).into_response())
        }
        Err(refusal) if matches!(refusal.reason, Reason::Unauthenticated | Reason::Conflict) => {
            tracing::info!(peer = %peer, "page: login refused");
            if !refusal.recorded && may_record() {
                let event = Event {
                    actor: format!("page:{name:?}:{}", peer.ip()),
                    action: "page-login",
                    object: String::new(),
                    outcome: "denied",
                    reason: refusal.detail,
                };
                page.service.writer.note(event).await?;
            }
            shown(&page, client.as_ref(), &headers, StatusCode::FORBIDDEN, Some(WRONG))
        }
        Err(refusal) => Err(refusal),
    }
}

impl Page {
    async fn by_certificate(&self, client: Option<&Client>, cookie: &str) -> Answer<()> {
        let nobody = || Refusal::new(Reason::Unauthenticated, "no certificate of a role that may look");
        let client = client.ok_or_else(nobody)?;
        let role = client.role.filter(|role| may_look(*role)).ok_or_else(nobody)?;
        if self.service.store.client_revoked(&client.fingerprint).await? {
            return Err(Refusal::new(Reason::Unauthenticated, "the certificate is revoked"));
        }
        let ends = now() + self.config.session_seconds;
        let changes = session::make(cookie, &client.name, role, &client.fingerprint, ends);
        self.service.writer.change(event(client.actor(), "page-login"), changes).await
    }

    async fn by_password(&self, name: &str, typed: Typed, cookie: &str) -> Answer<()> {
        let users = self.users()?;
        let _turn = self.passwords.acquire().await;
        let asked = name.to_owned();
        let check = move || users.check(&asked, &typed.password, &typed.code, now());
        let checked = tokio::task::spawn_blocking(check).await;
        let checked = checked.map_err(|_| Refusal::new(Reason::Internal, "a password cannot be checked"))?;
        let wrong = || Refusal::new(Reason::Unauthenticated, "wrong name, password or code");
        let (role, step) = checked.ok_or_else(wrong)?;
        let ends = now() + self.config.session_seconds;
        let mut changes = vec![session::use_up(name, step)];
        changes.extend(session::make(cookie, name, role, "", ends));
        let actor = format!("{}:{name}:page", role.name());
        self.service.writer.change(event(actor, "page-login"), changes).await
    }
}

/// `POST /logout`.
pub async fn logout(
    State(page): State<Arc<Page>>,
    viewer: Viewer,
    headers: HeaderMap,
    Form(out): Form<Out>,
) -> Answer<Response> {
    check_form(&headers, &viewer.form, &out.form)?;
    page.service.writer.change(event(viewer.actor(), "page-logout"), vec![session::end(&viewer.id)]).await?;
    let set = AppendHeaders([(header::SET_COOKIE, set_cookie(SESSION, "", 0))]);
    Ok((set, Redirect::to("/login")).into_response())
}

/// The cookie of the form that was shown, or a new one: never one that anybody could know.
fn visit(headers: &HeaderMap) -> Answer<String> {
    cookie(headers, VISIT).filter(|visit| !visit.is_empty()).map_or_else(random, Ok)
}

fn event(actor: String, action: &'static str) -> Event {
    Event { actor, action, object: String::new(), outcome: "allowed", reason: String::new() }
}

fn random() -> Answer<String> {
    fresh_seed().map_err(|_| Refusal::new(Reason::Internal, "no random numbers"))
}

//! The interface: every path with the roles that may use it, and what stands before each of them. The OpenAPI document is made
//! of the same table, so that it cannot say anything else.

use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use axum::{Json, Router};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};
use serde_json::{Map, Value, json};

use super::identity::{Client, Role};
use super::problem::{Answer, Reason, Refusal};
use super::store::change::Event;
use super::{Service, content_keys, keys, line, registry, release, revocation, verification};
use crate::protocol::MAX_BODY;

use Role::{Admin, Auditor, BuildAgent, Device, Factory};

/// One operation.
pub struct Route {
    /// Method.
    pub method: &'static str,
    /// Path, as axum and OpenAPI write it.
    pub path: &'static str,
    /// Who may.
    pub roles: &'static [Role],
    /// Name in the audit log.
    pub action: &'static str,
    /// What it does.
    pub summary: &'static str,
    /// Schema of the body.
    pub body: Option<&'static str>,
}

const EVERYBODY: &[Role] = &Role::ALL;
const ADMIN: &[Role] = &[Admin];
const READERS: &[Role] = &[Admin, Auditor];

macro_rules! routes {
    ($($method:ident $path:literal $roles:expr, $action:literal $body:expr, $handler:path, $summary:literal;)+) => {
        /// All operations.
        pub const ROUTES: &[Route] = &[$(Route {
            method: stringify!($method), path: $path, roles: $roles, action: $action, summary: $summary, body: $body,
        },)+];

        fn handlers() -> Vec<(&'static str, MethodRouter<Arc<Service>>)> {
            vec![$(($path, on(MethodFilter::$method, $handler)),)+]
        }
    };
}

routes! {
    GET "/openapi.json" EVERYBODY, "openapi" None, openapi, "This document";
    POST "/v1/challenges" &[Admin, Factory, Device], "challenge" Some("ChallengeRequest"), release::challenge,
        "A challenge for the device to attest over";
    POST "/v1/releases" &[Admin, Factory, Device], "release" Some("ReleaseRequest"), release::release,
        "A class key for a device that proves what it is; the same request gets the same answer";
    POST "/v1/explain" READERS, "explain" Some("ExplainRequest"), release::explain,
        "Every rule that would decide on a release, and what it says; nothing is released";
    POST "/v1/verify" &[Admin, Auditor, Factory, BuildAgent], "verify" Some("VerifyRequest"), verification::verify,
        "Whether to believe a device: a result for each claim of its token";
    GET "/v1/devices" &[Admin, Auditor, Factory], "list-devices" None, registry::list, "Devices, 1000 at a time; ?after=ID goes on";
    GET "/v1/devices/{id}" &[Admin, Auditor, Factory], "show-device" None, registry::show, "A device";
    PUT "/v1/devices/{id}" &[Admin, Factory], "enrol-device" Some("Device"), registry::enrol,
        "Enrols a device; the same again changes nothing, other keys are refused";
    POST "/v1/devices/{id}/state" ADMIN, "change-device" Some("DeviceChange"), registry::change,
        "Suspends, enrols again, revokes or decommissions a device";
    POST "/v1/devices/{id}/return" ADMIN, "return-device" Some("ReturnRequest"), line::returned,
        "Lets a decommissioned device be enrolled anew that came back, on the owner root's word for its last voucher";
    POST "/v1/devices/{id}/claim" &[Factory], "claim-device" Some("ClaimRequest"), line::claim,
        "Takes a device in hand for a station, or keeps it; refused while another station has it";
    POST "/v1/reports" &[Admin, Factory], "report" Some("ReportRequest"), line::report,
        "What a station signed of a device; the same again changes nothing";
    GET "/v1/keys" &[Admin, Auditor, BuildAgent], "list-keys" None, keys::list, "Class keys and their versions";
    GET "/v1/keys/{name}" &[Admin, Auditor, BuildAgent], "show-key" None, keys::show, "A class key with its policy";
    PUT "/v1/keys/{name}" ADMIN, "set-key" Some("KeyChange"), keys::set, "Makes a class key, or gives it another policy";
    POST "/v1/keys/{name}/versions" ADMIN, "rotate-key" Some("Rotation"), keys::rotate,
        "Makes a new version; older ones are released for the overlap";
    POST "/v1/keys/{name}/content-keys" &[Admin, BuildAgent], "wrap-content-key" Some("ContentKeyRequest"), content_keys::wrap,
        "Wraps the content key of a package under a class key, which stays here";
    POST "/v1/keys/{name}/versions/{version}/disable" ADMIN, "disable-version" None, keys::disable, "Releases a version no more";
    POST "/v1/keys/{name}/versions/{version}/enable" ADMIN, "enable-version" None, keys::enable, "Releases a disabled version again";
    POST "/v1/keys/{name}/versions/{version}/destroy" ADMIN, "destroy-version" None, keys::destroy,
        "Destroys a disabled version for ever; takes two admins";
    GET "/v1/revocations" EVERYBODY, "list-revocations" None, revocation::list, "Revocations, for devices; ?after=SEQUENCE goes on";
    POST "/v1/revocations" ADMIN, "publish-revocation" Some("RevocationStatement"), revocation::publish,
        "Publishes a revoker's statement and calls the webhooks";
    GET "/v1/audit" READERS, "export-audit" None, registry::audit, "Audit records as JSON lines, 1000 at a time; ?after=SEQUENCE goes on";
    GET "/v1/audit/head" READERS, "audit-head" None, registry::audit_head, "The end of the audit log, to be noted elsewhere";
    POST "/v1/clients/{fingerprint}/revoke" ADMIN, "revoke-client" None, registry::revoke_client, "Refuses a client certificate for ever";
}

struct Guard {
    service: Arc<Service>,
    limiter: DefaultKeyedRateLimiter<String>,
}

/// All paths, guarded.
pub fn router(service: &Arc<Service>) -> Router {
    let limits = &service.config.limits;
    let number = |value: u32| NonZeroU32::new(value).unwrap_or(NonZeroU32::MIN);
    let quota = Quota::per_second(number(limits.requests_per_second)).allow_burst(number(limits.burst));
    let guard = Arc::new(Guard { service: Arc::clone(service), limiter: RateLimiter::keyed(quota) });
    let routes =
        handlers().into_iter().fold(Router::new(), |router, (path, handler)| router.route(path, handler));
    routes
        .fallback(|| async { Refusal::new(Reason::NotFound, "no such path") })
        .method_not_allowed_fallback(|| async { Refusal::new(Reason::Method, "not with this method") })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(Arc::clone(service))
        .layer(from_fn_with_state(guard, guarded))
}

async fn guarded(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let service = &guard.service;
    let client = request.extensions().get::<Client>().cloned();
    let matched = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let route = matched.as_deref().and_then(|path| find(path, request.method()));
    let event = Event {
        actor: client.as_ref().map_or_else(|| "none".to_owned(), Client::actor),
        action: route.map_or("none", |route| route.action),
        object: request.uri().path().chars().take(200).collect(),
        outcome: "denied",
        reason: String::new(),
    };
    let mut response = match guard.admit(client.as_ref(), route).await {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    if let Some(refusal) = response.extensions_mut().remove::<Refusal>() {
        let flood = refusal.reason == Reason::RateLimit && !may_record();
        response =
            if flood { service.refuse_unrecorded(refusal) } else { service.refuse(refusal, event).await };
    }
    service.metrics.request(
        matched.as_deref().unwrap_or("none"),
        response.status().as_u16(),
        start.elapsed(),
    );
    response
}

impl Guard {
    async fn admit(&self, client: Option<&Client>, route: Option<&Route>) -> Answer<()> {
        let nobody = || Refusal::new(Reason::Unauthenticated, "no role in the certificate");
        let client = client.ok_or_else(nobody)?;
        let role = client.role.ok_or_else(nobody)?;
        if !admitted(&self.limiter, &client.fingerprint) {
            return Err(Refusal::new(Reason::RateLimit, "too many requests of this client").after(1));
        }
        if self.service.store.client_revoked(&client.fingerprint).await? {
            return Err(Refusal::new(Reason::ClientRevoked, "this certificate is refused for ever"));
        }
        // Without a route the answer is that there is none.
        if route.is_some_and(|route| !route.roles.contains(&role)) {
            return Err(Refusal::new(Reason::Role, format!("role {} may not do this", role.name())));
        }
        Ok(())
    }
}

fn find(path: &str, method: &Method) -> Option<&'static Route> {
    ROUTES.iter().find(|route| {
        route.path == path
            && (route.method == method.as_str() || (method == Method::HEAD && route.method == "GET"))
    })
}

/// Whether one more request of somebody is within its limit. Whoever has not come for long is forgotten.
pub(super) fn admitted<K: Clone + Eq + Hash>(limiter: &DefaultKeyedRateLimiter<K>, key: &K) -> bool {
    const MANY: usize = 10_000;
    if limiter.len() > MANY {
        limiter.retain_recent();
    }
    limiter.check_key(key).is_ok()
}

/// Whether one more refusal goes into the audit log, of those that anybody can cause at any rate.
pub(super) fn may_record() -> bool {
    static LIMIT: LazyLock<DefaultDirectRateLimiter> = LazyLock::new(|| {
        RateLimiter::direct(
            Quota::per_second(NonZeroU32::MIN).allow_burst(NonZeroU32::MIN.saturating_add(19)),
        )
    });
    LIMIT.check().is_ok()
}

async fn openapi() -> Json<Value> {
    Json(document())
}

/// The OpenAPI document.
pub fn document() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let roles: Vec<_> = route.roles.iter().map(|role| role.name()).collect();
        let names = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let parameters: Vec<_> = names
            .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
            .collect();
        let mut operation = json!({
            "operationId": route.action,
            "summary": route.summary,
            "description": format!("Roles: {}", roles.join(", ")),
            "parameters": parameters,
            "responses": {
                "200": {"description": "done"},
                "default": {"description": "refused", "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}},
            },
        });
        if let Some(body) = route.body {
            let schema = json!({"$ref": format!("#/components/schemas/{body}")});
            operation["requestBody"] =
                json!({"required": true, "content": {"application/json": {"schema": schema}}});
        }
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.to_lowercase()] = operation;
    }
    json!({
        "openapi": "3.1.0",
        "info": {"title": "TrustBox key release", "version": env!("CARGO_PKG_VERSION")},
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "securitySchemes": {"client": {"type": "mutualTLS", "description": "the certificate's OU is the role"}},
        },
        "security": [{"client": []}],
    })
}

fn schemas() -> Value {
    let text = || json!({"type": "string"});
    let number = || json!({"type": "integer"});
    let object = |required: &[&str], properties: Value| json!({"type": "object", "required": required, "properties": properties, "additionalProperties": false});
    json!({
        "ChallengeRequest": object(&[], json!({"lifetime": number()})),
        "ReleaseRequest": object(&["key", "request", "token"], json!({
            "key": text(), "version": number(), "token": {"type": "string", "contentEncoding": "base64"},
            "request": object(&["type", "device_id", "nonce", "device_key"], json!({
                "type": {"const": "key-import"}, "device_id": text(), "nonce": text(), "device_key": text()})),
        })),
        "ExplainRequest": object(&["device_id", "key"], json!({
            "device_id": text(), "key": text(), "version": number(), "token": text(), "at": number()})),
        "VerifyRequest": object(&["token", "nonce"], json!({
            "token": {"type": "string", "contentEncoding": "base64"}, "nonce": text(),
            "certificate": {"type": "string", "contentEncoding": "base64"}, "device_id": text(),
            "reference": {"type": "object"}})),
        "Device": object(&["attestation_key", "device_key_sha256"], json!({
            "class": text(), "attestation_key": text(), "device_key_sha256": text(), "certificate": text(),
            "device_key_certificate": text()})),
        "DeviceChange": object(&["state", "reason"], json!({
            "state": {"enum": ["enrolled", "suspended", "revoked", "decommissioned"]}, "reason": text()})),
        "ReturnRequest": object(&["order"], json!({"order": text()})),
        "ClaimRequest": object(&["station", "sku", "step"], json!({"station": text(), "sku": text(), "step": text()})),
        "ReportRequest": object(&["report"], json!({"report": text()})),
        "KeyChange": object(&["policy"], json!({"policy": {"type": "object"}})),
        "Rotation": object(&[], json!({"overlap": number()})),
        "ContentKeyRequest": object(&["manifest", "content_key"], json!({
            "manifest": {"type": "string", "contentEncoding": "base64"},
            "content_key": {"type": "string", "contentEncoding": "base64"}})),
        "RevocationStatement": object(&["statement"], json!({"statement": {"type": "string", "contentEncoding": "base64"}})),
        "Problem": json!({"type": "object", "properties": {
            "type": text(), "number": number(), "title": text(), "status": number(), "detail": text(), "rule": text(), "help": text()}}),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_in_the_document_with_its_schema() {
        let document = document();
        for route in ROUTES {
            let operation = &document["paths"][route.path][route.method.to_lowercase()];
            assert_eq!(operation["operationId"], route.action);
            assert!(!route.roles.is_empty());
            if let Some(body) = route.body {
                assert!(document["components"]["schemas"][body].is_object(), "{body}");
            }
        }
        let mut actions: Vec<_> = ROUTES.iter().map(|route| route.action).collect();
        actions.sort_unstable();
        assert!(actions.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn only_admins_change_keys() {
        let changes = |route: &&Route| {
            route.method != "GET"
                && route.path.starts_with("/v1/keys")
                && !route.path.ends_with("/content-keys")
        };
        for route in ROUTES.iter().filter(changes) {
            assert_eq!(route.roles, [Role::Admin], "{}", route.path);
        }
    }
}

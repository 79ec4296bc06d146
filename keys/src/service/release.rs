//! The release of a class key: rules in their order, wrap, sign, write down, answer.
//!
//! A device proves what it is by a token over a challenge of this service, signed by the attestation key that the registry has
//! for it. The token binds the device key (claim `wrapping-key`), and to that key alone the class key is wrapped; the bundle is
//! bound to the nonce of the device's own request. `explain` judges by the same rules and releases nothing.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes as Body;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, State};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rsa::RsaPublicKey;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use trustbox_api::Bytes;
use trustbox_api::key::{KeyRef, PublicKey};
use trustbox_package::Request;
use trustbox_package::request::{hex, parse_hex};
use trustbox_pkcs11::Padding;
use trustbox_verifier::{Claims, Token};

use super::identity::{Client, Role};
use super::problem::{Answer, Reason, Refusal};
use super::registry;
use super::store::change::{Event, Release};
use super::store::{DeviceRow, KeyRow, VersionRow};
use super::{Service, damaged, now};
use crate::issue::{self, Asking};
use crate::policy::{Facts, Finding, Policy, Verdict};
use crate::protocol::{
    Challenge, ChallengeRequest, ExplainRequest, ReleaseAnswer, ReleaseRequest, parse_device_id,
};

/// `POST /v1/challenges`.
pub async fn challenge(
    State(service): State<Arc<Service>>,
    Extension(client): Extension<Client>,
    body: Result<Body, BytesRejection>,
) -> Answer<Json<Challenge>> {
    let request: ChallengeRequest = super::parse_or_default(&service.body(body)?)?;
    let limits = &service.config.limits;
    let lifetime = match request.lifetime {
        None => limits.challenge_seconds,
        Some(_) if client.role == Some(Role::Device) => {
            return Err(Refusal::new(Reason::Role, "a device asks when it needs one"));
        }
        Some(seconds) => seconds.min(limits.offline_challenge_seconds),
    };
    let expires = now().saturating_add(lifetime);
    let nonce =
        service.challenger.issue(expires).map_err(|_| Refusal::new(Reason::Internal, "no random numbers"))?;
    Ok(Json(Challenge { nonce: Bytes(nonce).to_string(), expires }))
}

/// `POST /v1/releases`.
pub async fn release(
    State(service): State<Arc<Service>>,
    Extension(client): Extension<Client>,
    body: Result<Body, BytesRejection>,
) -> Answer<Json<ReleaseAnswer>> {
    let asked = Asked::parse(&service.body(body)?)?;
    let object = format!("device {} key {}", asked.asking.device_id, asked.request.key);
    let answer = asked.answer(&service, &client, &object).await;
    answer.map(Json).map_err(|refusal| refusal.about(&object))
}

/// `POST /v1/explain`.
pub async fn explain(
    State(service): State<Arc<Service>>,
    body: Result<Body, BytesRejection>,
) -> Answer<Json<Value>> {
    let request: ExplainRequest = super::parse(&service.body(body)?)?;
    let device_id = parse_device_id(&request.device_id);
    let device_id =
        device_id.ok_or_else(|| Refusal::new(Reason::Malformed, "device_id: not 64 hexadecimal digits"))?;
    let device = service.device(&device_id.to_string()).await?;
    let key = service.key(&request.key).await?;
    let policy = key.policy()?;
    let token = request.token.as_deref().map(decode_token).transpose()?;
    let at = request.at.unwrap_or_else(now);
    let case = Case {
        service: &service,
        device: &device,
        key: &key,
        wanted: request.version,
        policy: &policy,
        device_key: None,
        at,
    };
    let mut findings: Vec<Finding> =
        case.judge(token.as_deref()).into_iter().map(|(_, finding)| finding).collect();
    if let Some(quota) = policy.quota {
        let since = at.saturating_sub(quota.seconds.into());
        let found = service.store.released(&device.device_id, &key.name, since).await?;
        let reason =
            format!("{found} releases within {} seconds, allowed are {}", quota.seconds, quota.releases);
        findings.push(Finding::of("quota", found < quota.releases.into(), reason));
    }
    let denying = findings
        .iter()
        .find(|finding| finding.verdict == Verdict::Denied)
        .map(|finding| finding.rule.clone());
    Ok(Json(json!({"allowed": denying.is_none(), "denied_by": denying, "rules": findings})))
}

/// What a device asks, taken apart.
struct Asked {
    request: ReleaseRequest,
    asking: Asking,
    device_key: RsaPublicKey,
    device_key_id: Bytes<32>,
    token: Vec<u8>,
    /// The nonce in the token, whether or not it is a challenge of this service.
    challenge: String,
    digest: String,
}

impl Asked {
    fn parse(body: &[u8]) -> Answer<Self> {
        let request: ReleaseRequest = super::parse(body)?;
        let Request::KeyImport { device_key, .. } = &request.request else {
            return Err(Refusal::new(Reason::Malformed, "request: not of type key-import"));
        };
        let parsed = issue::parse_device_key(device_key);
        let device_key_id = Bytes(Sha256::digest(device_key).into());
        let token = decode_token(&request.token)?;
        let challenge = hex(parse_token(&token)?.unverified().nonce);
        Ok(Self {
            asking: Asking::from(&request.request),
            device_key: parsed.map_err(|error| Refusal::new(Reason::DeviceKey, error.to_string()))?,
            device_key_id,
            challenge,
            digest: Bytes::<32>(Sha256::digest(body).into()).to_string(),
            token,
            request,
        })
    }

    async fn answer(self, service: &Arc<Service>, client: &Client, object: &str) -> Answer<ReleaseAnswer> {
        let device_id = self.asking.device_id.to_string();
        if client.role == Some(Role::Device) && client.name != device_id {
            let detail = "a device asks for itself only: its certificate's CN is its id";
            return Err(Refusal::new(Reason::Role, detail));
        }
        let device = service.store.device(&device_id).await?;
        let device = device.ok_or_else(|| Refusal::new(Reason::DeviceUnknown, "no such device"))?;
        let key = service.key(&self.request.key).await?;
        let (judging, policy) = (Arc::clone(service), key.policy()?);
        let quota = policy.quota.map(|quota| (quota.releases, quota.seconds));
        // Signatures take a while: not where other requests wait.
        let judged = tokio::task::spawn_blocking(move || {
            let granted = self.granted(&judging, &device, &key, &policy);
            granted.map(|(key, material)| (self, key, material))
        });
        let (asked, key, material) =
            judged.await.map_err(|_| Refusal::new(Reason::Internal, "judging failed"))??;
        let to = asked.device_key.clone();
        let wrapped = service.vault.wrap(&key, &material, to, Padding::OaepSha256).await?;
        let bundle = service.sign(&asked.asking, key, wrapped).await?;
        asked.write_down(service, client, object, key, &bundle, quota).await
    }

    /// From here on it is released: once it is in the log, and never twice.
    async fn write_down(
        self,
        service: &Service,
        client: &Client,
        object: &str,
        key: KeyRef,
        bundle: &[u8],
        quota: Option<(u32, u32)>,
    ) -> Answer<ReleaseAnswer> {
        let id = super::fresh_seed().map_err(|_| Refusal::new(Reason::Internal, "no random numbers"))?;
        let release = Release {
            challenge: self.challenge,
            id: id[..32].to_owned(),
            device_id: self.asking.device_id.to_string(),
            name: self.request.key.clone(),
            version: key.version,
            digest: self.digest,
            bundle: BASE64_STANDARD.encode(bundle),
            quota,
        };
        let event = Event {
            actor: client.actor(),
            action: "release",
            object: format!("{object} version {}", key.version),
            outcome: "allowed",
            reason: format!("release {}", release.id),
        };
        let (release, bundle) = service.writer.release(event, release).await?;
        service.metrics.released(&self.request.key, "trustbox");
        Ok(ReleaseAnswer { release, key: self.request.key, version: key.version, bundle })
    }

    /// The key and its material, if every rule allows it.
    fn granted(
        &self,
        service: &Service,
        device: &DeviceRow,
        key: &KeyRow,
        policy: &Policy,
    ) -> Answer<(KeyRef, String)> {
        let wanted = self.request.version;
        let case =
            Case { service, device, key, wanted, policy, device_key: Some(self.device_key_id), at: now() };
        allowed(case.judge(Some(&self.token)))?;
        let version = key.choose(wanted)?;
        let key = KeyRef::new(&key.name, version.version).ok_or_else(|| damaged("key name"))?;
        Ok((key, version.material.clone()))
    }
}

impl Service {
    async fn sign(self: &Arc<Self>, asking: &Asking, key: KeyRef, wrapped: Vec<u8>) -> Answer<Vec<u8>> {
        if matches!(self.releaser, super::Releaser::Memory(_)) {
            return self.releaser.bundle(self.owner_root, asking, &key, &wrapped);
        }
        let (service, asking) = (Arc::clone(self), *asking);
        let signed = tokio::task::spawn_blocking(move || {
            service.releaser.bundle(service.owner_root, &asking, &key, &wrapped)
        });
        signed.await.map_err(|_| Refusal::new(Reason::Internal, "signing failed"))?
    }
}

/// Whether one device gets one key.
struct Case<'a> {
    service: &'a Service,
    device: &'a DeviceRow,
    key: &'a KeyRow,
    wanted: Option<u32>,
    policy: &'a Policy,
    /// The key to wrap to, where a device asks.
    device_key: Option<Bytes<32>>,
    at: u64,
}

/// A rule, and why a request is refused that it denies.
pub(super) type Rule = (Reason, Finding);

/// Whether a version of a key is in use.
pub(super) fn version(key: &KeyRow, wanted: Option<u32>, at: u64) -> Rule {
    let Ok(version) = key.choose(wanted) else {
        return (Reason::NotFound, Finding::of("version", false, "the key has no such version"));
    };
    let retired = version.is_retired(at);
    let VersionRow { version, state, .. } = version;
    if state == "destroyed" {
        return (Reason::Destroyed, Finding::of("version", false, format!("version {version} is destroyed")));
    }
    let shown = if retired { "retired" } else { state };
    let holds = state == "active" && !retired;
    (Reason::Policy, Finding::of("version", holds, format!("version {version} is {shown}")))
}

/// The refusal of the first rule that does not allow.
pub(super) fn allowed(rules: impl IntoIterator<Item = Rule>) -> Answer<()> {
    let denied = rules.into_iter().find(|(_, finding)| finding.verdict != Verdict::Allowed);
    denied
        .map_or(Ok(()), |(reason, finding)| Err(Refusal::new(reason, finding.reason).by_rule(&finding.rule)))
}

impl Case<'_> {
    /// Every rule in its order. What comes after a token that is not believed is left out.
    fn judge(&self, token: Option<&[u8]>) -> Vec<Rule> {
        let mut rules = vec![self.state(), version(self.key, self.wanted, self.at)];
        let certificate = registry::check_certificate(&self.service.factory, self.device, self.at);
        let certificate = certificate.as_ref().copied().map_err(String::as_str);
        let facts = Facts { class: &self.device.class, now: self.at, certificate, claims: None };
        let policy =
            |facts: &Facts<'_>| self.policy.judge(facts).into_iter().map(|finding| (Reason::Policy, finding));
        let Some(token) = token else {
            rules.extend(policy(&facts));
            return rules;
        };
        let believed = self.believe(token);
        match believed {
            Ok(claims) => {
                // Somebody who only asks may come with an old token.
                rules.extend(self.device_key.map(|_| self.challenge(&claims)));
                rules.push(self.device_key(&claims));
                rules.extend(policy(&Facts { claims: Some(&claims), ..facts }));
            }
            Err(refusal) => rules.push((Reason::Evidence, Finding::of("evidence", false, refusal))),
        }
        rules
    }

    fn state(&self) -> Rule {
        let state = &self.device.state;
        (
            Reason::DeviceState,
            Finding::of("device-state", state == "enrolled", format!("the device is {state}")),
        )
    }

    /// A token that the device's attestation key signed.
    fn believe<'t>(&self, token: &'t [u8]) -> Result<Claims<'t>, String> {
        let key =
            parse_hex(&self.device.attestation_key).map(PublicKey).ok_or("the registry's key is damaged")?;
        let token = Token::parse(token).map_err(|refusal| refusal.to_string())?;
        let nonce = token.unverified().nonce;
        token.verify(&key, nonce).map_err(|refusal| refusal.to_string())
    }

    fn challenge(&self, claims: &Claims<'_>) -> Rule {
        let expires = self.service.challenger.expires(claims.nonce);
        let reason = match expires {
            None => "the nonce is not a challenge of this service".to_owned(),
            Some(expires) => format!("the challenge is good until {expires}, it is {}", self.at),
        };
        (
            Reason::Challenge,
            Finding::of("challenge", expires.is_some_and(|expires| self.at < expires), reason),
        )
    }

    /// The key to wrap to is the one in the token, which is the one in the registry.
    fn device_key(&self, claims: &Claims<'_>) -> Rule {
        let attested = Bytes(claims.wrapping_key);
        let registered = self.device.device_key == attested.to_string();
        let asked = self.device_key.is_none_or(|key| key == attested);
        let reason = format!("the token binds {attested}, the registry has {}", self.device.device_key);
        (Reason::Evidence, Finding::of("device-key", registered && asked, reason))
    }
}

fn decode_token(text: &str) -> Answer<Vec<u8>> {
    BASE64_STANDARD.decode(text).map_err(|_| Refusal::new(Reason::Malformed, "token: not standard base64"))
}

fn parse_token(token: &[u8]) -> Answer<Token<'_>> {
    Token::parse(token)
        .map_err(|refusal| Refusal::new(Reason::Evidence, refusal.to_string()).by_rule("evidence"))
}

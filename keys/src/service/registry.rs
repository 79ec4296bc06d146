//! The registry: devices and where they stand, clients that are refused, and the audit log for those who read it.
//!
//! Enrolment is the factory's word: this device id has this attestation key and this device key. With a certificate of the
//! factory's CA over the attestation key, anybody can hold that word against the CA; a key's policy can ask for it.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes as Body;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustls::pki_types::CertificateDer;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use trustbox_api::Bytes;
use trustbox_api::key::PublicKey;
use trustbox_package::request::parse_hex;

use super::identity::Client;
use super::problem::{Answer, Reason, Refusal};
use super::store::DeviceRow;
use super::store::change::{Change, Event};
use super::{Service, now};
use crate::factory::verify_certificate;
use crate::protocol::{Device, DeviceChange, parse_attestation_key, parse_device_id};

/// Devices of one page.
const PAGE: u32 = 1000;
/// Bytes of a certificate at most.
const MAX_CERTIFICATE: usize = 4096;

/// Where a list goes on.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct After {
    /// After this one.
    after: String,
}

impl After {
    /// After a sequence.
    pub fn sequence(&self) -> Answer<u64> {
        let bad = |_| Refusal::new(Reason::Malformed, "after: not a number");
        if self.after.is_empty() { Ok(0) } else { self.after.parse().map_err(bad) }
    }
}

/// `GET /v1/devices`.
pub async fn list(State(service): State<Arc<Service>>, Query(after): Query<After>) -> Answer<Json<Value>> {
    let rows = service.store.devices(&after.after, PAGE).await?;
    Ok(Json(json!({"devices": rows.iter().map(to_json).collect::<Vec<_>>()})))
}

/// `GET /v1/devices/{id}`.
pub async fn show(State(service): State<Arc<Service>>, Path(id): Path<String>) -> Answer<Json<Value>> {
    Ok(Json(to_json(&service.device(&id).await?)))
}

/// `PUT /v1/devices/{id}`.
pub async fn enrol(
    State(service): State<Arc<Service>>,
    Extension(client): Extension<Client>,
    Path(id): Path<String>,
    body: Result<Body, BytesRejection>,
) -> Answer<Json<Value>> {
    let row = device_row(&id, &super::parse(&service.body(body)?)?)?;
    if !row.certificate.is_empty() && !service.factory.is_empty() {
        let checked = check_certificate(&service.factory, &row, now());
        let checked = checked.and_then(|()| check_device_key(&service.factory, &row, now()));
        checked.map_err(|reason| Refusal::new(Reason::Malformed, reason))?;
    }
    match service.store.device(&row.device_id).await? {
        Some(known) if DeviceRow { state: row.state.clone(), ..known.clone() } == row => {
            return Ok(Json(to_json(&known)));
        }
        Some(_) => {
            return Err(Refusal::new(
                Reason::Conflict,
                "the device is enrolled with other keys, class or certificate",
            ));
        }
        None => {}
    }
    let insert = "INSERT INTO devices \
        (device_id, state, class, attestation_key, device_key, certificate, device_key_certificate, changed) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING";
    let keys = [&row.attestation_key, &row.device_key, &row.certificate, &row.device_key_certificate];
    let fields = [&row.device_id, &row.state, &row.class].into_iter().chain(keys);
    let values = fields.map(|text| text.clone().into()).chain([now().into()]);
    let event = event(&client, "enrol-device", &id, format!("class {:?}", row.class));
    service.writer.change(event, vec![Change::new(insert, values).must()]).await?;
    Ok(Json(to_json(&row)))
}

/// `POST /v1/devices/{id}/state`.
pub async fn change(
    State(service): State<Arc<Service>>,
    Extension(client): Extension<Client>,
    Path(id): Path<String>,
    body: Result<Body, BytesRejection>,
) -> Answer<Json<Value>> {
    let change: DeviceChange = super::parse(&service.body(body)?)?;
    let row = service.device(&id).await?;
    let state = change.state.name();
    if row.state == state {
        return Ok(Json(to_json(&row)));
    }
    if !change.state.may_follow(&row.state) {
        return Err(Refusal::new(
            Reason::Conflict,
            format!("a device that is {} never becomes {state}", row.state),
        ));
    }
    let update = "UPDATE devices SET state = $1, changed = $2 WHERE device_id = $3 AND state = $4";
    let values = [state.into(), now().into(), id.as_str().into(), row.state.as_str().into()];
    let reason: String = change.reason.chars().take(500).collect();
    let event = event(&client, "change-device", &id, format!("from {} to {state}: {reason}", row.state));
    service.writer.change(event, vec![Change::new(update, values).must()]).await?;
    Ok(Json(to_json(&DeviceRow { state: state.to_owned(), ..row })))
}

/// `GET /v1/audit`.
pub async fn audit(State(service): State<Arc<Service>>, Query(after): Query<After>) -> Answer<Response> {
    let records = service.store.audit(after.sequence()?).await?;
    let lines: Result<Vec<_>, _> = records.iter().map(serde_json::to_string).collect();
    let lines = lines.map_err(|_| super::damaged("record"))?;
    let text = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    Ok(([(header::CONTENT_TYPE, "application/jsonl")], text).into_response())
}

/// `GET /v1/audit/head`.
pub async fn audit_head(State(service): State<Arc<Service>>) -> Answer<Json<Value>> {
    let head = service.store.audit_head().await?;
    Ok(Json(json!({"sequence": head.sequence, "hash": head.hash.to_string()})))
}

/// `POST /v1/clients/{fingerprint}/revoke`.
pub async fn revoke_client(
    State(service): State<Arc<Service>>,
    Extension(client): Extension<Client>,
    Path(fingerprint): Path<String>,
) -> Answer<Json<Value>> {
    let parsed: Option<Bytes<32>> = parse_hex(&fingerprint);
    let parsed =
        parsed.ok_or_else(|| Refusal::new(Reason::Malformed, "fingerprint: not 64 hexadecimal digits"))?;
    let fingerprint = parsed.to_string();
    let insert =
        "INSERT INTO clients (fingerprint, subject, time) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    let values = [fingerprint.as_str().into(), "".into(), now().into()];
    let event = event(&client, "revoke-client", &fingerprint, String::new());
    service.writer.change(event, vec![Change::new(insert, values)]).await?;
    Ok(Json(json!({"fingerprint": fingerprint, "state": "revoked"})))
}

/// Whether the factory certified the device's attestation key.
pub fn check_certificate(
    factory: &[CertificateDer<'static>],
    device: &DeviceRow,
    at: u64,
) -> Result<(), String> {
    if device.certificate.is_empty() {
        return Err("the device has no certificate".to_owned());
    }
    let of = certified(&device.certificate, factory, at, &device.device_id)?;
    let key = parse_attestation_key(&of).ok_or("the certificate is not of a P-256 key")?;
    let same = key.0.to_string() == device.attestation_key;
    if same { Ok(()) } else { Err("the certificate is of another device or another key".to_owned()) }
}

/// The same of its device key, where there is such a certificate.
fn check_device_key(factory: &[CertificateDer<'static>], device: &DeviceRow, at: u64) -> Result<(), String> {
    if device.device_key_certificate.is_empty() {
        return Ok(());
    }
    let of = certified(&device.device_key_certificate, factory, at, &device.device_id)?;
    let same = Bytes::<32>(Sha256::digest(of).into()).to_string() == device.device_key;
    if same { Ok(()) } else { Err("the device key's certificate is of another key".to_owned()) }
}

/// The SubjectPublicKeyInfo in a certificate of a device.
fn certified(
    certificate: &str,
    factory: &[CertificateDer<'static>],
    at: u64,
    device_id: &str,
) -> Result<Vec<u8>, String> {
    let der = BASE64_STANDARD.decode(certificate).map_err(|_| "the certificate is not base64")?;
    let holder = verify_certificate(&der, factory, at)?;
    let same = holder.device_id.to_string() == device_id;
    if same { Ok(holder.spki) } else { Err("the certificate is of another device or another key".to_owned()) }
}

fn device_row(id: &str, device: &Device) -> Answer<DeviceRow> {
    let bad = |what: &str| Refusal::new(Reason::Malformed, what);
    let device_id = parse_device_id(id).ok_or_else(|| bad("the id is not 64 hexadecimal digits"))?;
    let key =
        BASE64_STANDARD.decode(&device.attestation_key).ok().and_then(|der| parse_attestation_key(&der));
    let key = key.ok_or_else(|| bad("attestation_key: not the base64 of a P-256 SubjectPublicKeyInfo"))?;
    let device_key: Option<Bytes<32>> = parse_hex(&device.device_key_sha256);
    let device_key = device_key.ok_or_else(|| bad("device_key_sha256: not 64 hexadecimal digits"))?;
    let certificate = device.certificate.clone().unwrap_or_default();
    let device_key_certificate = device.device_key_certificate.clone().unwrap_or_default();
    let longest = certificate.len().max(device_key_certificate.len());
    if longest > MAX_CERTIFICATE || device.class.len() > 64 {
        return Err(bad("class or certificate is too long"));
    }
    Ok(DeviceRow {
        device_id: device_id.to_string(),
        state: "enrolled".to_owned(),
        class: device.class.clone(),
        attestation_key: key.0.to_string(),
        device_key: device_key.to_string(),
        certificate,
        device_key_certificate,
    })
}

fn to_json(row: &DeviceRow) -> Value {
    let given = |text: &String| (!text.is_empty()).then(|| text.clone());
    let id = parse_hex(&row.attestation_key).map(|point| PublicKey(point).id().to_string());
    json!({
        "device_id": row.device_id,
        "state": row.state,
        "class": row.class,
        "attestation_key_sha256": id,
        "device_key_sha256": row.device_key,
        "certificate": given(&row.certificate),
        "device_key_certificate": given(&row.device_key_certificate),
    })
}

pub(super) fn event(client: &Client, action: &'static str, object: &str, reason: String) -> Event {
    Event { actor: client.actor(), action, object: object.to_owned(), outcome: "allowed", reason }
}

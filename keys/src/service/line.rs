//! The factory's line, as the registry hears of it: who has a device in hand, and what became of it. Stations sign what they report
//! with the factory CA's key, so that a report is as good as the factory, whoever brought it here and whenever.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes as Body;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, Path, State};
use serde_json::{Value, json};
use trustbox_api::PublicKey;

use super::identity::Client;
use super::problem::{Answer, Reason, Refusal};
use super::registry::event;
use super::store::change::Change;
use super::store::line::Claim;
use super::{Service, now};
use crate::protocol::{ClaimRequest, ReportRequest, ReturnRequest, parse_device_id};
use crate::station::claim::LEASE;
use crate::station::report::Report;
use crate::station::returned::Order;
use crate::station::signed::VOUCHER;

/// Seconds of a day.
pub const DAY: u64 = 86_400;
/// Characters of a name, and of what somebody wrote, at most.
const MAX_NAME: usize = 64;
const MAX_TEXT: usize = 2000;

/// `POST /v1/devices/{id}/claim`.
pub async fn claim(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    body: Result<Body, BytesRejection>,
) -> Answer<Json<Value>> {
    let asked: ClaimRequest = super::parse(&service.body(body)?)?;
    let bad = |what: &str| Refusal::new(Reason::Malformed, what);
    let device_id = parse_device_id(&id).ok_or_else(|| bad("the id is not 64 hexadecimal digits"))?;
    let named = [&asked.station, &asked.sku, &asked.step];
    if named.iter().any(|name| name.is_empty() || name.len() > 4 * MAX_NAME) {
        return Err(bad("station, SKU or step is empty or too long"));
    }
    let (since, ends) = (now(), now() + LEASE);
    let claim = Claim {
        device_id: device_id.to_string(),
        station: asked.station,
        sku: asked.sku,
        step: asked.step,
        since,
        ends,
    };
    if let Some(other) = service.store.claim(&claim).await? {
        let detail =
            format!("{} has the device for {} s more", other.station, other.ends.saturating_sub(since));
        return Err(Refusal::new(Reason::Conflict, detail));
    }
    Ok(Json(json!({"ends": ends})))
}

/// `POST /v1/devices/{id}/return`: what the registry knew of the device is in the audit log, its reports and its vouchers.
pub async fn returned(
    State(service): State<Arc<Service>>,
    Extension(client): Extension<Client>,
    Path(id): Path<String>,
    body: Result<Body, BytesRejection>,
) -> Answer<Json<Value>> {
    let asked: ReturnRequest = super::parse(&service.body(body)?)?;
    let root = service.revokers.iter().find(|key| key.id() == service.owner_root);
    let root = root.ok_or_else(|| Refusal::new(Reason::Internal, "the owner root is not known"))?;
    let (order, fingerprint) = Order::verify(asked.order.as_bytes(), root)
        .map_err(|error| Refusal::new(Reason::Malformed, format!("{error:#}")))?;
    let conflict = |what: &str| Refusal::new(Reason::Conflict, what);
    let row = service.device(&id).await?;
    if row.device_id != order.device_id {
        return Err(conflict("the return is of another device"));
    }
    if row.state != "decommissioned" {
        return Err(conflict("the device is not decommissioned: first its end, then its return"));
    }
    if service.store.vouchers_of(&id).await?.first().is_none_or(|last| last.fingerprint != order.voucher) {
        return Err(conflict("the return is of another voucher than the device's last one"));
    }
    let delete = "DELETE FROM devices WHERE device_id = $1 AND state = 'decommissioned'";
    let reason: String = order.reason.chars().take(500).collect();
    let keys = format!("attestation key {}, device key {}", row.attestation_key, row.device_key);
    let event = event(&client, "return-device", &id, format!("return {fingerprint}: {reason}; had {keys}"));
    service.writer.change(event, vec![Change::new(delete, [id.as_str().into()]).must()]).await?;
    Ok(Json(json!({"device_id": id, "return": fingerprint.to_string()})))
}

/// `POST /v1/reports`.
pub async fn report(
    State(service): State<Arc<Service>>,
    Extension(client): Extension<Client>,
    body: Result<Body, BytesRejection>,
) -> Answer<Json<Value>> {
    let asked: ReportRequest = super::parse(&service.body(body)?)?;
    let bad = |error: anyhow::Error| Refusal::new(Reason::Malformed, format!("{error:#}"));
    let key = service.factory_key()?;
    let (report, id) = Report::verify(asked.report.as_bytes(), &key).map_err(bad)?;
    let id = id.to_string();
    if service.store.has_report(&id).await? {
        return Ok(Json(json!({"report": id, "new": false})));
    }
    let voucher = report.voucher.as_deref().map(|file| fitting(file, &report, &key)).transpose()?;
    let changes = changes(&id, &asked.report, &report, voucher.as_deref());
    let outcome = report.failure.as_ref().map_or("passed", |failure| &failure.name);
    let reason = format!("station {:?}, {outcome}, report {id}", report.station);
    let event = event(&client, "report", &report.device_id, reason);
    match service.writer.change(event, changes).await {
        // Somebody brought it at the same moment.
        Err(refusal) if refusal.reason == Reason::Conflict => Ok(Json(json!({"report": id, "new": false}))),
        done => done.map(|()| Json(json!({"report": id, "new": true}))),
    }
}

/// The fingerprint of a report's voucher, which must be the factory's and of the same device.
fn fitting(file: &str, report: &Report, key: &PublicKey) -> Answer<String> {
    let bad = |what: String| Refusal::new(Reason::Malformed, what);
    let says = VOUCHER.verify(file.as_bytes(), key).map_err(|error| bad(format!("{error:#}")))?;
    if says["device_id"] != report.device_id {
        return Err(bad("the voucher is of another device".to_owned()));
    }
    let fingerprint = VOUCHER.fingerprint(file.as_bytes()).map_err(|error| bad(format!("{error:#}")))?;
    Ok(fingerprint.to_string())
}

/// All that a report changes. Yields are counted with it; the first pass of a device is one without a report before.
fn changes(id: &str, file: &str, report: &Report, voucher: Option<&str>) -> Vec<Change> {
    const REPORT: &str =
        "INSERT INTO line_reports (id, device_id, time, file) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
    const YIELD: &str = "INSERT INTO line_yields (day, station, sku, first, passed, failed, latest) \
        SELECT $1, $2, $3, CASE WHEN count(*) = 1 THEN $4 ELSE 0 END, $5, $6, $7 FROM line_reports WHERE device_id = $8 \
        ON CONFLICT (day, station, sku) DO UPDATE SET first = line_yields.first + excluded.first, \
        passed = line_yields.passed + excluded.passed, failed = line_yields.failed + excluded.failed, \
        latest = CASE WHEN excluded.latest > line_yields.latest THEN excluded.latest ELSE line_yields.latest END";
    const DEVICE: &str = "INSERT INTO line_devices \
        (device_id, station, sku, state, step, failure, what, help, seconds, time, voucher) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (device_id) DO UPDATE SET \
        station = excluded.station, sku = excluded.sku, state = excluded.state, step = excluded.step, \
        failure = excluded.failure, what = excluded.what, help = excluded.help, seconds = excluded.seconds, \
        time = excluded.time, voucher = excluded.voucher WHERE excluded.time >= line_devices.time";
    const VOUCHER: &str = "INSERT INTO vouchers (fingerprint, device_id, time, file) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
    const CLAIM: &str = "DELETE FROM line_claims WHERE device_id = $1 AND since <= $2";
    let (device, time) = (report.device_id.as_str(), report.time);
    let (station, sku) = (cut(&report.station, MAX_NAME), cut(&report.sku, MAX_NAME));
    let failure = report.failure.as_ref();
    let text = |of: fn(&crate::station::report::Reason) -> &String| {
        failure.map(|failure| cut(of(failure), MAX_TEXT)).unwrap_or_default()
    };
    let (passed, failed) = (u64::from(failure.is_none()), u64::from(failure.is_some()));
    let state = if failure.is_none() { "passed" } else { "failed" };
    let mut changes = vec![
        Change::new(REPORT, [id.into(), device.into(), time.into(), file.into()]).must(),
        Change::new(
            YIELD,
            [
                (time / DAY).into(),
                station.clone().into(),
                sku.clone().into(),
                passed.into(),
                passed.into(),
                failed.into(),
                time.into(),
                device.into(),
            ],
        ),
        Change::new(
            DEVICE,
            [
                device.into(),
                station.into(),
                sku.into(),
                state.into(),
                cut(&report.step, MAX_NAME).into(),
                text(|failure| &failure.name).into(),
                text(|failure| &failure.what).into(),
                text(|failure| &failure.help).into(),
                time.saturating_sub(report.started).into(),
                time.into(),
                voucher.unwrap_or_default().into(),
            ],
        ),
        Change::new(CLAIM, [device.into(), time.into()]),
    ];
    if let (Some(fingerprint), Some(file)) = (voucher, &report.voucher) {
        let values = [fingerprint.into(), device.into(), time.into(), file.as_str().into()];
        changes.push(Change::new(VOUCHER, values));
    }
    changes
}

fn cut(text: &str, most: usize) -> String {
    text.chars().filter(|c| !c.is_control() || *c == '\n').take(most).collect()
}

//! Vouchers: what the factory made of a device, in the chain of those before it, verified while somebody looks; and the label with
//! the fingerprint as a QR code.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;
use trustbox_api::Bytes;
use trustbox_package::request::parse_hex;

use super::Page;
use super::layout::{self, Document, table};
use super::line::{cut, position};
use super::session::Viewer;
use crate::service::problem::{Answer, Reason, Refusal};
use crate::service::store::line::VoucherRow;
use crate::station::label;
use crate::station::signed::VOUCHER;

/// Where the list goes on.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Before {
    before: String,
    q: String,
}

/// `GET /vouchers`.
pub async fn list(
    State(page): State<Arc<Page>>,
    viewer: Viewer,
    Query(asked): Query<Before>,
) -> Answer<Response> {
    let fingerprint: Option<Bytes<32>> = parse_hex(asked.q.trim());
    if let Some(fingerprint) = fingerprint {
        return Ok(axum::response::Redirect::to(&format!("/vouchers/{fingerprint}")).into_response());
    }
    let before = position(&asked.before);
    let mut found = page.service.store.vouchers((before.0, &before.1)).await?;
    let next = cut(&mut found, |last| format!("{}-{}", last.time, last.fingerprint));
    let body = html! {
        h1 { "Vouchers" }
        form.search method="get" action="/vouchers" role="search" {
            p { label for="q" { "Fingerprint, as on the label" } input id="q" name="q" value=(asked.q) maxlength="64" spellcheck="false"
                autocapitalize="none" aria-describedby=[(!asked.q.is_empty()).then_some("no-fingerprint")]; }
            button type="submit" { "Find" }
        }
        @if !asked.q.is_empty() { p.error id="no-fingerprint" role="alert" { "A fingerprint has 64 hexadecimal digits." } }
        (chain_table("Vouchers, the latest first", &found))
        @if let Some(next) = next { nav aria-label="More vouchers" { a rel="next" href={ "/vouchers?before=" (next) } { "Older" } } }
    };
    Ok(layout::page("Vouchers", "/vouchers", Some(&viewer), body).into_response())
}

/// Vouchers of one device.
pub fn chain(vouchers: &[VoucherRow]) -> Markup {
    chain_table("Vouchers of this device, the latest first", vouchers)
}

fn chain_table(caption: &str, vouchers: &[VoucherRow]) -> Markup {
    let rows = vouchers.iter().map(|voucher| html! {
        td { (layout::voucher(&voucher.fingerprint)) } td { (layout::device(&voucher.device_id)) } td { (layout::time(voucher.time)) }
    });
    table(caption, &["Fingerprint", "Device", "Signed"], rows.collect())
}

/// `GET /vouchers/{fingerprint}`.
pub async fn show(State(page): State<Arc<Page>>, viewer: Viewer, Path(id): Path<String>) -> Answer<Document> {
    let row = page.row(&id).await?;
    let says = VOUCHER.verify(row.file.as_bytes(), &page.service.factory_key()?);
    let verdict = match &says {
        Ok(_) => html! { p.state.good { "✓ The factory signed this voucher." } },
        Err(error) => html! { p.state.bad role="alert" { "✗ Not to be believed: " (error) "." } },
    };
    let says = says.unwrap_or_default();
    let previous = says["previous"].as_str().map(str::to_owned);
    let follows = match &previous {
        Some(previous) => page.service.store.voucher(previous).await?.is_some(),
        None => true,
    };
    let body = html! {
        h1 { "Voucher " code { (layout::short(&row.fingerprint)) } }
        (verdict)
        div.beside {
            dl {
                dt { "Fingerprint" } dd { code.id { (row.fingerprint) } }
                dt { "Device" } dd { (layout::device(&row.device_id)) }
                @if let Some(previous) = &previous {
                    dt { "Voucher before" } dd { (layout::voucher(previous)) @if !follows { " (not in this registry)" } }
                } @else { dt { "Voucher before" } dd { "none: the device's first" } }
                (fields("", &says))
            }
            figure {
                img src={ "/vouchers/" (row.fingerprint) "/label.svg" } width="220" height="220" alt={ "QR code of fingerprint " (row.fingerprint) };
                figcaption { "Label" }
            }
        }
        p { a href={ "/vouchers/" (row.fingerprint) "/file" } download { "Signed file" } }
    };
    Ok(layout::page("Voucher", "/vouchers", Some(&viewer), body))
}

/// What it says, field by field.
fn fields(before: &str, value: &Value) -> Markup {
    let known = ["previous", "device_id"];
    let pairs = value.as_object().into_iter().flatten().filter(|(name, _)| !known.contains(&name.as_str()));
    html! {
        @for (name, value) in pairs {
            @let name = if before.is_empty() { name.replace('_', " ") } else { format!("{before}, {}", name.replace('_', " ")) };
            @match value {
                Value::Object(_) => (fields(&name, value)),
                Value::String(text) => { dt { (name) } dd { code.id { (text) } } },
                Value::Number(seconds) if name == "time" => { dt { (name) } dd { (layout::time(seconds.as_u64().unwrap_or_default())) } },
                other => { dt { (name) } dd { code.id { (other) } } },
            }
        }
    }
}

/// `GET /vouchers/{fingerprint}/label.svg`.
pub async fn label(State(page): State<Arc<Page>>, _: Viewer, Path(id): Path<String>) -> Answer<Response> {
    let row = page.row(&id).await?;
    let svg = label::svg(&row.fingerprint).map_err(|_| Refusal::new(Reason::Internal, "no label"))?;
    Ok(([(header::CONTENT_TYPE, "image/svg+xml")], svg).into_response())
}

/// `GET /vouchers/{fingerprint}/file`.
pub async fn file(State(page): State<Arc<Page>>, _: Viewer, Path(id): Path<String>) -> Answer<Response> {
    let row = page.row(&id).await?;
    let name = format!("attachment; filename=\"{}.voucher.json\"", row.device_id);
    let kind = "application/json".to_owned();
    Ok(([(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, name)], row.file).into_response())
}

impl Page {
    async fn row(&self, fingerprint: &str) -> Answer<VoucherRow> {
        let row = self.service.store.voucher(fingerprint).await?;
        row.ok_or_else(|| Refusal::new(Reason::NotFound, "no such voucher"))
    }
}

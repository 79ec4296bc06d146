//! The line: who has which device in hand, what became of the others, what they failed of, how many passed.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use maud::{Markup, html};
use serde::Deserialize;

use super::layout::{self, Document, table};
use super::session::Viewer;
use super::{Page, vouchers};
use crate::protocol::parse_device_id;
use crate::service::line::DAY;
use crate::service::now;
use crate::service::problem::{Answer, Reason, Refusal};
use crate::service::store::line::{LineDevice, ROWS, Wanted, Yield};
use crate::station::report::Report;

/// Devices that are shown on the first page.
const LATEST: usize = 15;
/// Days of yields.
const DAYS: u64 = 30;

/// `GET /`.
pub async fn status(State(page): State<Arc<Page>>, viewer: Viewer) -> Answer<Document> {
    let store = &page.service.store;
    let (claims, totals, latest) =
        (store.claims("").await?, store.line_totals().await?, store.latest_devices(LATEST).await?);
    let today = store.yields(now() / DAY).await?;
    let total = |state: &str| totals.iter().find(|(name, _)| name == state).map_or(0, |(_, many)| *many);
    let claims = claims.iter().map(|claim| html! {
        td { (layout::device(&claim.device_id)) } td { (claim.station) } td { (claim.sku) } td { (claim.step) } td { (layout::time(claim.since)) }
    });
    let stations = today.iter().map(|day| html! {
        td { (day.station) } td { (day.sku) } td.number { (day.passed) } td.number { (day.failed) } td { (layout::time(day.latest)) }
    });
    let body = html! {
        h1 { "Line" }
        dl.totals {
            div { dt { "In hand" } dd { (claims.len()) } }
            div { dt { "Passed" } dd { (total("passed")) } }
            div { dt { "Failed" } dd { a href="/failures" { (total("failed")) } } }
        }
        (table("In hand now", &["Device", "Station", "SKU", "Last step", "Since"], claims.collect()))
        (table("Stations today", &["Station", "SKU", "Passed", "Failed", "Last device"], stations.collect()))
        (devices_table("Last devices", &latest))
    };
    Ok(layout::page("Line", "/", Some(&viewer), body))
}

fn devices_table(caption: &str, devices: &[LineDevice]) -> Markup {
    let rows = devices.iter().map(|device| html! {
        td { (layout::device(&device.device_id)) } td { (layout::state(&device.state)) } td { (device.failure) }
        td { (device.station) } td { (device.sku) } td { (layout::time(device.time)) }
    });
    table(caption, &["Device", "State", "Failure", "Station", "SKU", "Time"], rows.collect())
}

/// What devices are asked for.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Search {
    q: String,
    state: String,
    after: String,
}

/// `GET /devices`.
pub async fn devices(
    State(page): State<Arc<Page>>,
    viewer: Viewer,
    Query(search): Query<Search>,
) -> Answer<Document> {
    let prefix = search.q.trim().to_ascii_lowercase();
    let is_id = prefix.len() <= 64 && prefix.bytes().all(|byte| byte.is_ascii_hexdigit());
    let state = ["passed", "failed"].into_iter().find(|state| *state == search.state).unwrap_or_default();
    let wanted = Wanted { prefix: prefix.clone(), state: state.to_owned(), after: search.after };
    let mut found = if is_id { page.service.store.line_devices(&wanted).await? } else { Vec::new() };
    let last = cut(&mut found, |device| device.device_id.clone());
    let body = html! {
        h1 { "Devices" }
        form.search method="get" action="/devices" role="search" {
            p { label for="q" { "Device id begins with" } input id="q" name="q" value=(search.q) maxlength="64" spellcheck="false"
                autocapitalize="none" aria-describedby=[(!is_id).then_some("no-id")]; }
            p { label for="state" { "State" } select id="state" name="state" {
                @for (value, name) in [("", "all"), ("passed", "passed"), ("failed", "failed")] {
                    option value=(value) selected[value == state] { (name) }
                }
            } }
            button type="submit" { "Search" }
        }
        @if !is_id { p.error id="no-id" role="alert" { "A device id has the digits 0 to 9 and a to f, 64 at most." } }
        (devices_table("Devices found", &found))
        @if let Some(last) = last {
            nav aria-label="More devices" { a rel="next" href={ "/devices?q=" (prefix) "&state=" (state) "&after=" (last) } { "Next page" } }
        }
    };
    Ok(layout::page("Devices", "/devices", Some(&viewer), body))
}

/// `GET /devices/{id}`.
pub async fn device(
    State(page): State<Arc<Page>>,
    viewer: Viewer,
    Path(id): Path<String>,
) -> Answer<Document> {
    let store = &page.service.store;
    let none = || Refusal::new(Reason::NotFound, "no such device");
    let id = parse_device_id(&id).ok_or_else(none)?.to_string();
    let (line, registry) = (store.line_device(&id).await?, store.device(&id).await?);
    let claim = store.claims(&id).await?.pop();
    if line.is_none() && registry.is_none() && claim.is_none() {
        return Err(none());
    }
    let vouchers = store.vouchers_of(&id).await?;
    let body = html! {
        h1 { "Device " code { (layout::short(&id)) } }
        dl {
            dt { "Device id" } dd { code.id { (id) } }
            @if let Some(claim) = claim {
                dt { "In hand" } dd { (claim.station) ", last step " (claim.step) ", since " (layout::time(claim.since)) }
            }
            @if let Some(line) = &line {
                dt { "On the line" } dd { (layout::state(&line.state)) " at " (line.station) ", " (layout::time(line.time)) }
                @if !line.failure.is_empty() {
                    dt { "Failure" } dd { strong { (line.failure) } ": " (line.what) }
                    dt { "What to do" } dd { (line.help) }
                }
            }
            dt { "In the registry" }
            @match &registry {
                Some(device) => dd { (layout::state(&device.state)) ", class " (device.class) },
                None => dd { "not enrolled" },
            }
            @if let Some(device) = &registry { dt { "Device key" } dd { code.id { (device.device_key) } } }
        }
        (runs(&page, &id).await?)
        (vouchers::chain(&vouchers))
    };
    Ok(layout::page("Device", "/devices", Some(&viewer), body))
}

/// All runs of a device, from the signed reports.
async fn runs(page: &Page, id: &str) -> Answer<Markup> {
    let key = page.service.factory_key()?;
    let files = page.service.store.reports(id).await?;
    let row = |file: &String| match Report::verify(file.as_bytes(), &key) {
        Ok((report, _)) => html! {
            td { (layout::time(report.started)) } td { (report.station) } td { (report.step) }
            td { (layout::state(if report.failure.is_none() { "passed" } else { "failed" })) }
            td { (report.failure.map(|failure| format!("{}: {}", failure.name, failure.what)).unwrap_or_default()) }
            td.number { (report.time.saturating_sub(report.started)) " s" }
        },
        Err(error) => html! { td colspan="6" { "A report that does not verify: " (error) } },
    };
    let columns = ["Began", "Station", "Last step", "Outcome", "Failure", "Took"];
    Ok(table("Runs, as the stations signed them", &columns, files.iter().map(row).collect()))
}

/// Which failures are asked for, and where the list goes on.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Failed {
    kind: String,
    before: String,
}

/// `GET /failures`.
pub async fn failures(
    State(page): State<Arc<Page>>,
    viewer: Viewer,
    Query(asked): Query<Failed>,
) -> Answer<Document> {
    let store = &page.service.store;
    let totals = store.failure_totals().await?;
    let kind =
        if asked.kind.is_empty() { totals.first().map(|(name, _)| name.clone()) } else { Some(asked.kind) };
    let kind = kind.unwrap_or_default();
    let (mut found, before) = (Vec::new(), position(&asked.before));
    if !kind.is_empty() {
        found = store.failed_devices(&kind, (before.0, &before.1)).await?;
    }
    let next = cut(&mut found, |last| format!("{}-{}", last.time, last.device_id));
    let kinds = totals.iter().map(|(name, many)| html! {
        td { a href={ "/failures?kind=" (layout::escaped(name)) } aria-current=[(*name == kind).then_some("true")] { (name) } }
        td.number { (many) }
    });
    let rows = found.iter().map(|device| html! {
        td { (layout::device(&device.device_id)) } td { (device.step) } td { (device.what) } td { (device.help) } td { (device.station) }
        td { (layout::time(device.time)) }
    });
    let columns = ["Device", "Last step", "What it was", "What to do", "Station", "Time"];
    let body = html! {
        h1 { "Failures" }
        (table("Devices that fail now, by kind", &["Failure", "Devices"], kinds.collect()))
        @if !kind.is_empty() { (table(&format!("Failure {kind}"), &columns, rows.collect())) }
        @if let Some(next) = next {
            nav aria-label="More failures" {
                a rel="next" href={ "/failures?kind=" (layout::escaped(&kind)) "&before=" (next) } { "Older" }
            }
        }
    };
    Ok(layout::page("Failures", "/failures", Some(&viewer), body))
}

/// Cuts what was found to a page; where the list goes on, if it does: the store looks for one row more.
pub(super) fn cut<T>(found: &mut Vec<T>, place: impl Fn(&T) -> String) -> Option<String> {
    let more = found.len() > ROWS;
    found.truncate(ROWS);
    found.last().filter(|_| more).map(place)
}

/// Where a list goes on, `TIME-ID`; from its beginning where it is not said.
pub(super) fn position(text: &str) -> (u64, String) {
    let (time, id) = text.split_once('-').unwrap_or((text, ""));
    time.parse().map_or((i64::MAX as u64, String::new()), |time| (time, id.to_owned()))
}

/// `GET /yields`.
pub async fn yields(State(page): State<Arc<Page>>, viewer: Viewer) -> Answer<Document> {
    let since = (now() / DAY).saturating_sub(DAYS - 1);
    let found = page.service.store.yields(since).await?;
    let mut days: BTreeMap<u64, (u64, u64)> = (since..=now() / DAY).map(|day| (day, (0, 0))).collect();
    for one in &found {
        let day = days.entry(one.day).or_default();
        *day = (day.0 + one.passed, day.1 + one.failed);
    }
    let rows = found.iter().map(|one| html! {
        td { (layout::day(one.day)) } td { (one.station) } td { (one.sku) } td.number { (one.first) } td.number { (one.passed) }
        td.number { (one.failed) } td.number { (percent(one)) }
    });
    let columns = ["Day", "Station", "SKU", "Passed at once", "Passed", "Failed", "Yield"];
    let body = html! {
        h1 { "Yields" }
        p { "Runs of the last " (DAYS) " days. The yield of a day is the share of its runs that passed." }
        (chart(&days))
        (table("Runs by day, station and SKU", &columns, rows.collect()))
    };
    Ok(layout::page("Yields", "/yields", Some(&viewer), body))
}

fn percent(one: &Yield) -> String {
    match one.passed + one.failed {
        0 => "none".to_owned(),
        all => format!("{:.1} %", 100.0 * one.passed as f64 / all as f64),
    }
}

/// A bar for each day: passed below, failed hatched above. The table says the same in numbers.
fn chart(days: &BTreeMap<u64, (u64, u64)>) -> Markup {
    const HEIGHT: u64 = 120;
    let most = days.values().map(|(passed, failed)| passed + failed).max().unwrap_or_default().max(1);
    let width = 20 * days.len();
    let label = format!(
        "Runs of each of the last {} days, {most} at most; the table below has the numbers",
        days.len()
    );
    html! {
        figure {
            svg role="img" aria-label=(label) viewBox={ "0 0 " (width) " " (HEIGHT) } width=(width) height=(HEIGHT) {
                rect width=(width) height=(HEIGHT) fill="#f4f4f4" {}
                @for (index, (day, (passed, failed))) in days.iter().enumerate() {
                    @let (good, bad) = (passed * HEIGHT / most, failed * HEIGHT / most);
                    g {
                        title { (layout::day(*day)) ": " (passed) " passed, " (failed) " failed" }
                        rect x=(20 * index + 3) y=(HEIGHT - good) width="14" height=(good) fill="#0b6b2e" {}
                        rect x=(20 * index + 3) y=(HEIGHT.saturating_sub(good + bad)) width="14" height=(bad) fill="#fff" stroke="#a4161a"
                            stroke-width=(if bad > 0 { "2" } else { "0" }) {}
                    }
                }
            }
            figcaption { "Filled: passed. Outlined: failed." }
        }
    }
}

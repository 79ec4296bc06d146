//! The audit log: its head, its end, and whether the whole chain verifies, which is looked at when somebody asks, behind their back
//! where it takes long. Roles admin and auditor.

use std::sync::{Arc, PoisonError};

use axum::Form;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Redirect;
use maud::{Markup, html};
use serde_json::Value;

use super::Page;
use super::layout::{self, Document, table};
use super::login::Out;
use super::session::{Viewer, check_form};
use crate::audit::{Head, Record};
use crate::service::now;
use crate::service::problem::{Answer, Reason, Refusal};
use crate::service::store::Store;
use crate::service::store::change::Event;

/// Records that are shown.
const SHOWN: u64 = 20;

/// What is known of the chain.
#[derive(Clone, Default)]
pub struct Verification {
    running: bool,
    /// When it ended, up to which record it is whole, and what is wrong.
    last: Option<(u64, Head, Option<String>)>,
}

/// `GET /audit`.
pub async fn show(State(page): State<Arc<Page>>, viewer: Viewer) -> Answer<Document> {
    may(&viewer)?;
    let store = &page.service.store;
    let head = store.audit_head().await?;
    let mut records = store.audit(head.sequence.saturating_sub(SHOWN)).await?;
    records.reverse();
    let verification = page.verified.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let columns = ["Record", "Time", "Who", "Did what", "To what", "Outcome", "More"];
    let body = html! {
        h1 { "Audit" }
        dl {
            dt { "Head, to be noted elsewhere" } dd { code.id { (head.sequence) ":" (head.hash.to_string()) } }
            dt { "Chain" } dd { (verdict(&verification)) }
        }
        form method="post" action="/audit/verify" {
            input type="hidden" name="form" value=(viewer.form);
            button type="submit" disabled[verification.running] { "Verify the whole chain" }
        }
        (table("The last records", &columns, records.iter().map(row).collect()))
    };
    Ok(layout::page("Audit", "/audit", Some(&viewer), body))
}

fn may(viewer: &Viewer) -> Answer<()> {
    let other =
        || Refusal::new(Reason::Role, format!("role {} does not read the audit log", viewer.role.name()));
    viewer.reads_audit().then_some(()).ok_or_else(other)
}

fn verdict(verification: &Verification) -> Markup {
    html! {
        @match &verification.last {
            None => span { "not verified since this instance started" },
            Some((time, head, None)) => {
                span.state.good { "✓ whole" } " up to record " (head.sequence) ", verified " (layout::time(*time))
            },
            Some((time, head, Some(wrong))) => {
                span.state.bad role="alert" { "✗ broken" } " after record " (head.sequence) ": " (wrong) ", seen " (layout::time(*time))
            },
        }
        @if verification.running { "; being verified now: load this page again" }
    }
}

fn row(record: &Record) -> Markup {
    let body: Value = serde_json::from_str(&record.body).unwrap_or_default();
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    html! {
        td.number { (record.sequence) } td { (layout::time(body["time"].as_u64().unwrap_or_default())) } td { (text("actor")) }
        td { (text("action")) } td { code { (layout::short(&text("object"))) } } td { (text("outcome")) } td { (text("reason")) }
    }
}

/// `POST /audit/verify`.
pub async fn verify(
    State(page): State<Arc<Page>>,
    viewer: Viewer,
    headers: HeaderMap,
    Form(out): Form<Out>,
) -> Answer<Redirect> {
    may(&viewer)?;
    check_form(&headers, &viewer.form, &out.form)?;
    let running = {
        let mut verified = page.verified.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut verified.running, true)
    };
    if !running {
        let event = Event {
            actor: viewer.actor(),
            action: "page-verify-audit",
            object: String::new(),
            outcome: "allowed",
            reason: String::new(),
        };
        let noted = page.service.writer.note(event).await;
        let task = Arc::clone(&page);
        let work = tokio::spawn(async move {
            let (head, wrong) = follow(&task.service.store).await;
            let mut verified = task.verified.lock().unwrap_or_else(PoisonError::into_inner);
            *verified = Verification { running: false, last: Some((now(), head, wrong)) };
        });
        // Mostly it is done before the browser asks again.
        let _ = tokio::time::timeout(std::time::Duration::from_millis(100), work).await;
        noted?;
    }
    Ok(Redirect::to("/audit"))
}

/// Follows the chain from its first record to its head.
async fn follow(store: &Store) -> (Head, Option<String>) {
    let mut head = Head::default();
    loop {
        let records = match store.audit(head.sequence).await {
            Ok(records) => records,
            Err(refusal) => return (head, Some(refusal.detail)),
        };
        if records.is_empty() {
            break;
        }
        for record in &records {
            if let Err(error) = head.follow(record) {
                return (head, Some(format!("{error:#}")));
            }
        }
        tokio::task::yield_now().await;
    }
    // Records may have come meanwhile, but none may be missing at the end.
    match store.audit_head().await {
        Ok(noted) if noted.sequence < head.sequence || (noted.sequence == head.sequence && noted != head) => {
            (head, Some("the head is another one".to_owned()))
        }
        Ok(noted) if noted.sequence > head.sequence && missing(store, &head).await => {
            (head, Some("records before the head are missing".to_owned()))
        }
        Ok(_) => (head, None),
        Err(refusal) => (head, Some(refusal.detail)),
    }
}

/// Whether nothing comes after a record that is not the last one.
async fn missing(store: &Store, head: &Head) -> bool {
    store.audit(head.sequence).await.is_ok_and(|records| records.is_empty())
}

//! Class keys: made, rotated, disabled, destroyed. Only their names, versions and policies are here; keys are in the vault.
//!
//! | state of a version | released | what moves it on |
//! | --- | --- | --- |
//! | `active` | until it retires | `disable` |
//! | `disabled` | no | `enable`, `destroy` |
//! | `destroyed` | never again | nothing |

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes as Body;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};
use trustbox_api::key::KeyRef;

use super::identity::Client;
use super::problem::{Answer, Reason, Refusal};
use super::registry::event;
use super::store::KeyRow;
use super::store::change::Change;
use super::{Service, damaged, now};
use crate::protocol::{KeyChange, Rotation, parse_key_name};

/// Seconds of an overlap at most.
const MAX_OVERLAP: u64 = 10 * 366 * 86_400;

/// Adds a version of a key, and first the key itself with its policy where there is none; a conflict where somebody else did.
pub fn add(key: &KeyRef, material: &str, new_with_policy: Option<&str>) -> Vec<Change> {
    let name = key.name.as_str();
    let version = "INSERT INTO versions (name, version, state, retires, material, changed) \
        VALUES ($1, $2, 'active', 0, $3, $4) ON CONFLICT DO NOTHING";
    let version = Change::new(version, [name.into(), key.version.into(), material.into(), now().into()]);
    let Some(policy) = new_with_policy else { return vec![version.must()] };
    let insert = "INSERT INTO keys (name, policy, changed) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    vec![Change::new(insert, [name.into(), policy.into(), now().into()]).must(), version]
}

/// `GET /v1/keys`.
pub async fn list(State(service): State<Arc<Service>>) -> Answer<Json<Value>> {
    let keys = service.store.keys().await?;
    Ok(Json(json!({"keys": keys.iter().map(to_json).collect::<Answer<Vec<_>>>()?})))
}

/// `GET /v1/keys/{name}`.
pub async fn show(State(service): State<Arc<Service>>, Path(name): Path<String>) -> Answer<Json<Value>> {
    Ok(Json(to_json(&service.key(&name).await?)?))
}

/// `PUT /v1/keys/{name}`.
pub async fn set(
    State(service): State<Arc<Service>>,
    Extension(client): Extension<Client>,
    Path(name): Path<String>,
    body: Result<Body, BytesRejection>,
) -> Answer<Json<Value>> {
    let change: KeyChange = super::parse(&service.body(body)?)?;
    let key = parse_key_name(&name)
        .ok_or_else(|| Refusal::new(Reason::Malformed, "the name is not one of a key"))?;
    let policy = serde_json::to_string(&change.policy).map_err(|_| damaged("policy"))?;
    let event = event(&client, "set-key", &name, format!("policy {policy}"));
    if service.store.key(&name).await?.is_some() {
        let update = "UPDATE keys SET policy = $1, changed = $2 WHERE name = $3";
        let values = [policy.into(), now().into(), name.as_str().into()];
        service.writer.change(event, vec![Change::new(update, values).must()]).await?;
    } else {
        let material = service.vault.create(&key).await?;
        let made = service.writer.change(event, add(&key, &material, Some(&policy))).await;
        undo(&service, made, &material).await?;
    }
    Ok(Json(to_json(&service.key(&name).await?)?))
}

/// `POST /v1/keys/{name}/versions`.
pub async fn rotate(
    State(service): State<Arc<Service>>,
    Extension(client): Extension<Client>,
    Path(name): Path<String>,
    body: Result<Body, BytesRejection>,
) -> Answer<Json<Value>> {
    let rotation: Rotation = super::parse_or_default(&service.body(body)?)?;
    let row = service.key(&name).await?;
    let newest = row.versions.first().map_or(0, |version| version.version);
    let next = newest
        .checked_add(1)
        .and_then(|version| KeyRef::new(&name, version))
        .ok_or_else(|| damaged("version"))?;
    let retires = now().saturating_add(rotation.overlap.min(MAX_OVERLAP));
    let material = service.vault.create(&next).await?;
    let retire = "UPDATE versions SET retires = $1, changed = $2 WHERE name = $3 AND version < $4 AND (retires = 0 OR retires > $1)";
    let retire =
        Change::new(retire, [retires.into(), now().into(), name.as_str().into(), next.version.into()]);
    let event =
        event(&client, "rotate-key", &name, format!("version {}, older ones until {retires}", next.version));
    let mut changes = add(&next, &material, None);
    changes.push(retire);
    let made = service.writer.change(event, changes).await;
    undo(&service, made, &material).await?;
    Ok(Json(to_json(&service.key(&name).await?)?))
}

/// `POST /v1/keys/{name}/versions/{version}/disable`.
pub async fn disable(
    State(service): State<Arc<Service>>,
    Extension(client): Extension<Client>,
    Path((name, version)): Path<(String, u32)>,
) -> Answer<Json<Value>> {
    let update = "UPDATE versions SET state = 'disabled', changed = $1 WHERE name = $2 AND version = $3 AND state = 'active'";
    turn(&service, &client, "disable-version", update, &name, version, "disabled").await
}

/// `POST /v1/keys/{name}/versions/{version}/enable`.
pub async fn enable(
    State(service): State<Arc<Service>>,
    Extension(client): Extension<Client>,
    Path((name, version)): Path<(String, u32)>,
) -> Answer<Json<Value>> {
    let update = "UPDATE versions SET state = 'active', changed = $1 WHERE name = $2 AND version = $3 AND state = 'disabled'";
    turn(&service, &client, "enable-version", update, &name, version, "active").await
}

/// `POST /v1/keys/{name}/versions/{version}/destroy`: the first admin approves, another one does it.
pub async fn destroy(
    State(service): State<Arc<Service>>,
    Extension(client): Extension<Client>,
    Path((name, version)): Path<(String, u32)>,
) -> Answer<(StatusCode, Json<Value>)> {
    let (row, object) = (service.key(&name).await?, format!("{name}@{version}"));
    let found = row.choose(Some(version))?;
    match found.state.as_str() {
        "destroyed" => return Ok((StatusCode::OK, Json(to_json(&row)?))),
        "active" => return Err(Refusal::new(Reason::Conflict, "the version is active: disable it first")),
        _ => {}
    }
    let Some(first) = service.store.approved_by("destroy-version", &object).await? else {
        let insert = "INSERT INTO approvals (action, object, actor, time) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
        let values = ["destroy-version".into(), object.as_str().into(), client.actor().into(), now().into()];
        let event =
            event(&client, "destroy-version", &object, "approved; another admin is needed".to_owned());
        service.writer.change(event, vec![Change::new(insert, values).must()]).await?;
        return Ok((StatusCode::ACCEPTED, Json(json!({"approved_by": client.actor(), "needed": 1}))));
    };
    if same_person(&first, &client) {
        return Err(Refusal::new(Reason::SecondPerson, "the one who approved cannot be the one who does it"));
    }
    // The vault first: a key that is gone but not written down can be destroyed again, one written down as gone must be.
    service.vault.destroy(&found.material).await?;
    let update = "UPDATE versions SET state = 'destroyed', material = '', changed = $1 WHERE name = $2 AND version = $3 AND state = 'disabled'";
    let update = Change::new(update, [now().into(), name.as_str().into(), version.into()]);
    let delete = "DELETE FROM approvals WHERE action = $1 AND object = $2";
    let delete = Change::new(delete, ["destroy-version".into(), object.as_str().into()]);
    let event = event(&client, "destroy-version", &object, format!("destroyed; approved by {first}"));
    service.writer.change(event, vec![update.must(), delete]).await?;
    Ok((StatusCode::OK, Json(to_json(&service.key(&name).await?)?)))
}

/// The same name or the same certificate is the same person, whatever the other is.
fn same_person(first: &str, second: &Client) -> bool {
    let actor = second.actor();
    let parts = |actor: &str| {
        actor.rsplit_once(':').map(|(name, fingerprint)| (name.to_owned(), fingerprint.to_owned()))
    };
    match (parts(first), parts(&actor)) {
        (Some(first), Some(second)) => first.0 == second.0 || first.1 == second.1,
        _ => true,
    }
}

async fn turn(
    service: &Service,
    client: &Client,
    action: &'static str,
    update: &'static str,
    name: &str,
    version: u32,
    state: &str,
) -> Answer<Json<Value>> {
    let row = service.key(name).await?;
    if row.choose(Some(version))?.state != state {
        let update = Change::new(update, [now().into(), name.into(), version.into()]);
        let event = event(client, action, &format!("{name}@{version}"), format!("now {state}"));
        service.writer.change(event, vec![update.must()]).await?;
    }
    Ok(Json(to_json(&service.key(name).await?)?))
}

/// A key that the database did not take is not left behind.
async fn undo(service: &Service, made: Answer<()>, material: &str) -> Answer<()> {
    if made.is_err()
        && let Err(refusal) = service.vault.destroy(material).await
    {
        tracing::error!(reason = refusal.detail, "a key that nobody uses is left in the token");
    }
    made
}

fn to_json(row: &KeyRow) -> Answer<Value> {
    let policy: Value = serde_json::from_str(&row.policy).map_err(|_| damaged("policy"))?;
    let version = |version: &super::store::VersionRow| {
        let retires = (version.retires != 0).then_some(version.retires);
        json!({"version": version.version, "state": version.state, "retires": retires})
    };
    Ok(
        json!({"name": row.name, "policy": policy, "versions": row.versions.iter().map(version).collect::<Vec<_>>()}),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::identity::Role;

    #[test]
    fn a_second_certificate_does_not_make_a_second_person() {
        let client = |name: &str, fingerprint: &str| Client {
            role: Some(Role::Admin),
            name: name.to_owned(),
            fingerprint: fingerprint.repeat(16),
        };
        let alice = client("alice", "aaaa");
        assert!(same_person(&alice.actor(), &alice));
        assert!(same_person(&alice.actor(), &client("alice", "bbbb")));
        assert!(same_person(&alice.actor(), &client("bob", "aaaa")));
        assert!(!same_person(&alice.actor(), &client("bob", "bbbb")));
    }
}

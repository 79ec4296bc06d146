//! The only way to change anything: a change and its audit record are one transaction, and nobody hears of it before it is
//! durable.
//!
//! Work that arrives while a transaction is on its way waits and goes with the next one, all of it together: one write to the
//! disk serves many (group commit). The transaction begins by locking the audit log's head, so that several instances on one
//! database take turns, and what is checked here (challenge unused, device enrolled, version active, quota) stays so until the
//! transaction ends. What would be half of a transaction is none.

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use sqlx::any::AnyRow;
use sqlx::query::Query;
use sqlx::{Any, AnyPool, AssertSqlSafe, Row, Transaction};
use tokio::sync::{mpsc, oneshot};
use trustbox_package::request::parse_hex;

use crate::audit::{Head, Record};
use crate::service::now;
use crate::service::problem::{Answer, Reason, Refusal};
use crate::service::store::Store;

/// Works of one transaction at most.
const MAX_BATCH: usize = 256;
/// Works that may wait.
const QUEUE: usize = 1024;
/// Seconds that this host's clock may be behind another instance's.
const CLOCK_TOLERANCE: u64 = 300;

/// What an audit record says.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// Who: role, name and fingerprint.
    pub actor: String,
    /// Did what.
    pub action: &'static str,
    /// To what.
    pub object: String,
    /// `allowed`, `denied` or `failed`.
    pub outcome: &'static str,
    /// More about it.
    pub reason: String,
}

/// A release that the policy allowed.
#[derive(Clone, Debug)]
pub struct Release {
    /// The challenge that the token answers.
    pub challenge: String,
    /// Number of the release.
    pub id: String,
    /// The device.
    pub device_id: String,
    /// Name of the key.
    pub name: String,
    /// Version of the key.
    pub version: u32,
    /// SHA-256 of what was asked.
    pub digest: String,
    /// The bundle in base64.
    pub bundle: String,
    /// Releases at most, within so many seconds.
    pub quota: Option<(u32, u32)>,
}

/// A value in a statement.
#[derive(Clone, Debug)]
pub enum Value {
    /// A text.
    Text(String),
    /// A number.
    Number(i64),
}

/// One SQL statement; `must` change something if it is the first of its work.
#[derive(Clone, Debug)]
pub struct Change {
    /// With `$1` and so on.
    pub sql: &'static str,
    /// For these.
    pub values: Vec<Value>,
    /// Whether nothing changed is a conflict, and nothing else is done then.
    pub must: bool,
}

/// What is done, besides the audit record.
enum Act {
    Release(Box<Release>),
    Changes(Vec<Change>),
}

struct Work {
    event: Event,
    act: Act,
    answer: oneshot::Sender<Answer<Done>>,
}

/// What was done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Done {
    /// Number of the release and its bundle, as they were the first time.
    pub release: Option<(String, String)>,
}

/// Takes work to the database.
#[derive(Clone)]
pub struct Writer {
    queue: mpsc::Sender<Work>,
}

impl Writer {
    /// Starts the task that writes.
    pub fn start(store: &Store, instance: String) -> Self {
        let (queue, works) = mpsc::channel(QUEUE);
        tokio::spawn(write(store.pool.clone(), instance, works));
        Self { queue }
    }

    /// Writes a record, and nothing else.
    pub async fn note(&self, event: Event) -> Answer<()> {
        self.change(event, Vec::new()).await
    }

    /// Makes changes.
    pub async fn change(&self, event: Event, changes: Vec<Change>) -> Answer<()> {
        self.hand_over(event, Act::Changes(changes)).await.map(drop)
    }

    /// Notes a release; returns the first one where the same was released before.
    pub async fn release(&self, event: Event, release: Release) -> Answer<(String, String)> {
        let done = self.hand_over(event, Act::Release(Box::new(release))).await?;
        done.release.ok_or_else(|| Refusal::new(Reason::Internal, "a release without a bundle"))
    }

    async fn hand_over(&self, event: Event, act: Act) -> Answer<Done> {
        let gone = || Refusal::new(Reason::Database, "the service is stopping");
        let (answer, done) = oneshot::channel();
        self.queue.send(Work { event, act, answer }).await.map_err(|_| gone())?;
        done.await.map_err(|_| gone())?
    }
}

impl Change {
    /// A statement for values.
    pub fn new(sql: &'static str, values: impl IntoIterator<Item = Value>) -> Self {
        Self { sql, values: values.into_iter().collect(), must: false }
    }

    /// It must change something.
    pub fn must(mut self) -> Self {
        self.must = true;
        self
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

/// The head in a row that begins with sequence and hash.
pub(super) fn head(row: &AnyRow) -> Answer<Head> {
    let hash: String = row.try_get(1)?;
    let damaged = || Refusal::new(Reason::Database, "the audit log's head is damaged");
    Ok(Head { sequence: row.try_get::<i64, _>(0)? as u64, hash: parse_hex(&hash).ok_or_else(damaged)? })
}

async fn write(pool: AnyPool, instance: String, mut works: mpsc::Receiver<Work>) {
    let mut batch = Vec::new();
    while works.recv_many(&mut batch, MAX_BATCH).await > 0 {
        let refused = match transact(&pool, &instance, &batch).await {
            Ok(done) => {
                batch.drain(..).zip(done).for_each(|(work, done)| drop(work.answer.send(done)));
                continue;
            }
            Err(refused) => refused,
        };
        // One of them may be to blame: the others must not suffer. Without a database all do.
        let alone = batch.len() > 1 && refused.reason == Reason::Database && pool.acquire().await.is_ok();
        for work in batch.drain(..) {
            let done = match alone {
                true => transact(&pool, &instance, std::slice::from_ref(&work)).await,
                false => Err(refused.clone()),
            };
            let _ = work.answer.send(done.and_then(|mut done| done.pop().unwrap_or_else(|| Err(lost()))));
        }
    }
}

fn lost() -> Refusal {
    Refusal::new(Reason::Internal, "a work without an answer")
}

async fn transact(pool: &AnyPool, instance: &str, works: &[Work]) -> Answer<Vec<Answer<Done>>> {
    let mut transaction = pool.begin().await?;
    let lock = "UPDATE audit_head SET id = 1 WHERE id = 1 RETURNING sequence, hash, time";
    let row = sqlx::query(lock).fetch_one(&mut *transaction).await?;
    let (mut head, last) = (head(&row)?, row.try_get::<i64, _>(2)? as u64);
    let time = now();
    if time + CLOCK_TOLERANCE < last {
        let detail = format!("this host's clock says {time}, the audit log was at {last} before");
        return Err(Refusal::new(Reason::Clock, detail));
    }
    let time = time.max(last);
    let mut batch = Batch::load(&mut transaction, works).await?;
    let (mut done, mut records) = (Vec::with_capacity(works.len()), Vec::with_capacity(works.len()));
    for work in works {
        let result = batch.act(&mut transaction, &work.act, time).await?;
        let body = body(head.sequence + 1, time, instance, &work.event, result.as_ref().err());
        records.push(head.append(body));
        done.push(result.map_err(|refusal| Refusal { recorded: true, ..refusal }));
    }
    batch.insert(&mut transaction, time).await?;
    insert_records(&mut transaction, &records).await?;
    let update = "UPDATE audit_head SET sequence = $1, hash = $2, time = $3 WHERE id = 1";
    let update = sqlx::query(update).bind(head.sequence as i64).bind(head.hash.to_string()).bind(time as i64);
    update.execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(done)
}

/// A record as text; what the transaction itself refused is denied.
fn body(sequence: u64, time: u64, instance: &str, event: &Event, refused: Option<&Refusal>) -> String {
    let (outcome, reason) = match refused {
        Some(refusal) => ("denied", format!("{}: {}", refusal.reason.name(), refusal.detail)),
        None => (event.outcome, event.reason.clone()),
    };
    let body = serde_json::json!({
        "sequence": sequence,
        "time": time,
        "instance": instance,
        "actor": event.actor,
        "action": event.action,
        "object": event.object,
        "outcome": outcome,
        "reason": reason,
    });
    body.to_string()
}

/// What the releases of one transaction are held against.
#[derive(Default)]
struct Batch<'a> {
    used: HashMap<String, (String, String, String)>,
    enrolled: HashSet<String>,
    active: HashSet<(String, u32)>,
    fresh: Vec<&'a Release>,
}

impl<'a> Batch<'a> {
    async fn load(transaction: &mut Transaction<'_, Any>, works: &'a [Work]) -> Answer<Self> {
        let releases: Vec<&Release> = works.iter().filter_map(Work::release).collect();
        let mut batch = Self::default();
        if releases.is_empty() {
            return Ok(batch);
        }
        let challenges = releases.iter().map(|release| release.challenge.as_str());
        let sql = "SELECT challenge, digest, id, bundle FROM releases WHERE challenge IN ";
        for row in select_in(transaction, sql, challenges).await? {
            batch.used.insert(row.try_get(0)?, (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?));
        }
        let devices: HashSet<&str> = releases.iter().map(|release| release.device_id.as_str()).collect();
        let sql = "SELECT device_id FROM devices WHERE state = 'enrolled' AND device_id IN ";
        for row in select_in(transaction, sql, devices.into_iter()).await? {
            batch.enrolled.insert(row.try_get(0)?);
        }
        let names: HashSet<&str> = releases.iter().map(|release| release.name.as_str()).collect();
        let sql = "SELECT name, version FROM versions WHERE state = 'active' AND name IN ";
        for row in select_in(transaction, sql, names.into_iter()).await? {
            batch.active.insert((row.try_get(0)?, row.try_get::<i64, _>(1)? as u32));
        }
        Ok(batch)
    }

    async fn act(
        &mut self,
        transaction: &mut Transaction<'_, Any>,
        act: &'a Act,
        time: u64,
    ) -> Answer<Answer<Done>> {
        match act {
            Act::Release(release) => self.release(transaction, release, time).await,
            Act::Changes(changes) => apply(transaction, changes).await,
        }
    }

    async fn release(
        &mut self,
        transaction: &mut Transaction<'_, Any>,
        release: &'a Release,
        time: u64,
    ) -> Answer<Answer<Done>> {
        if !self.enrolled.contains(&release.device_id) {
            return Ok(Err(Refusal::new(Reason::DeviceState, "the device is not enrolled any more")));
        }
        if !self.active.contains(&(release.name.clone(), release.version)) {
            return Ok(Err(
                Refusal::new(Reason::Policy, "the version is not active any more").by_rule("version")
            ));
        }
        if let Some((digest, id, bundle)) = self.used.get(&release.challenge) {
            let same = *digest == release.digest;
            let used = || Refusal::new(Reason::ChallengeUsed, "every release takes a challenge of its own");
            return Ok(if same {
                Ok(Done { release: Some((id.clone(), bundle.clone())) })
            } else {
                Err(used())
            });
        }
        if let Some(refusal) = self.over_quota(transaction, release, time).await? {
            return Ok(Err(refusal));
        }
        let (id, bundle) = (release.id.clone(), release.bundle.clone());
        self.used.insert(release.challenge.clone(), (release.digest.clone(), id.clone(), bundle.clone()));
        self.fresh.push(release);
        Ok(Ok(Done { release: Some((id, bundle)) }))
    }

    async fn over_quota(
        &self,
        transaction: &mut Transaction<'_, Any>,
        release: &Release,
        time: u64,
    ) -> Answer<Option<Refusal>> {
        let Some((limit, seconds)) = release.quota else { return Ok(None) };
        let select = "SELECT count(*) FROM releases WHERE device_id = $1 AND name = $2 AND time > $3";
        let since = time.saturating_sub(seconds.into()) as i64;
        let query =
            sqlx::query(select).bind(release.device_id.clone()).bind(release.name.clone()).bind(since);
        let before: i64 = query.fetch_one(&mut **transaction).await?.try_get(0)?;
        let same = |other: &&&Release| other.device_id == release.device_id && other.name == release.name;
        let found = before as u64 + self.fresh.iter().filter(same).count() as u64;
        let detail = format!("{found} releases within {seconds} seconds, allowed are {limit}");
        let refusal = || Refusal::new(Reason::Quota, detail).by_rule("quota").after(seconds.into());
        Ok((found >= limit.into()).then(refusal))
    }

    async fn insert(&self, transaction: &mut Transaction<'_, Any>, time: u64) -> Answer<()> {
        if self.fresh.is_empty() {
            return Ok(());
        }
        let sql =
            "INSERT INTO releases (challenge, id, device_id, name, version, time, digest, bundle) VALUES ";
        let sql = format!("{sql}{}", placeholders(self.fresh.len(), 8));
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for release in &self.fresh {
            query = query
                .bind(release.challenge.clone())
                .bind(release.id.clone())
                .bind(release.device_id.clone());
            query = query.bind(release.name.clone()).bind(i64::from(release.version)).bind(time as i64);
            query = query.bind(release.digest.clone()).bind(release.bundle.clone());
        }
        query.execute(&mut **transaction).await?;
        Ok(())
    }
}

impl Work {
    fn release(&self) -> Option<&Release> {
        match &self.act {
            Act::Release(release) => Some(release),
            Act::Changes(_) => None,
        }
    }
}

async fn apply(transaction: &mut Transaction<'_, Any>, changes: &[Change]) -> Answer<Answer<Done>> {
    for (index, change) in changes.iter().enumerate() {
        let query = bind(sqlx::query(change.sql), &change.values);
        let changed = query.execute(&mut **transaction).await?.rows_affected();
        if change.must && changed == 0 && index == 0 {
            return Ok(Err(Refusal::new(Reason::Conflict, "what is there does not allow it")));
        }
    }
    Ok(Ok(Done { release: None }))
}

async fn insert_records(transaction: &mut Transaction<'_, Any>, records: &[Record]) -> Answer<()> {
    let sql = "INSERT INTO audit (sequence, previous, hash, body) VALUES ";
    let mut query = sqlx::query(AssertSqlSafe(format!("{sql}{}", placeholders(records.len(), 4))));
    for record in records {
        query = query.bind(record.sequence as i64).bind(record.previous.clone());
        query = query.bind(record.hash.clone()).bind(record.body.clone());
    }
    query.execute(&mut **transaction).await?;
    Ok(())
}

async fn select_in<'a>(
    transaction: &mut Transaction<'_, Any>,
    sql: &str,
    values: impl ExactSizeIterator<Item = &'a str>,
) -> Answer<Vec<AnyRow>> {
    let sql = format!("{sql}{}", placeholders(1, values.len()));
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for value in values {
        query = query.bind(value.to_owned());
    }
    Ok(query.fetch_all(&mut **transaction).await?)
}

pub(super) fn bind<'q>(
    query: Query<'q, Any, <Any as sqlx::Database>::Arguments>,
    values: &[Value],
) -> Query<'q, Any, <Any as sqlx::Database>::Arguments> {
    values.iter().fold(query, |query, value| match value {
        Value::Text(text) => query.bind(text.clone()),
        Value::Number(number) => query.bind(*number),
    })
}

/// `($1, $2), ($3, $4)` for two rows of two.
pub(super) fn placeholders(rows: usize, columns: usize) -> String {
    let row = |row: usize| {
        let names: Vec<_> = (1..=columns).map(|column| format!("${}", row * columns + column)).collect();
        format!("({})", names.join(", "))
    };
    (0..rows).map(row).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_count_on() {
        assert_eq!(placeholders(2, 2), "($1, $2), ($3, $4)");
        assert_eq!(placeholders(1, 3), "($1, $2, $3)");
    }
}

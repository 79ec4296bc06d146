//! The only way to change anything: a change and its audit record are one transaction, and nobody hears of it before it is
//! durable.
//!
//! Work that arrives while a transaction is on its way waits and goes with the next one, all of it together: one write to the
//! disk serves many (group commit). The transaction begins by locking the audit log's head, so that several instances on one
//! database take turns, and what is checked here (challenge unused, device enrolled, version active, quota) stays so until the
//! transaction ends. What would be half of a transaction is none.

use serde_json::json;
use sqlx::any::AnyRow;
use sqlx::{Any, AnyConnection, AnyPool, AssertSqlSafe, Connection, Row, Transaction};
use tokio::sync::{mpsc, oneshot};
use trustbox_package::request::parse_hex;

use super::batch::Batch;
use super::change::{Change, Done, Event, Release, bind, placeholders};
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
    let mut connection = pool.acquire().await?;
    let done = transact_on(&mut connection, instance, works).await;
    if done.is_err() {
        // A transaction that failed for want of space may still be open on it, under a savepoint that is counted as one: what is
        // written into that seems done, and is gone with the connection.
        connection.close_on_drop();
    }
    done
}

async fn transact_on(
    connection: &mut AnyConnection,
    instance: &str,
    works: &[Work],
) -> Answer<Vec<Answer<Done>>> {
    let mut transaction = connection.begin().await?;
    let lock = "UPDATE audit_head SET id = 1 WHERE id = 1 RETURNING sequence, hash, time";
    let row = sqlx::query(lock).fetch_one(&mut *transaction).await?;
    let (mut head, last) = (head(&row)?, row.try_get::<i64, _>(2)? as u64);
    let time = now();
    if time + CLOCK_TOLERANCE < last {
        let detail = format!("this host's clock says {time}, the audit log was at {last} before");
        return Err(Refusal::new(Reason::Clock, detail));
    }
    let time = time.max(last);
    let releases: Vec<&Release> = works.iter().filter_map(Work::release).collect();
    let mut batch = Batch::load(&mut transaction, &releases).await?;
    let (mut done, mut records) = (Vec::with_capacity(works.len()), Vec::with_capacity(works.len()));
    for work in works {
        let result = match &work.act {
            Act::Release(release) => batch.release(&mut transaction, release, time).await?,
            Act::Changes(changes) => apply(&mut transaction, changes).await?,
        };
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
    let body = json!({
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

//! The releases of one transaction, held against what is there: challenge unused, device enrolled, version active, quota left.

use std::collections::{HashMap, HashSet};

use sqlx::any::AnyRow;
use sqlx::{Any, AssertSqlSafe, Row, Transaction};

use super::change::{Done, Release, placeholders};
use crate::service::problem::{Answer, Reason, Refusal};

/// What the releases of one transaction are held against.
#[derive(Default)]
pub(super) struct Batch<'a> {
    used: HashMap<String, (String, String, String)>,
    enrolled: HashSet<String>,
    active: HashSet<(String, u32)>,
    fresh: Vec<&'a Release>,
}

impl<'a> Batch<'a> {
    /// What the database knows of these releases.
    pub(super) async fn load(transaction: &mut Transaction<'_, Any>, releases: &[&Release]) -> Answer<Self> {
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

    /// Whether a release may be, as things are in this transaction; refused ones leave nothing.
    pub(super) async fn release(
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

    /// Writes the new ones.
    pub(super) async fn insert(&self, transaction: &mut Transaction<'_, Any>, time: u64) -> Answer<()> {
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

//! What the database knows of the factory's line: claims, which are taken here, and everything that the page shows. Lists are paged by
//! key, never by number, so that the last page is as quick as the first.

use sqlx::{AssertSqlSafe, Row};

use super::Store;
use super::change::{Value, bind};
use crate::service::now;
use crate::service::problem::Answer;

/// Rows of one page.
pub const ROWS: usize = 50;

/// A station that has a device in hand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim {
    /// The device.
    pub device_id: String,
    /// Who has it.
    pub station: String,
    /// What is made of it.
    pub sku: String,
    /// The step that was done last.
    pub step: String,
    /// Since when.
    pub since: u64,
    /// Until when, where it is not renewed.
    pub ends: u64,
}

/// A device, as the last report says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LineDevice {
    /// The device.
    pub device_id: String,
    /// The station.
    pub station: String,
    /// What it is.
    pub sku: String,
    /// `passed` or `failed`.
    pub state: String,
    /// The last step that was done.
    pub step: String,
    /// Kind of failure; empty for none.
    pub failure: String,
    /// What it was.
    pub what: String,
    /// What to do.
    pub help: String,
    /// How long the run took.
    pub seconds: u64,
    /// When it ended.
    pub time: u64,
    /// Fingerprint of its voucher; empty for none.
    pub voucher: String,
}

/// What a station did in a day.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Yield {
    /// Days since 1970.
    pub day: u64,
    /// The station.
    pub station: String,
    /// What was made.
    pub sku: String,
    /// Devices that passed at once.
    pub first: u64,
    /// Runs that passed.
    pub passed: u64,
    /// Runs that failed.
    pub failed: u64,
    /// When the last one ended.
    pub latest: u64,
}

/// A voucher.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VoucherRow {
    /// What it is known by.
    pub fingerprint: String,
    /// The device.
    pub device_id: String,
    /// When it was signed.
    pub time: u64,
    /// The signed file.
    pub file: String,
}

/// Somebody who is logged in to the page.
pub struct SessionRow {
    /// The name.
    pub name: String,
    /// The role.
    pub role: String,
    /// The certificate that it takes; empty for none.
    pub fingerprint: String,
}

/// Which devices a list has.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// What ids begin with.
    pub prefix: String,
    /// Only those of this state; all where it is empty.
    pub state: String,
    /// After this id.
    pub after: String,
}

const DEVICE: &str = "SELECT device_id, station, sku, state, step, failure, what, help, seconds, time, voucher FROM line_devices";

impl Store {
    /// Takes or renews a claim; returns who has it where it is another station.
    pub async fn claim(&self, claim: &Claim) -> Answer<Option<Claim>> {
        let upsert = "INSERT INTO line_claims (device_id, station, sku, step, since, ends) VALUES ($1, $2, $3, $4, $5, $6) \
            ON CONFLICT (device_id) DO UPDATE SET station = excluded.station, sku = excluded.sku, step = excluded.step, \
            since = excluded.since, ends = excluded.ends \
            WHERE line_claims.station = excluded.station OR line_claims.ends <= excluded.since";
        let values = [
            claim.device_id.as_str().into(),
            claim.station.as_str().into(),
            claim.sku.as_str().into(),
            claim.step.as_str().into(),
            claim.since.into(),
            claim.ends.into(),
        ];
        if bind(sqlx::query(upsert), &values).execute(&self.pool).await?.rows_affected() > 0 {
            return Ok(None);
        }
        let found = self.claims(&claim.device_id).await?;
        Ok(found.into_iter().next())
    }

    /// Who has devices in hand: this one, or the hundred latest where none is named.
    pub async fn claims(&self, device_id: &str) -> Answer<Vec<Claim>> {
        let select = "SELECT device_id, station, sku, step, since, ends FROM line_claims \
            WHERE ($1 = '' OR device_id = $1) AND ends > $2 ORDER BY since DESC LIMIT 100";
        let query = sqlx::query(select).bind(device_id.to_owned()).bind(now() as i64);
        let claim = |row: sqlx::any::AnyRow| -> Answer<Claim> {
            Ok(Claim {
                device_id: row.try_get(0)?,
                station: row.try_get(1)?,
                sku: row.try_get(2)?,
                step: row.try_get(3)?,
                since: row.try_get::<i64, _>(4)? as u64,
                ends: row.try_get::<i64, _>(5)? as u64,
            })
        };
        query.fetch_all(&self.pool).await?.into_iter().map(claim).collect()
    }

    /// Whether a report is here.
    pub async fn has_report(&self, id: &str) -> Answer<bool> {
        let select = sqlx::query("SELECT id FROM line_reports WHERE id = $1").bind(id.to_owned());
        Ok(select.fetch_optional(&self.pool).await?.is_some())
    }

    /// The signed reports of a device, the latest first.
    pub async fn reports(&self, device_id: &str) -> Answer<Vec<String>> {
        let select = "SELECT file FROM line_reports WHERE device_id = $1 ORDER BY time DESC LIMIT 100";
        let rows = sqlx::query(select).bind(device_id.to_owned()).fetch_all(&self.pool).await?;
        rows.into_iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// How many devices stand where.
    pub async fn line_totals(&self) -> Answer<Vec<(String, u64)>> {
        self.counted("SELECT state, count(*) FROM line_devices GROUP BY state ORDER BY state").await
    }

    /// How many devices fail of what, the most first.
    pub async fn failure_totals(&self) -> Answer<Vec<(String, u64)>> {
        self.counted(
            "SELECT failure, count(*) AS many FROM line_devices WHERE failure > '' GROUP BY failure ORDER BY many DESC",
        )
        .await
    }

    async fn counted(&self, select: &'static str) -> Answer<Vec<(String, u64)>> {
        let rows = sqlx::query(select).fetch_all(&self.pool).await?;
        rows.into_iter().map(|row| Ok((row.try_get(0)?, row.try_get::<i64, _>(1)? as u64))).collect()
    }

    /// A device of the line.
    pub async fn line_device(&self, device_id: &str) -> Answer<Option<LineDevice>> {
        let sql = format!("{DEVICE} WHERE device_id = $1");
        Ok(self.line_rows(sql, &[device_id.into()]).await?.pop())
    }

    /// Devices in the order of their ids, one more than a page where there are more.
    pub async fn line_devices(&self, wanted: &Wanted) -> Answer<Vec<LineDevice>> {
        // What begins with the prefix is between it and it with a letter that no hexadecimal digit reaches.
        let mut values: Vec<Value> = vec![
            wanted.after.as_str().into(),
            wanted.prefix.as_str().into(),
            format!("{}g", wanted.prefix).into(),
        ];
        let mut sql = format!("{DEVICE} WHERE device_id > $1 AND device_id >= $2 AND device_id < $3");
        if !wanted.state.is_empty() {
            values.push(wanted.state.as_str().into());
            sql += " AND state = $4";
        }
        self.line_rows(format!("{sql} ORDER BY device_id LIMIT {}", ROWS + 1), &values).await
    }

    /// The devices that were reported last.
    pub async fn latest_devices(&self, limit: usize) -> Answer<Vec<LineDevice>> {
        self.line_rows(format!("{DEVICE} ORDER BY time DESC, device_id DESC LIMIT {limit}"), &[]).await
    }

    /// Devices that failed, of one kind of failure, the latest first; one more than a page where there are more.
    pub async fn failed_devices(&self, failure: &str, before: (u64, &str)) -> Answer<Vec<LineDevice>> {
        let sql = format!(
            "{DEVICE} WHERE failure = $1 AND (time < $2 OR (time = $2 AND device_id < $3)) \
             ORDER BY time DESC, device_id DESC LIMIT {}",
            ROWS + 1
        );
        self.line_rows(sql, &[failure.into(), before.0.into(), before.1.into()]).await
    }

    async fn line_rows(&self, sql: String, values: &[Value]) -> Answer<Vec<LineDevice>> {
        let rows = bind(sqlx::query(AssertSqlSafe(sql)), values).fetch_all(&self.pool).await?;
        let device = |row: sqlx::any::AnyRow| -> Answer<LineDevice> {
            Ok(LineDevice {
                device_id: row.try_get(0)?,
                station: row.try_get(1)?,
                sku: row.try_get(2)?,
                state: row.try_get(3)?,
                step: row.try_get(4)?,
                failure: row.try_get(5)?,
                what: row.try_get(6)?,
                help: row.try_get(7)?,
                seconds: row.try_get::<i64, _>(8)? as u64,
                time: row.try_get::<i64, _>(9)? as u64,
                voucher: row.try_get(10)?,
            })
        };
        rows.into_iter().map(device).collect()
    }

    /// What stations did since a day, the latest day first.
    pub async fn yields(&self, since: u64) -> Answer<Vec<Yield>> {
        let select = "SELECT day, station, sku, first, passed, failed, latest FROM line_yields WHERE day >= $1 \
            ORDER BY day DESC, station, sku LIMIT 1000";
        let rows = sqlx::query(select).bind(since as i64).fetch_all(&self.pool).await?;
        let one = |row: sqlx::any::AnyRow| -> Answer<Yield> {
            let number = |index: usize| -> Answer<u64> { Ok(row.try_get::<i64, _>(index)? as u64) };
            Ok(Yield {
                day: number(0)?,
                station: row.try_get(1)?,
                sku: row.try_get(2)?,
                first: number(3)?,
                passed: number(4)?,
                failed: number(5)?,
                latest: number(6)?,
            })
        };
        rows.into_iter().map(one).collect()
    }

    /// A session of the page that has not ended.
    pub async fn session(&self, id: &str, at: u64) -> Answer<Option<SessionRow>> {
        let select = "SELECT name, role, fingerprint FROM page_sessions WHERE id = $1 AND ends > $2";
        let row = sqlx::query(select).bind(id.to_owned()).bind(at as i64).fetch_optional(&self.pool).await?;
        let session = |row: sqlx::any::AnyRow| -> Answer<SessionRow> {
            Ok(SessionRow { name: row.try_get(0)?, role: row.try_get(1)?, fingerprint: row.try_get(2)? })
        };
        row.map(session).transpose()
    }

    /// A voucher.
    pub async fn voucher(&self, fingerprint: &str) -> Answer<Option<VoucherRow>> {
        let sql = "SELECT fingerprint, device_id, time, file FROM vouchers WHERE fingerprint = $1";
        Ok(self.voucher_rows(sql.to_owned(), &[fingerprint.into()]).await?.pop())
    }

    /// A device's vouchers, the latest first.
    pub async fn vouchers_of(&self, device_id: &str) -> Answer<Vec<VoucherRow>> {
        let sql =
            "SELECT fingerprint, device_id, time, file FROM vouchers WHERE device_id = $1 ORDER BY time DESC";
        self.voucher_rows(sql.to_owned(), &[device_id.into()]).await
    }

    /// Vouchers, the latest first; one more than a page where there are more.
    pub async fn vouchers(&self, before: (u64, &str)) -> Answer<Vec<VoucherRow>> {
        let sql = format!(
            "SELECT fingerprint, device_id, time, file FROM vouchers \
             WHERE time < $1 OR (time = $1 AND fingerprint < $2) ORDER BY time DESC, fingerprint DESC LIMIT {}",
            ROWS + 1
        );
        self.voucher_rows(sql, &[before.0.into(), before.1.into()]).await
    }

    async fn voucher_rows(&self, sql: String, values: &[Value]) -> Answer<Vec<VoucherRow>> {
        let rows = bind(sqlx::query(AssertSqlSafe(sql)), values).fetch_all(&self.pool).await?;
        let voucher = |row: sqlx::any::AnyRow| -> Answer<VoucherRow> {
            Ok(VoucherRow {
                fingerprint: row.try_get(0)?,
                device_id: row.try_get(1)?,
                time: row.try_get::<i64, _>(2)? as u64,
                file: row.try_get(3)?,
            })
        };
        rows.into_iter().map(voucher).collect()
    }
}

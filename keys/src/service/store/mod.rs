//! What the service knows, in SQLite or PostgreSQL: the same tables and the same statements for both. Reading is here;
//! everything is written by [`writer`], together with its audit record.

pub mod backup;
mod batch;
pub mod change;
pub mod line;
pub mod writer;

use std::sync::Once;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sqlx::any::{AnyPoolOptions, install_default_drivers};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AnyPool, Row};

use crate::audit::{Head, Record};
use crate::policy::Policy;
use crate::protocol::DeviceState;
use crate::service::damaged;
use crate::service::problem::{Answer, Reason, Refusal};

/// Records of one page of an export.
const PAGE: i64 = 1000;
const DEVICE_KEY_CERTIFICATES: &str = include_str!("../../../migrations/2_device_key_certificates.sql");
const LINE: &str = include_str!("../../../migrations/3_line.sql");
const SQLITE_MIGRATIONS: [&str; 3] =
    [include_str!("../../../migrations/sqlite/1_tables.sql"), DEVICE_KEY_CERTIFICATES, LINE];
const POSTGRES_MIGRATIONS: [&str; 3] =
    [include_str!("../../../migrations/postgres/1_tables.sql"), DEVICE_KEY_CERTIFICATES, LINE];

/// The database.
#[derive(Clone)]
pub struct Store {
    pool: AnyPool,
}

/// A device, as the registry has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeviceRow {
    /// 64 hexadecimal digits.
    pub device_id: String,
    /// `enrolled` and so on.
    pub state: String,
    /// Its class.
    pub class: String,
    /// Its attestation key, hexadecimal digits of the SubjectPublicKeyInfo.
    pub attestation_key: String,
    /// SHA-256 of its device key.
    pub device_key: String,
    /// The certificate of its attestation key in base64; empty for none.
    pub certificate: String,
    /// The certificate of its device key, likewise.
    pub device_key_certificate: String,
}

/// A version of a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VersionRow {
    /// The version.
    pub version: u32,
    /// `active`, `disabled` or `destroyed`.
    pub state: String,
    /// When it is not released any more; 0 for never.
    pub retires: u64,
    /// What the vault makes the key of.
    pub material: String,
}

/// A key with its versions, the newest first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyRow {
    /// Its name.
    pub name: String,
    /// Its policy, in JSON.
    pub policy: String,
    /// Its versions.
    pub versions: Vec<VersionRow>,
}

impl Store {
    /// Opens a database and brings its tables up to date.
    ///
    /// `sqlite:PATH`, or `postgres://USER@HOST/DATABASE` (a password comes from `PGPASSWORD` or a `.pgpass` file).
    pub async fn open(url: &str, connections: u32) -> Result<Self> {
        static DRIVERS: Once = Once::new();
        DRIVERS.call_once(install_default_drivers);
        let sqlite = match url.split_once(':') {
            Some(("sqlite", _)) => true,
            Some(("postgres" | "postgresql", _)) => false,
            _ => bail!(
                "the database's URL begins with neither sqlite: nor postgres:\nhelp: sqlite:/var/lib/trustbox-keys/keys.db"
            ),
        };
        let url = if sqlite && !url.contains('?') { format!("{url}?mode=rwc") } else { url.to_owned() };
        let options =
            AnyPoolOptions::new().max_connections(connections).acquire_timeout(Duration::from_secs(5));
        let options = options.after_connect(move |connection, _| {
            Box::pin(async move {
                if sqlite {
                    let pragmas = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000; \
                        PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON";
                    sqlx::raw_sql(pragmas).execute(&mut *connection).await?;
                }
                Ok(())
            })
        });
        let pool = options.connect(&url).await.context("cannot open the database")?;
        let store = Self { pool };
        store.migrate(if sqlite { &SQLITE_MIGRATIONS } else { &POSTGRES_MIGRATIONS }).await?;
        Ok(store)
    }

    async fn migrate(&self, texts: &'static [&'static str]) -> Result<()> {
        let migrations = texts.iter().enumerate().map(|(index, text)| {
            let sql = sqlx::SqlSafeStr::into_sql_str(*text);
            Migration::new(index as i64 + 1, "tables".into(), MigrationType::Simple, sql, false)
        });
        let migrator = Migrator::with_migrations(migrations.collect());
        migrator.run(&self.pool).await.context("cannot bring the database's tables up to date")
    }

    /// Whether it answers.
    pub async fn ping(&self) -> Answer<()> {
        sqlx::query("SELECT 1").execute(&self.pool).await?;
        Ok(())
    }

    /// Closes all connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// A value kept once for all instances: the first that comes decides.
    pub async fn setting(&self, name: &str, first: &str) -> Answer<String> {
        let insert = "INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        sqlx::query(insert).bind(name.to_owned()).bind(first.to_owned()).execute(&self.pool).await?;
        let select = sqlx::query("SELECT value FROM settings WHERE name = $1").bind(name.to_owned());
        Ok(select.fetch_one(&self.pool).await?.try_get(0)?)
    }

    /// A device.
    pub async fn device(&self, device_id: &str) -> Answer<Option<DeviceRow>> {
        let select = "SELECT * FROM devices WHERE device_id = $1";
        let row = sqlx::query(select).bind(device_id.to_owned()).fetch_optional(&self.pool).await?;
        row.map(device_row).transpose()
    }

    /// Devices in the order of their ids, after one of them.
    pub async fn devices(&self, after: &str, limit: u32) -> Answer<Vec<DeviceRow>> {
        let select = "SELECT * FROM devices \
            WHERE device_id > $1 ORDER BY device_id LIMIT $2";
        let rows =
            sqlx::query(select).bind(after.to_owned()).bind(i64::from(limit)).fetch_all(&self.pool).await?;
        rows.into_iter().map(device_row).collect()
    }

    /// A key with its versions.
    pub async fn key(&self, name: &str) -> Answer<Option<KeyRow>> {
        let select = "SELECT k.name, k.policy, v.version, v.state, v.retires, v.material FROM keys k \
            LEFT JOIN versions v ON v.name = k.name WHERE k.name = $1 ORDER BY v.version DESC";
        let rows = sqlx::query(select).bind(name.to_owned()).fetch_all(&self.pool).await?;
        Ok(key_rows(rows)?.pop())
    }

    /// All keys.
    pub async fn keys(&self) -> Answer<Vec<KeyRow>> {
        let select = "SELECT k.name, k.policy, v.version, v.state, v.retires, v.material FROM keys k \
            LEFT JOIN versions v ON v.name = k.name ORDER BY k.name, v.version DESC";
        key_rows(sqlx::query(select).fetch_all(&self.pool).await?)
    }

    /// Whether a client's certificate is revoked.
    pub async fn client_revoked(&self, fingerprint: &str) -> Answer<bool> {
        let select = sqlx::query("SELECT fingerprint FROM clients WHERE fingerprint = $1");
        Ok(select.bind(fingerprint.to_owned()).fetch_optional(&self.pool).await?.is_some())
    }

    /// Who approved something first.
    pub async fn approved_by(&self, action: &str, object: &str) -> Answer<Option<String>> {
        let select = sqlx::query("SELECT actor FROM approvals WHERE action = $1 AND object = $2");
        let row = select.bind(action.to_owned()).bind(object.to_owned()).fetch_optional(&self.pool).await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?)
    }

    /// Releases of a key to a device since a time.
    pub async fn released(&self, device_id: &str, name: &str, since: u64) -> Answer<u64> {
        let select = "SELECT count(*) FROM releases WHERE device_id = $1 AND name = $2 AND time > $3";
        let query = sqlx::query(select).bind(device_id.to_owned()).bind(name.to_owned()).bind(since as i64);
        Ok(query.fetch_one(&self.pool).await?.try_get::<i64, _>(0)? as u64)
    }

    /// Revocation statements after a sequence, in their order.
    pub async fn revocations(&self, after: u64) -> Answer<Vec<(u64, String)>> {
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let select =
            sqlx::query("SELECT sequence, statement FROM revocations WHERE sequence > $1 ORDER BY sequence");
        let rows = select.bind(after).fetch_all(&self.pool).await?;
        rows.into_iter().map(|row| Ok((row.try_get::<i64, _>(0)? as u64, row.try_get(1)?))).collect()
    }

    /// A page of audit records after a sequence.
    pub async fn audit(&self, after: u64) -> Answer<Vec<Record>> {
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let select =
            "SELECT sequence, previous, hash, body FROM audit WHERE sequence > $1 ORDER BY sequence LIMIT $2";
        let rows = sqlx::query(select).bind(after).bind(PAGE).fetch_all(&self.pool).await?;
        let record = |row: sqlx::any::AnyRow| -> Answer<Record> {
            let sequence = row.try_get::<i64, _>(0)? as u64;
            Ok(Record { sequence, previous: row.try_get(1)?, hash: row.try_get(2)?, body: row.try_get(3)? })
        };
        rows.into_iter().map(record).collect()
    }

    /// The end of the audit log.
    pub async fn audit_head(&self) -> Answer<Head> {
        let row = sqlx::query("SELECT sequence, hash FROM audit_head").fetch_one(&self.pool).await?;
        writer::head(&row)
    }
}

fn device_row(row: sqlx::any::AnyRow) -> Answer<DeviceRow> {
    Ok(DeviceRow {
        device_id: row.try_get("device_id")?,
        state: row.try_get("state")?,
        class: row.try_get("class")?,
        attestation_key: row.try_get("attestation_key")?,
        device_key: row.try_get("device_key")?,
        certificate: row.try_get("certificate")?,
        device_key_certificate: row.try_get("device_key_certificate")?,
    })
}

fn key_rows(rows: Vec<sqlx::any::AnyRow>) -> Answer<Vec<KeyRow>> {
    let mut keys: Vec<KeyRow> = Vec::new();
    for row in rows {
        let name: String = row.try_get(0)?;
        if keys.last().is_none_or(|key| key.name != name) {
            keys.push(KeyRow { name, policy: row.try_get(1)?, versions: Vec::new() });
        }
        let version: Option<i64> = row.try_get(2)?;
        if let (Some(version), Some(key)) = (version, keys.last_mut()) {
            let (state, retires): (String, i64) = (row.try_get(3)?, row.try_get(4)?);
            let version = u32::try_from(version).unwrap_or_default();
            key.versions.push(VersionRow {
                version,
                state,
                retires: retires as u64,
                material: row.try_get(5)?,
            });
        }
    }
    Ok(keys)
}

impl VersionRow {
    /// Whether its overlap is over.
    pub fn is_retired(&self, at: u64) -> bool {
        self.retires != 0 && at >= self.retires
    }
}

impl KeyRow {
    /// Who gets it.
    pub fn policy(&self) -> Answer<Policy> {
        serde_json::from_str(&self.policy).map_err(|_| damaged("policy"))
    }

    /// A version, or the newest one that is not disabled.
    pub fn choose(&self, version: Option<u32>) -> Answer<&VersionRow> {
        let found = match version {
            Some(version) => self.versions.iter().find(|row| row.version == version),
            None => self.versions.iter().find(|row| row.state == "active"),
        };
        let missing = || Refusal::new(Reason::NotFound, format!("key {} has no such version", self.name));
        found.ok_or_else(missing)
    }
}

impl DeviceState {
    /// As in the registry.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enrolled => "enrolled",
            Self::Suspended => "suspended",
            Self::Revoked => "revoked",
            Self::Decommissioned => "decommissioned",
        }
    }

    /// Whether a device may move on from a state; there is no way back from the last two.
    pub fn may_follow(self, before: &str) -> bool {
        match before {
            "enrolled" | "suspended" => true,
            "revoked" => matches!(self, Self::Decommissioned | Self::Revoked),
            _ => self == Self::Decommissioned,
        }
    }
}

/// A message that a webhook is owed.
pub struct Owed {
    /// Its number.
    pub id: String,
    /// Where it goes.
    pub url: String,
    /// What it says.
    pub body: String,
    /// How often it was tried.
    pub attempts: i64,
}

impl Store {
    /// What is to be delivered by now.
    pub async fn due(&self, now: u64) -> Answer<Vec<Owed>> {
        let select =
            sqlx::query("SELECT id, url, body, attempts FROM outbox WHERE due <= $1 ORDER BY due LIMIT 16");
        let rows = select.bind(now as i64).fetch_all(&self.pool).await?;
        let owed = |row: sqlx::any::AnyRow| -> Answer<Owed> {
            Ok(Owed {
                id: row.try_get(0)?,
                url: row.try_get(1)?,
                body: row.try_get(2)?,
                attempts: row.try_get(3)?,
            })
        };
        rows.into_iter().map(owed).collect()
    }

    /// Notes that a message was taken, or when to try again.
    pub async fn delivered(&self, id: &str, taken: bool, due: u64) -> Answer<()> {
        let query = if taken {
            sqlx::query("DELETE FROM outbox WHERE id = $1").bind(id.to_owned())
        } else {
            let update = sqlx::query("UPDATE outbox SET attempts = attempts + 1, due = $1 WHERE id = $2");
            update.bind(due as i64).bind(id.to_owned())
        };
        query.execute(&self.pool).await?;
        Ok(())
    }
}

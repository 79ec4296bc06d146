//! Backup and restore: every table as JSON lines, the same for SQLite and PostgreSQL, so that a backup of one fills the other.

use std::io::{BufRead, Write};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value as Json, json};
use sqlx::{AssertSqlSafe, Row};

use super::Store;
use super::change::{Value, bind, placeholders};
use crate::audit::{Head, Record};

/// Tables and their columns, in an order in which they can be filled; numbers are marked.
const TABLES: [(&str, &[&str]); 13] = [
    ("settings", &["name", "value"]),
    (
        "devices",
        &[
            "device_id",
            "state",
            "class",
            "attestation_key",
            "device_key",
            "certificate",
            "changed#",
            "device_key_certificate",
        ],
    ),
    ("keys", &["name", "policy", "changed#"]),
    ("versions", &["name", "version#", "state", "retires#", "material", "changed#"]),
    ("releases", &["challenge", "id", "device_id", "name", "version#", "time#", "digest", "bundle"]),
    ("approvals", &["action", "object", "actor", "time#"]),
    ("revocations", &["sequence#", "statement", "time#"]),
    ("clients", &["fingerprint", "subject", "time#"]),
    ("line_reports", &["id", "device_id", "time#", "file"]),
    (
        "line_devices",
        &[
            "device_id",
            "station",
            "sku",
            "state",
            "step",
            "failure",
            "what",
            "help",
            "seconds#",
            "time#",
            "voucher",
        ],
    ),
    ("line_yields", &["day#", "station", "sku", "first#", "passed#", "failed#", "latest#"]),
    ("vouchers", &["fingerprint", "device_id", "time#", "file"]),
    ("audit", &["sequence#", "previous", "hash", "body"]),
];

impl Store {
    /// Writes everything, from one moment: a line `{"table":…,"row":{…}}` each, the head of the audit log last.
    ///
    /// What waits for a webhook is not in it, nor who has a device in hand or is logged in.
    pub async fn backup(&self, out: &mut dyn Write) -> Result<Head> {
        let mut transaction = self.pool.begin().await?;
        // Nothing changes while the head is locked.
        let lock = "UPDATE audit_head SET id = 1 WHERE id = 1 RETURNING sequence, hash, time";
        let row = sqlx::query(lock).fetch_one(&mut *transaction).await?;
        let (head, time) = (
            super::writer::head(&row).map_err(|refusal| anyhow::anyhow!(refusal.detail))?,
            row.try_get::<i64, _>(2)?,
        );
        for (table, columns) in TABLES {
            let names: Vec<&str> = columns.iter().map(|column| column.trim_end_matches('#')).collect();
            let sql = format!("SELECT {} FROM {table} ORDER BY 1", names.join(", "));
            for row in sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut *transaction).await? {
                let mut values = Map::new();
                for (index, column) in columns.iter().enumerate() {
                    let value = match column.strip_suffix('#') {
                        Some(_) => json!(row.try_get::<i64, _>(index)?),
                        None => json!(row.try_get::<String, _>(index)?),
                    };
                    values.insert(names[index].to_owned(), value);
                }
                writeln!(out, "{}", json!({"table": table, "row": values}))?;
            }
        }
        writeln!(
            out,
            "{}",
            json!({"head": {"sequence": head.sequence, "hash": head.hash.to_string(), "time": time}})
        )?;
        out.flush()?;
        Ok(head)
    }

    /// Fills an empty database from a backup, all or nothing; the audit log in it must be whole.
    pub async fn restore(&self, backup: impl BufRead) -> Result<Head> {
        ensure!(self.is_empty().await?, "the database is not empty\nhelp: restore into a new one");
        let mut transaction = self.pool.begin().await?;
        let (mut followed, mut head) = (Head::default(), None);
        for (number, line) in backup.lines().enumerate() {
            let line: Json = serde_json::from_str(&line?).with_context(|| format!("line {}", number + 1))?;
            ensure!(head.is_none(), "line {}: something after the head", number + 1);
            if !line["head"].is_null() {
                head = Some(line["head"].clone());
                continue;
            }
            let insert = insert(&line).with_context(|| format!("line {}", number + 1))?;
            if line["table"] == "audit" {
                followed.follow(&serde_json::from_value::<Record>(line["row"].clone())?)?;
            }
            bind(sqlx::query(AssertSqlSafe(insert.0)), &insert.1).execute(&mut *transaction).await?;
        }
        let head = head.context("the backup has no head: it was cut off")?;
        ensure!(
            head["sequence"] == followed.sequence && head["hash"] == followed.hash.to_string(),
            "the audit log ends before the head: records are missing"
        );
        let sql = "UPDATE audit_head SET sequence = $1, hash = $2, time = $3 WHERE id = 1";
        let update = sqlx::query(sql).bind(followed.sequence as i64).bind(followed.hash.to_string());
        update.bind(head["time"].as_i64().unwrap_or_default()).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(followed)
    }

    async fn is_empty(&self) -> Result<bool> {
        let sql = "SELECT (SELECT count(*) FROM devices) + (SELECT count(*) FROM keys) + (SELECT count(*) FROM audit)";
        Ok(sqlx::query(sql).fetch_one(&self.pool).await?.try_get::<i64, _>(0)? == 0)
    }
}

fn insert(line: &Json) -> Result<(String, Vec<Value>)> {
    let table = TABLES.iter().find(|(table, _)| line["table"] == *table);
    let Some((table, columns)) = table else { bail!("no table {}", line["table"]) };
    let value = |column: &&str| {
        let value = &line["row"][column.trim_end_matches('#')];
        let number = || value.as_i64().map(Value::Number);
        let text = || value.as_str().map(Value::from);
        let value = if column.ends_with('#') { number() } else { text() };
        value.with_context(|| format!("{table} without {column}"))
    };
    let names: Vec<&str> = columns.iter().map(|column| column.trim_end_matches('#')).collect();
    let sql = format!("INSERT INTO {table} ({}) VALUES {}", names.join(", "), placeholders(1, columns.len()));
    Ok((sql, columns.iter().map(value).collect::<Result<_>>()?))
}

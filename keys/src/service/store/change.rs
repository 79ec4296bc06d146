//! What is written: changes as SQL statements for both databases, releases, and what the audit log says of them.

use serde::Serialize;
use sqlx::Any;
use sqlx::query::Query;

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

/// What was done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Done {
    /// Number of the release and its bundle, as they were the first time.
    pub release: Option<(String, String)>,
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

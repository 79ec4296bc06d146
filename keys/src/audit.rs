//! The audit log of the key service: records chained by SHA-256, so that none can be changed, removed or put in between
//! without all later ones changing. Written by the service, verified by anybody with an export.
//!
//! A record's hash is SHA-256 over [`DOMAIN`], the hash before (32 bytes; zeros before the first) and its body as it stands, a
//! JSON text with sequence and time. An export has one record a line. A chain proves order and wholeness up to its head:
//! that nobody began a new chain is proved by a head that was noted elsewhere.

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use trustbox_api::Bytes;
use trustbox_package::request::parse_hex;

/// What every hash starts with.
pub const DOMAIN: &[u8] = b"TrustBox audit\0";

/// Hash of a record.
pub type Hash = Bytes<32>;

/// A record as it is stored and exported.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// 1 for the first.
    pub sequence: u64,
    /// Hash of the record before, 64 hexadecimal digits.
    pub previous: String,
    /// Hash of this one.
    pub hash: String,
    /// What happened, a JSON object as text.
    pub body: String,
}

/// The end of a chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Head {
    /// Sequence of the last record; 0 for none.
    pub sequence: u64,
    /// Its hash.
    pub hash: Hash,
}

impl Head {
    /// Appends a body; the head moves on.
    pub fn append(&mut self, body: String) -> Record {
        let previous = self.hash;
        self.hash = hash(&previous, &body);
        self.sequence += 1;
        Record { sequence: self.sequence, previous: previous.to_string(), hash: self.hash.to_string(), body }
    }

    /// Follows the chain by one record, which must fit.
    pub fn follow(&mut self, record: &Record) -> Result<()> {
        let sequence = self.sequence + 1;
        ensure!(
            record.sequence == sequence,
            "record {} where {sequence} belongs: one is missing",
            record.sequence
        );
        let mut next = *self;
        if next.append(record.body.clone()) != *record {
            bail!("record {sequence}: the hash does not fit; it or one before it was changed");
        }
        let body: Value = serde_json::from_str(&record.body).with_context(|| format!("record {sequence}"))?;
        ensure!(body["sequence"] == sequence, "record {sequence}: its body is of another record");
        *self = next;
        Ok(())
    }
}

/// Verifies an export: from the first record to the head, which is returned.
pub fn verify(export: &str) -> Result<Head> {
    let mut head = Head::default();
    for (number, line) in export.lines().enumerate() {
        let record: Record = serde_json::from_str(line).with_context(|| format!("line {}", number + 1))?;
        head.follow(&record)?;
    }
    Ok(head)
}

/// `SEQUENCE:HASH`, as heads are noted.
pub fn parse_head(text: &str) -> Option<Head> {
    let (sequence, hash) = text.split_once(':')?;
    Some(Head { sequence: sequence.parse().ok()?, hash: parse_hex(hash)? })
}

fn hash(previous: &Hash, body: &str) -> Hash {
    let digest = Sha256::new().chain_update(DOMAIN).chain_update(previous.0).chain_update(body);
    Bytes(digest.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn export(count: u64) -> String {
        let mut head = Head::default();
        let body = |sequence: u64| format!("{{\"sequence\":{sequence},\"action\":\"release\"}}");
        let records =
            (1..=count).map(|sequence| serde_json::to_string(&head.append(body(sequence))).unwrap());
        records.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_whole_chain_ends_in_its_head() {
        let head = verify(&export(5)).unwrap();
        assert_eq!(head.sequence, 5);
        assert_eq!(parse_head(&format!("5:{}", head.hash)), Some(head));
        assert_eq!(verify("").unwrap(), Head::default());
    }

    #[test]
    fn whatever_is_changed_is_noticed() {
        let good = export(5);
        let lines: Vec<&str> = good.lines().collect();
        for left_out in 0..4 {
            let mut less = lines.clone();
            less.remove(left_out);
            assert!(verify(&less.join("\n")).is_err(), "{left_out}");
        }
        let mut swapped = lines.clone();
        swapped.swap(1, 2);
        assert!(verify(&swapped.join("\n")).is_err());
        for changed in
            [good.replacen("release", "denied!", 1), good.replacen("\"hash\":\"", "\"hash\":\"0", 1)]
        {
            assert!(verify(&changed).is_err());
        }
        assert!(verify(&lines[..4].join("\n")).unwrap() != verify(&good).unwrap());
    }
}

//! Signatures of statements and annexes (ES256) checked, and a log held against what a token says of it.
//!
//! For people who look at them; the TA believes none of it and checks itself.

use p256::ecdsa::signature::hazmat::PrehashVerifier;
use p256::ecdsa::{Signature, VerifyingKey};
use thiserror::Error;
use trustbox_api::log::{Channel, Ring};
use trustbox_api::statement::{self, Envelope};
use trustbox_api::{Bytes, PublicKey, token};

use crate::annex;

/// Why a log is not the one that the device signed.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum LogError {
    /// The log is shorter than what was signed, or lost entries since.
    #[error("{channel}: log has entries {first} to {next}, the device signed {number}")]
    Range {
        /// The channel.
        channel: &'static str,
        /// Number of the first entry there is.
        first: u64,
        /// Number after the last entry there is.
        next: u64,
        /// Entries that were signed.
        number: u64,
    },
    /// An entry cannot be encoded.
    #[error("{channel}: an entry does not encode")]
    Encoding {
        /// The channel.
        channel: &'static str,
    },
    /// An entry was changed.
    #[error("log leads to {found}, the device signed {expected}")]
    Head {
        /// Where the entries lead.
        found: Bytes<32>,
        /// Where they must lead.
        expected: Bytes<32>,
    },
}

/// Whether the key that a statement names signed it; whether that key has any authority is another question.
pub fn statement(envelope: &Envelope<'_>) -> bool {
    verifies(&envelope.signer, &statement::digest(envelope.payload), &envelope.signature)
}

/// Whether the key that an annex names signed it.
pub fn annex(signed: &annex::Signed<'_>) -> bool {
    let envelope = &signed.envelope;
    verifies(&envelope.signer, &annex::digest(envelope.payload), &envelope.signature)
}

/// The heads of a log's channels, provided that their first `entries` lead to the hash of a token; those that came later do
/// not matter.
pub fn log(rings: [&Ring; 3], entries: [u64; 3], expected: Bytes<32>) -> Result<[Bytes<32>; 3], LogError> {
    let mut heads = [Bytes([0; 32]); 3];
    for (((channel, ring), number), head) in Channel::ALL.iter().zip(rings).zip(entries).zip(&mut heads) {
        *head = head_at(channel.name(), ring, number)?;
    }
    let found = token::log_head(&heads);
    if found == expected { Ok(heads) } else { Err(LogError::Head { found, expected }) }
}

fn head_at(channel: &'static str, ring: &Ring, number: u64) -> Result<Bytes<32>, LogError> {
    let (first, next) = (ring.first, ring.next());
    if !(first..=next).contains(&number) {
        return Err(LogError::Range { channel, first, next, number });
    }
    let mut then = ring.clone();
    // At most as many as there are.
    then.entries.truncate((number - first) as usize);
    then.head().map_err(|_| LogError::Encoding { channel })
}

fn verifies(signer: &PublicKey, digest: &[u8; 32], signature: &Bytes<64>) -> bool {
    let key = VerifyingKey::from_sec1_bytes(&[&[4], signer.0.as_ref()].concat());
    match (key, Signature::from_slice(signature.as_ref())) {
        (Ok(key), Ok(signature)) => key.verify_prehash(digest, &signature).is_ok(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use trustbox_api::log::{Entry, Event};

    use super::*;

    fn ring(entries: u32) -> Ring {
        let mut ring = Ring::default();
        for uptime in 0..entries {
            ring.append(Entry { boot: 1, uptime, event: Event::Locked }).unwrap();
        }
        ring
    }

    /// What a token said when the first channel had so many entries.
    fn said(entries: u32) -> ([u64; 3], Bytes<32>) {
        let heads = [ring(entries), ring(2), ring(0)].map(|ring| ring.head().unwrap());
        ([u64::from(entries), 2, 0], token::log_head(&heads))
    }

    fn check(first: &Ring, (entries, expected): ([u64; 3], Bytes<32>)) -> Result<(), LogError> {
        log([first, &ring(2), &ring(1)], entries, expected).map(drop)
    }

    #[test]
    fn log_leads_to_its_head_whatever_came_later() {
        for entries in [0, 1, 20, 24] {
            assert_eq!(check(&ring(24), said(entries)), Ok(()));
        }
        assert_eq!(check(&ring(30), said(6)), Ok(()));
        let channel = "authority";
        let gone = LogError::Range { channel, first: 6, next: 30, number: 5 };
        assert_eq!(check(&ring(30), said(5)), Err(gone));
        assert!(matches!(check(&ring(3), said(4)), Err(LogError::Range { .. })));
    }

    #[test]
    fn changed_logs_lead_elsewhere() {
        let mut changed = ring(4);
        changed.entries[2].uptime += 1;
        assert!(matches!(check(&changed, said(4)), Err(LogError::Head { .. })));
        let mut shortened = ring(4);
        shortened.entries.remove(0);
        shortened.first += 1;
        assert!(matches!(check(&shortened, said(4)), Err(LogError::Head { .. })));
    }
}

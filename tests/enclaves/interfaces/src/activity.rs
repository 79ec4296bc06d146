//! An activity log that is only ever added to: exported to anybody, checked by anybody who knows the device.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use trustbox_interface::{EnclaveError, Refused, errors, host_calls, interface};

/// UUID of the enclave.
pub const UUID: &str = "3a8d6f1e-52c4-4b7e-9c0d-7e1f5a2b8c46";
/// Bytes of a line at most.
pub const MAX_TEXT: usize = 200;
/// Entries that the enclave keeps; older ones must have been exported, or are gone. The chain goes on.
pub const KEPT: u64 = 32;
/// Entries of one export at most.
pub const PAGE: u64 = 8;

errors! {
    /// Why the log refuses.
    pub enum ActivityError {
        /// a line has 1 to 200 bytes
        Length = 1,
        /// the log was put back to an earlier state
        RolledBack = 2,
        /// no such entry is kept
        NotKept = 3,
    }
}

/// One line of the log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Counts from 0.
    pub number: u64,
    /// Seconds since 1970, as Linux claimed when the entry was made.
    pub claimed_time: u64,
    /// What happened.
    pub text: String,
}

/// Where the log stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Head {
    /// Entries so far.
    pub count: u64,
    /// The chain over all of them; zero at first.
    pub chain: [u8; 32],
}

/// Entries in a row, and the head before the first of them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Export {
    /// Before the first entry.
    pub before: Head,
    /// At most [`PAGE`].
    pub entries: Vec<Entry>,
}

/// What the log asks its host program.
#[host_calls]
pub trait Clock {
    /// Seconds since 1970.
    #[command(1)]
    fn now(&mut self) -> Result<u64, Refused>;
}

/// The log.
#[interface(errors = ActivityError, host = Clock)]
pub trait Activity {
    /// Adds a line, with the time that the host program claims.
    #[command(1)]
    async fn append(&mut self, host: &ClockHost, text: &str) -> Result<Head, EnclaveError>;
    /// Entries from `number` on, at most [`PAGE`].
    #[command(2)]
    fn export(&mut self, number: u64) -> Result<Export, EnclaveError>;
    /// The head, signed by the device over a verifier's nonce: an attestation token whose data is
    /// [`Head::encode`].
    #[command(3)]
    fn head(&mut self, nonce: [u8; 32]) -> Result<Vec<u8>, EnclaveError>;
}

impl Head {
    /// Count, big-endian, then the chain.
    pub fn encode(&self) -> [u8; 40] {
        let mut out = [0; 40];
        let (count, chain) = out.split_at_mut(8);
        count.copy_from_slice(&self.count.to_be_bytes());
        chain.copy_from_slice(&self.chain);
        out
    }

    /// The head after one more entry: SHA-256 over the chain before, number, time and length of the text, big-endian, and
    /// the text.
    pub fn after(&self, entry: &Entry) -> Self {
        let digest = Sha256::new()
            .chain_update(self.chain)
            .chain_update(entry.number.to_be_bytes())
            .chain_update(entry.claimed_time.to_be_bytes())
            .chain_update((entry.text.len() as u64).to_be_bytes())
            .chain_update(entry.text.as_bytes());
        Self { count: self.count + 1, chain: digest.finalize().into() }
    }
}

impl Export {
    /// Where these entries lead, or `None` where one is missing.
    pub fn head(&self) -> Option<Head> {
        let step = |head: Head, entry: &Entry| (entry.number == head.count).then(|| head.after(entry));
        self.entries.iter().try_fold(self.before, step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u64, text: &str) -> Entry {
        Entry { number, claimed_time: 7, text: text.into() }
    }

    #[test]
    fn a_changed_lost_or_swapped_entry_leads_elsewhere() {
        let export = |entries: &[Entry]| Export { before: Head::default(), entries: entries.to_vec() }.head();
        let (a, b) = (entry(0, "a"), entry(1, "b"));
        let good = export(&[a.clone(), b.clone()]);
        assert_eq!(good.map(|head| head.count), Some(2));
        assert_ne!(export(&[a.clone(), entry(1, "c")]), good);
        assert_ne!(export(&[a.clone(), Entry { claimed_time: 8, ..b.clone() }]), good);
        assert_eq!(export(&[b.clone(), a]), None);
        assert_eq!(export(&[b]), None);
    }
}

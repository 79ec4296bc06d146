//! The activity log: what happened to the device, in the order it happened.
//!
//! Three channels, each a ring of its own, so that none can push out what another holds. Each entry is chained to the one
//! before: head₀ = 0, headₙ = SHA-256([`DOMAIN`] ‖ headₙ₋₁ ‖ entryₙ as encoded). A ring that is full drops its oldest
//! entry and keeps the head before the first one left, so that what is left still leads to the head that was signed.

use arrayvec::{ArrayString, ArrayVec};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::bytes::Bytes;
use crate::error::Error;
use crate::key::{KeyId, KeyRef, Uuid};
use crate::limits::{MAX_LOG_ENTRIES, MAX_NOTE, MAX_OBSERVATIONS};
use crate::statement::{Kind, Revoked};
use crate::wire;

/// What a chain's hashes start with.
pub const DOMAIN: &[u8] = b"TrustBox log\0";

/// Text of an enclave.
pub type Note = ArrayString<MAX_NOTE>;

/// Which ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Channel {
    /// What somebody with a key said, written before it takes effect. Linux cannot make such entries.
    Authority,
    /// What Linux can bring about: one entry for each different event and boot, counted after that.
    Activity,
    /// Notes of enclaves.
    Enclaves,
}

impl Channel {
    /// All of them, in the order in which the device signs their heads.
    pub const ALL: [Self; 3] = [Self::Authority, Self::Activity, Self::Enclaves];

    /// As in documents and tools.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Authority => "authority",
            Self::Activity => "activity",
            Self::Enclaves => "enclaves",
        }
    }
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Event {
    /// An owner root was pinned.
    Provisioned(KeyId),
    /// A statement of the owner was accepted.
    Accepted {
        /// Its kind.
        kind: Kind,
        /// Its sequence.
        sequence: u64,
        /// The key that was given a role; zero where none was.
        key: KeyId,
    },
    /// A revocation, one entry an item.
    Revoked(Revoked),
    /// The owner root was replaced.
    RootRotated {
        /// The new one.
        root: KeyId,
        /// Front of the nonce it was done with.
        nonce: Bytes<8>,
    },
    /// The factory locked the device.
    Locked,
    /// The device was decommissioned.
    Decommissioned,
    /// A class key was imported.
    KeyImported {
        /// The class key.
        key: KeyRef,
        /// Front of the nonce it came with.
        nonce: Bytes<8>,
    },
    /// A version was installed for the first time.
    Installed {
        /// The enclave.
        uuid: Uuid,
        /// The version.
        version: u32,
        /// SHA-256 of the signed image.
        digest: Bytes<32>,
    },
    /// A version that had been there before was installed again.
    Reinstalled {
        /// The enclave.
        uuid: Uuid,
        /// The version.
        version: u32,
    },
    /// An enclave was removed.
    Uninstalled(Uuid),
    /// A class key was destroyed without a revocation.
    KeyDestroyed(KeyRef),
    /// An enclave was launched.
    Launched {
        /// The enclave.
        uuid: Uuid,
        /// The version.
        version: u32,
    },
    /// Something was refused, by number of the error.
    Refused(u8),
    /// An enclave wrote a note.
    Noted {
        /// The enclave.
        uuid: Uuid,
        /// Its text.
        text: Note,
    },
}

/// One event and when it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Boots that had an entry, this one included.
    pub boot: u32,
    /// Seconds since that boot.
    pub uptime: u32,
    /// What happened.
    pub event: Event,
}

/// One channel.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Ring {
    /// Head before the first entry that is left.
    pub base: Bytes<32>,
    /// Entries dropped so far, which is the number of the first one left.
    pub first: u64,
    /// What is left, oldest first.
    pub entries: ArrayVec<Entry, MAX_LOG_ENTRIES>,
}

/// How often an event of [`Channel::Activity`] happened since boot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Observation {
    /// The event.
    pub event: Event,
    /// How often.
    pub count: u32,
}

/// Reply to `Log`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LogReply {
    /// The channel.
    pub ring: Ring,
    /// Counts since boot, for [`Channel::Activity`].
    pub observations: ArrayVec<Observation, MAX_OBSERVATIONS>,
}

impl Ring {
    /// Number of the next entry.
    pub fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// The chain's head after the last entry.
    pub fn head(&self) -> Result<Bytes<32>, Error> {
        self.entries.iter().try_fold(self.base, link)
    }

    /// Appends an entry; drops the oldest where the ring is full.
    pub fn append(&mut self, entry: Entry) -> Result<(), Error> {
        if self.entries.is_full() {
            let oldest = self.entries.remove(0);
            self.base = link(self.base, &oldest)?;
            self.first += 1;
        }
        self.entries.try_push(entry).map_err(|_| Error::Internal)
    }
}

fn link(head: Bytes<32>, entry: &Entry) -> Result<Bytes<32>, Error> {
    let mut encoded = [0; 128];
    let encoded = wire::encode(entry, &mut encoded)?;
    Ok(Bytes(Sha256::new().chain_update(DOMAIN).chain_update(head).chain_update(encoded).finalize().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u32) -> Entry {
        Entry { boot: 1, uptime: number, event: Event::Refused(number as u8) }
    }

    #[test]
    fn what_is_left_leads_to_the_same_head() {
        let (mut ring, mut head) = (Ring::default(), Bytes([0; 32]));
        for number in 0..3 * MAX_LOG_ENTRIES as u32 {
            ring.append(entry(number)).unwrap();
            head = link(head, &entry(number)).unwrap();
            assert_eq!(ring.head().unwrap(), head);
            assert_eq!(ring.next(), u64::from(number) + 1);
        }
        assert_eq!(ring.first, 2 * MAX_LOG_ENTRIES as u64);
        ring.entries[3].uptime += 1;
        assert_ne!(ring.head().unwrap(), head);
    }

    #[test]
    fn the_longest_entry_fits() {
        let text = Note::from(core::str::from_utf8(&[b'x'; MAX_NOTE]).unwrap()).unwrap();
        let uuid = crate::TRUSTBOX_UUID;
        let longest = Entry { boot: u32::MAX, uptime: u32::MAX, event: Event::Noted { uuid, text } };
        assert!(link(Bytes([0; 32]), &longest).is_ok());
        let mut ring = Ring::default();
        (0..MAX_LOG_ENTRIES).for_each(|_| ring.append(longest).unwrap());
        let reply = LogReply { ring, observations: ArrayVec::new() };
        assert!(wire::encode(&reply, &mut [0; crate::limits::MAX_REPLY]).is_ok());
    }
}

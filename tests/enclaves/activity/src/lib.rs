//! An activity log that is only ever added to.
//!
//! Every entry extends a SHA-256 chain, whose head the device signs for whoever asks with a nonce: an exported log is
//! checked away from the device, with nothing but the device's attestation key. A counter of the TrustBox TA goes with
//! the head, so that a log whose files were put back alone is noticed. The time comes from the host program, is what
//! Linux claims, and is called that.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use trustbox_enclave::{Bytes, EnclaveError, Launch, Launched, Sealed, TrustBox};
use trustbox_example_interfaces::activity::{
    Activity, ActivityError, ClockHost, Entry, Export, Head, KEPT, MAX_TEXT, PAGE,
};

/// The entry of storage that holds the head; an entry of the log is stored with the head before it.
const HEAD: &str = "head";
/// The counter that goes with the head.
const COUNTER: u8 = 0;

/// The log.
pub struct Log {
    storage: Sealed,
    trustbox: TrustBox,
}

impl Launch for Log {
    fn launch(launched: Launched) -> Result<Self, EnclaveError> {
        Ok(Self { storage: launched.storage, trustbox: launched.trustbox })
    }
}

impl Activity for Log {
    async fn append(&mut self, host: &ClockHost, text: &str) -> Result<Head, EnclaveError> {
        if !(1..=MAX_TEXT).contains(&text.len()) {
            return Err(ActivityError::Length.into());
        }
        let claimed_time = host.now().await?;
        // Only now: a host that never answers holds nobody up.
        let _lock = self.storage.lock()?;
        let before = self.settled()?;
        let entry = Entry { number: before.count, claimed_time, text: text.into() };
        let after = before.after(&entry);
        self.storage.save(&place(entry.number), &(before, entry))?;
        self.storage.save(HEAD, &after)?;
        self.settled()
    }

    fn export(&mut self, number: u64) -> Result<Export, EnclaveError> {
        let count = self.settled()?.count;
        if number >= count || number + KEPT < count {
            return Err(ActivityError::NotKept.into());
        }
        let (before, _) = self.entry(number)?;
        let entries = number..count.min(number + PAGE);
        let entries = entries.map(|number| Ok(self.entry(number)?.1)).collect::<Result<_, EnclaveError>>()?;
        Ok(Export { before, entries })
    }

    fn head(&mut self, nonce: [u8; 32]) -> Result<Vec<u8>, EnclaveError> {
        self.trustbox.report(Bytes(nonce), &self.settled()?.encode())
    }
}

impl Log {
    /// The head, in step with its counter: one behind after a power cut, which is made good; ahead where somebody put
    /// files back.
    fn settled(&self) -> Result<Head, EnclaveError> {
        let head: Head = self.storage.load(HEAD)?.unwrap_or_default();
        let counter = self.trustbox.counter(COUNTER);
        match head.count.checked_sub(counter.read()?) {
            Some(0) => Ok(head),
            Some(1) => counter.advance(1).map(|_| head),
            _ => Err(ActivityError::RolledBack.into()),
        }
    }

    /// An entry and the head before it.
    fn entry(&self, number: u64) -> Result<(Head, Entry), EnclaveError> {
        let found: Option<(Head, Entry)> = self.storage.load(&place(number))?;
        found.filter(|(head, _)| head.count == number).ok_or(ActivityError::RolledBack.into())
    }
}

/// Where an entry is kept: places are used again.
fn place(number: u64) -> String {
    format!("entry.{}", number % KEPT)
}

#[cfg(test)]
mod tests;

//! Writing the activity log.

use alloc::boxed::Box;

use trustbox_api::key::Uuid;
use trustbox_api::log::{Channel, Entry, Event, LogReply, Note, Observation};
use trustbox_api::message::{LogRequest, Nonce};
use trustbox_api::token::log_head;
use trustbox_api::{Bytes, Error};

use crate::records::{LogRecord, exclusively, load, store};
use crate::tee::Tee;

/// Writes down what somebody with a key said, before it takes effect: a power cut cannot take the evidence away. What is
/// there already is not written again, so repeating a statement pushes nothing out. Only from within `exclusively`.
#[inline(never)]
pub fn accept<T: Tee>(tee: &mut T, events: impl IntoIterator<Item = Event>) -> Result<(), Error> {
    let mut record: Box<LogRecord> = load(tee)?;
    let mut changed = false;
    for event in events {
        let ring = record.ring(Channel::Authority)?;
        if !ring.entries.iter().any(|entry| entry.event == event) {
            record.append(tee, Channel::Authority, event)?;
            changed = true;
        }
    }
    if changed { store(tee, &*record) } else { Ok(()) }
}

/// Writes down what Linux brought about, once for each different event and boot, and counts it. Only from within `exclusively`.
#[inline(never)]
pub fn observe<T: Tee>(tee: &mut T, event: Event, count: u32) -> Result<(), Error> {
    let mut record: Box<LogRecord> = load(tee)?;
    record.start_boot(tee)?;
    if let Some(known) = record.observations.iter_mut().find(|known| known.event == event) {
        known.count = known.count.saturating_add(count);
    } else if record.observations.try_push(Observation { event, count }).is_ok() {
        record.append(tee, Channel::Activity, event)?;
    } else {
        // Full: counted nowhere, so that nothing is pushed out.
        return Ok(());
    }
    store(tee, &*record)
}

/// Writes down an enclave's note.
pub fn note<T: Tee>(tee: &mut T, uuid: Uuid, text: Note) -> Result<(), Error> {
    exclusively(tee, |tee| {
        let mut record: Box<LogRecord> = load(tee)?;
        record.append(tee, Channel::Enclaves, Event::Noted { uuid, text })?;
        store(tee, &*record)
    })
}

/// A channel as it is.
#[inline(never)]
pub fn read<T: Tee>(tee: &mut T, request: LogRequest) -> Result<LogReply, Error> {
    let mut record: Box<LogRecord> = load(tee)?;
    let ring = core::mem::take(record.ring(request.channel)?);
    let mut observations = record.observations;
    if request.channel != Channel::Activity {
        observations.clear();
    }
    Ok(LogReply { ring, observations: *observations })
}

/// For a token: entries so far in each channel, and the hash of their heads.
#[inline(never)]
pub fn head<T: Tee>(tee: &mut T) -> Result<([u64; 3], Bytes<32>), Error> {
    let record: Box<LogRecord> = load(tee)?;
    let [a, b, c] = &record.rings;
    Ok(([a.next(), b.next(), c.next()], log_head(&[a.head()?, b.head()?, c.head()?])))
}

/// Tells two events of the same kind apart.
pub fn mark(nonce: &Nonce) -> Bytes<8> {
    let [a, b, c, d, e, f, g, h, ..] = nonce.0;
    Bytes([a, b, c, d, e, f, g, h])
}

/// Refusals that say something about whoever called; the others are slips of a program.
pub fn is_evidence(error: Error) -> bool {
    matches!(
        error,
        Error::WrongCaller
            | Error::HukNotUnique
            | Error::SignatureInvalid
            | Error::NotAuthorised
            | Error::WrongRoot
            | Error::WrongAudience
            | Error::Replayed
            | Error::NonceUnknown
            | Error::ReservedUuid
            | Error::Revoked
            | Error::Decryption
            | Error::TicketInvalid
            | Error::VersionRollback
            | Error::CiphertextDigest
            | Error::PlaintextDigest
            | Error::ImageHeader
            | Error::ImageRefused
    )
}

impl LogRecord {
    fn ring(&mut self, channel: Channel) -> Result<&mut trustbox_api::log::Ring, Error> {
        self.rings.get_mut(channel as usize).map(|ring| &mut **ring).ok_or(Error::Internal)
    }

    fn append<T: Tee>(&mut self, tee: &mut T, channel: Channel, event: Event) -> Result<(), Error> {
        let uptime = self.start_boot(tee)?;
        let entry = Entry { boot: self.boots, uptime, event };
        self.ring(channel)?.append(entry)
    }

    /// Counts boots; returns the seconds since this one.
    fn start_boot<T: Tee>(&mut self, tee: &mut T) -> Result<u32, Error> {
        let now = tee.now()?;
        if self.boot != now.boot {
            self.boot = now.boot;
            self.boots = self.boots.saturating_add(1);
            self.observations.clear();
        }
        Ok(now.uptime)
    }
}

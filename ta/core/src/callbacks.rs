//! What enclaves may ask beside reports: counters, notes in the log, keys.
//!
//! Each request brings the ticket of the launch. Whatever is installed under the UUID meanwhile, an instance speaks only as
//! what it was launched.

use alloc::boxed::Box;

use sha2::{Digest, Sha256};
use trustbox_api::launch::{Identity, Ticket};
use trustbox_api::message::{CounterReply, CounterRequest, KeyReply, KeyRequest, NoteRequest};
use trustbox_api::{Error, Secret};

use crate::records::{DeviceRecord, EnclavesRecord, Holdings, load, update};
use crate::tee::Tee;
use crate::{log, ticket};

/// Keeps keys of enclaves apart from their sealing key.
const KEY_DOMAIN: &[u8] = b"TrustBox enclave key\0";

/// Reads or advances a counter.
#[inline(never)]
pub fn counter<T: Tee>(
    tee: &mut T,
    device: &DeviceRecord,
    request: CounterRequest,
) -> Result<CounterReply, Error> {
    let enclave = launched_as(tee, device, &request.ticket)?;
    let number = usize::from(request.counter);
    if request.add == 0 {
        let mut record: Box<EnclavesRecord> = load(tee)?;
        let counters = holdings(&mut record, &enclave)?.counters;
        return Ok(CounterReply { value: *counters.get(number).ok_or(Error::LimitReached)? });
    }
    update(tee, |_, record: &mut EnclavesRecord| {
        let counter = holdings(record, &enclave)?.counters.get_mut(number).ok_or(Error::LimitReached)?;
        *counter = counter.checked_add(request.add).ok_or(Error::LimitReached)?;
        Ok(CounterReply { value: *counter })
    })
}

/// Writes a note into the log.
#[inline(never)]
pub fn note<T: Tee>(tee: &mut T, device: &DeviceRecord, request: NoteRequest) -> Result<(), Error> {
    let enclave = launched_as(tee, device, &request.ticket)?;
    log::note(tee, enclave.uuid, request.text)
}

/// Derives a key from the sealing key: the one-step function of NIST SP 800-56C Rev. 2, 4.1, with SHA-256.
#[inline(never)]
pub fn key<T: Tee>(tee: &mut T, device: &DeviceRecord, request: &KeyRequest) -> Result<KeyReply, Error> {
    let enclave = launched_as(tee, device, &request.ticket)?;
    let mut record: Box<EnclavesRecord> = load(tee)?;
    let sealing_key = &holdings(&mut record, &enclave)?.sealing_key;
    let derived = Sha256::new()
        .chain_update(1_u32.to_be_bytes())
        .chain_update(sealing_key.expose())
        .chain_update(KEY_DOMAIN)
        .chain_update(request.label.as_bytes());
    Ok(KeyReply { key: Secret::new(derived.finalize().into()) })
}

/// As what the enclave that asks was launched, if it is not revoked since.
pub fn launched_as<T: Tee>(tee: &mut T, device: &DeviceRecord, ticket: &Ticket) -> Result<Identity, Error> {
    let identity = ticket::check(tee, ticket)?;
    ticket::check_not_revoked(device, &identity)?;
    Ok(identity)
}

/// What belongs to the enclave, if it was not erased or given to another publisher since.
fn holdings<'a>(record: &'a mut EnclavesRecord, enclave: &Identity) -> Result<&'a mut Holdings, Error> {
    let entry = record.find_mut(&enclave.uuid).ok_or(Error::NotInstalled)?;
    let holdings = entry.holdings.as_mut().filter(|held| held.generation == enclave.generation);
    holdings.ok_or(Error::NotInstalled)
}

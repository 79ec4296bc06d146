//! What is installed, launching it, removing it.

use alloc::boxed::Box;

use trustbox_api::Error;
use trustbox_api::key::Uuid;
use trustbox_api::launch::{Identity, Launch};
use trustbox_api::log::Event;
use trustbox_api::message::{EnclaveEntry, ListReply, UninstallRequest};

use crate::records::{
    DeviceRecord, EnclaveRecord, EnclavesRecord, Intent, Logged, Owner, exclusively, load, store, undisturbed,
};
use crate::settle::{self, resolve_all};
use crate::tee::Tee;
use crate::{log, ticket};

/// All enclaves the device knows. One whose interrupted change cannot be settled now shows as pending.
#[inline(never)]
pub fn list<T: Tee>(tee: &mut T) -> Result<ListReply, Error> {
    let record = match settled(tee) {
        Err(Error::Busy) => load(tee)?,
        result => result?,
    };
    Ok(ListReply { enclaves: record.enclaves.iter().map(|enclave| entry(enclave)).collect() })
}

/// Opens a session to an installed enclave and hands it what it needs; also returns as what it was launched.
#[inline(never)]
pub fn open<T: Tee>(
    tee: &mut T,
    device: &DeviceRecord,
    uuid: &Uuid,
) -> Result<(T::Enclave, Identity), Error> {
    let owner = device.owner()?;
    undisturbed(tee, |tee| launch(tee, owner, uuid))
}

fn launch<T: Tee>(tee: &mut T, owner: &Owner, uuid: &Uuid) -> Result<(T::Enclave, Identity), Error> {
    let mut record: Box<EnclavesRecord> = load(tee)?;
    if record.find(uuid).is_some_and(|enclave| enclave.intent.is_some()) {
        record = exclusively(tee, resolve_all).map_err(|_| Error::ChangePending)?;
    }
    let enclave = record.find(uuid).ok_or(Error::NotInstalled)?;
    let installed = enclave.installed.as_ref().ok_or(Error::NotInstalled)?;
    let holdings = enclave.holdings.as_ref().ok_or(Error::StorageCorrupt)?;
    owner.revoked.check_enclave(uuid, installed.version, &installed.publisher)?;
    let launch = Logged { boot: tee.now()?.boot, version: installed.version };
    if enclave.logged != Some(launch) {
        write_down(tee, uuid, launch)?;
    }
    let identity = Identity {
        uuid: *uuid,
        digest: installed.digest,
        version: installed.version,
        publisher: installed.publisher,
        generation: holdings.generation,
        epoch: owner.epoch,
    };
    let sealing_key = holdings.sealing_key.clone();
    let launch = Launch { sealing_key, uuid: *uuid, ticket: ticket::issue(tee, identity)? };
    Ok((tee.open_enclave(uuid, &launch)?, identity))
}

/// The first launch of a version since boot; later ones cost nothing.
#[inline(never)]
fn write_down<T: Tee>(tee: &mut T, uuid: &Uuid, launch: Logged) -> Result<(), Error> {
    exclusively(tee, |tee| {
        log::observe(tee, Event::Launched { uuid: *uuid, version: launch.version }, 1)?;
        let mut record: Box<EnclavesRecord> = load(tee)?;
        record.find_mut(uuid).ok_or(Error::NotInstalled)?.logged = Some(launch);
        store(tee, &*record)
    })
}

/// Removes an enclave. Its version floor stays; its holdings stay for a later install by the same publisher, unless they
/// are to be erased, which can also be asked for afterwards.
#[inline(never)]
pub fn uninstall<T: Tee>(tee: &mut T, request: UninstallRequest) -> Result<(), Error> {
    undisturbed(tee, |tee| {
        exclusively(tee, |tee| {
            let mut record: Box<EnclavesRecord> = load(tee)?;
            let enclave = record.find_mut(&request.uuid).ok_or(Error::NotInstalled)?;
            settle::resolve(tee, enclave)?;
            if enclave.installed.is_none() && !(request.erase && enclave.holdings.is_some()) {
                return Err(Error::NotInstalled);
            }
            enclave.intent = Some(Intent::Uninstall { erase: request.erase });
            log::observe(tee, Event::Uninstalled(request.uuid), 1)?;
            store(tee, &*record)?;
            let enclave = record.find_mut(&request.uuid).ok_or(Error::Internal)?;
            settle::resolve(tee, enclave)?;
            record.forget_unused();
            store(tee, &*record)
        })
    })
}

fn settled<T: Tee>(tee: &mut T) -> Result<Box<EnclavesRecord>, Error> {
    let record: Box<EnclavesRecord> = load(tee)?;
    if record.enclaves.iter().all(|enclave| enclave.intent.is_none()) {
        return Ok(record);
    }
    undisturbed(tee, |tee| exclusively(tee, resolve_all))
}

fn entry(enclave: &EnclaveRecord) -> EnclaveEntry {
    EnclaveEntry {
        uuid: enclave.uuid,
        name: enclave.name,
        version: enclave.installed.as_ref().map(|installed| installed.version),
        floor: enclave.floor,
        pending: enclave.intent.is_some(),
    }
}

//! What is installed, and launching it.

use trustbox_api::Error;
use trustbox_api::key::Uuid;
use trustbox_api::launch::Launch;
use trustbox_api::message::{EnclaveEntry, ListReply};

use crate::records::{EnclaveRecord, EnclavesRecord, load};
use crate::tee::Tee;

/// All enclaves the device knows.
pub fn list<T: Tee>(tee: &mut T) -> Result<ListReply, Error> {
    let record: EnclavesRecord = load(tee)?;
    Ok(ListReply { enclaves: record.enclaves.iter().map(entry).collect() })
}

/// Opens a session to an installed enclave and hands it what it needs.
pub fn open<T: Tee>(tee: &mut T, uuid: &Uuid) -> Result<T::Enclave, Error> {
    let record: EnclavesRecord = load(tee)?;
    let enclave = record.find(uuid).ok_or(Error::NotInstalled)?;
    if enclave.intent.is_some() {
        return Err(Error::ChangePending);
    }
    let installed = enclave.installed.as_ref().ok_or(Error::NotInstalled)?;
    let launch = Launch {
        uuid: enclave.uuid,
        version: installed.version,
        publisher: installed.publisher,
        sealing_key: installed.sealing_key.clone(),
    };
    tee.open_enclave(uuid, &launch)
}

fn entry(enclave: &EnclaveRecord) -> EnclaveEntry {
    EnclaveEntry {
        uuid: enclave.uuid,
        name: enclave.name.clone(),
        version: enclave.installed.as_ref().map(|installed| installed.version),
        floor: enclave.floor,
        pending: enclave.intent.is_some(),
    }
}

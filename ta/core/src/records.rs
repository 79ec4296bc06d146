//! What the TA stores, and the only ways it changes.
//!
//! Three records, each replaced as a whole: a power cut leaves the old one or the new one (INV-6).
//! Changes go through [`update`], which holds the writer slot from reading to writing, so two
//! sessions cannot undo each other. Readers need no slot.

use heapless::Vec;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use trustbox_api::command::Lifecycle;
use trustbox_api::key::{KeyId, KeyRef, Name, PublicKey, Uuid};
use trustbox_api::limits::{MAX_CLASS_KEYS, MAX_ENCLAVES, MAX_NONCES, MAX_PUBLISHERS, MAX_RELEASERS};
use trustbox_api::message::Nonce;
use trustbox_api::statement::{Publisher, Releaser};
use trustbox_api::{Bytes, Error, Secret, wire};
use zeroize::Zeroizing;

use crate::tee::{Record, Slot, Tee};

/// Bytes of the largest record.
const MAX_RECORD: usize = 6 * 1024;

/// A record, tied to where it is stored.
pub trait Stored: Serialize + DeserializeOwned + Default {
    /// Where it is stored.
    const RECORD: Record;
}

/// Owner and delegations.
#[derive(Default, Serialize, Deserialize)]
pub struct DeviceRecord {
    /// Nonce outstanding for pinning an owner.
    pub challenge: Option<Nonce>,
    /// The owner, once pinned.
    pub owner: Option<Owner>,
}

/// A pinned owner and what it delegated.
#[derive(Serialize, Deserialize)]
pub struct Owner {
    /// The owner root.
    pub root: PublicKey,
    /// Highest sequence accepted of kind `Publisher`.
    pub publisher_sequence: u64,
    /// Highest sequence accepted of kind `Releaser`.
    pub releaser_sequence: u64,
    /// Who may publish what.
    pub publishers: Vec<Publisher, MAX_PUBLISHERS>,
    /// Who may release which class keys.
    pub releasers: Vec<Releaser, MAX_RELEASERS>,
}

/// Class keys, and the nonces under which they are imported.
#[derive(Default, Serialize, Deserialize)]
pub struct KeysRecord {
    /// Outstanding nonces, oldest first.
    pub nonces: Vec<Nonce, MAX_NONCES>,
    /// The keys.
    pub keys: Vec<ClassKey, MAX_CLASS_KEYS>,
}

/// A class key.
#[derive(Serialize, Deserialize)]
pub struct ClassKey {
    /// Name and version.
    pub key: KeyRef,
    /// The AES-256 key.
    pub secret: Secret<32>,
}

/// All enclaves the device has ever seen.
#[derive(Default, Serialize, Deserialize)]
pub struct EnclavesRecord {
    /// One entry per UUID.
    pub enclaves: Vec<EnclaveRecord, MAX_ENCLAVES>,
}

/// One enclave: version floor and installed state in one place.
#[derive(Serialize, Deserialize)]
pub struct EnclaveRecord {
    /// The enclave.
    pub uuid: Uuid,
    /// Its display name.
    pub name: Name,
    /// No lower version is ever accepted.
    pub floor: u32,
    /// What is installed.
    pub installed: Option<Installed>,
    /// An install whose image may or may not have reached OP-TEE.
    pub intent: Option<Intent>,
}

/// An installed enclave.
#[derive(Clone, Serialize, Deserialize)]
pub struct Installed {
    /// Its version.
    pub version: u32,
    /// SHA-256 of its signed image.
    pub digest: Bytes<32>,
    /// Who signed its manifest.
    pub publisher: KeyId,
    /// Key of its sealed data; kept across upgrades by the same publisher.
    pub sealing_key: Secret<32>,
}

/// A change under way.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Intent {
    /// The version to come.
    pub version: u32,
    /// SHA-256 of the image to come.
    pub digest: Bytes<32>,
}

impl Stored for DeviceRecord {
    const RECORD: Record = Record::Device;
}

impl Stored for KeysRecord {
    const RECORD: Record = Record::Keys;
}

impl Stored for EnclavesRecord {
    const RECORD: Record = Record::Enclaves;
}

impl DeviceRecord {
    /// Where the device stands.
    pub fn lifecycle(&self) -> Lifecycle {
        match self.owner {
            None => Lifecycle::Blank,
            Some(_) => Lifecycle::Provisioned,
        }
    }

    /// The owner; the command table has refused blank devices before.
    pub fn owner(&self) -> Result<&Owner, Error> {
        self.owner.as_ref().ok_or(Error::WrongLifecycle)
    }
}

impl KeysRecord {
    /// The secret of a class key.
    pub fn find(&self, key: &KeyRef) -> Result<&Secret<32>, Error> {
        self.keys.iter().find(|held| held.key == *key).map(|held| &held.secret).ok_or(Error::KeyUnknown)
    }
}

impl EnclavesRecord {
    /// The entry of an enclave.
    pub fn find(&self, uuid: &Uuid) -> Option<&EnclaveRecord> {
        self.enclaves.iter().find(|enclave| enclave.uuid == *uuid)
    }

    /// The entry of an enclave, made where there is none.
    pub fn find_or_add(&mut self, uuid: Uuid, name: &Name) -> Result<&mut EnclaveRecord, Error> {
        let index = match self.enclaves.iter().position(|enclave| enclave.uuid == uuid) {
            Some(index) => index,
            None => {
                let new = EnclaveRecord { uuid, name: name.clone(), floor: 0, installed: None, intent: None };
                self.enclaves.push(new).map_err(|_| Error::LimitReached)?;
                self.enclaves.len() - 1
            }
        };
        self.enclaves.get_mut(index).ok_or(Error::Internal)
    }

    /// Drops entries that say nothing.
    pub fn forget_unused(&mut self) {
        self.enclaves
            .retain(|enclave| enclave.installed.is_some() || enclave.intent.is_some() || enclave.floor > 0);
    }
}

/// Reads a record; a device that never wrote it has the default.
pub fn load<R: Stored, T: Tee>(tee: &mut T) -> Result<R, Error> {
    let mut buffer = Zeroizing::new([0; MAX_RECORD]);
    let Some(length) = tee.read(R::RECORD, buffer.as_mut_slice())? else {
        return Ok(R::default());
    };
    let content = buffer.get(..length).ok_or(Error::StorageCorrupt)?;
    wire::decode(content).map_err(|_| Error::StorageCorrupt)
}

/// Reads a record, lets `change` change it, and writes it if `change` agrees.
pub fn update<R: Stored, T: Tee, A>(
    tee: &mut T,
    change: impl FnOnce(&mut T, &mut R) -> Result<A, Error>,
) -> Result<A, Error> {
    exclusively(tee, |tee| {
        let mut record = load(tee)?;
        let answer = change(tee, &mut record)?;
        store(tee, &record)?;
        Ok(answer)
    })
}

/// Runs `work` while no other session changes a record.
pub fn exclusively<T: Tee, A>(
    tee: &mut T,
    work: impl FnOnce(&mut T) -> Result<A, Error>,
) -> Result<A, Error> {
    tee.acquire(Slot::Writer)?;
    let result = work(tee);
    tee.release(Slot::Writer);
    result
}

/// Replaces a record; only from within [`exclusively`].
pub fn store<R: Stored, T: Tee>(tee: &mut T, record: &R) -> Result<(), Error> {
    let mut buffer = Zeroizing::new([0; MAX_RECORD]);
    let content = wire::encode(record, buffer.as_mut_slice()).map_err(|_| Error::LimitReached)?;
    tee.write(R::RECORD, content)
}

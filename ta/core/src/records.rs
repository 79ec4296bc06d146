//! What the TA stores, and the only ways it changes.
//!
//! A few records, each replaced as a whole: a power cut leaves the old one or the new one (INV-6).
//! Changes go through [`update`], which holds the writer slot from reading to writing, so two
//! sessions cannot undo each other. Readers need no slot.
//!
//! What is large lies in boxes: decoding moves values about, and the stack of a TA is short.

use alloc::boxed::Box;

use arrayvec::ArrayVec;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use trustbox_api::command::Lifecycle;
use trustbox_api::key::{KeyId, KeyRef, Name, PublicKey, Uuid};
use trustbox_api::limits::{
    MAX_CLASS_KEYS, MAX_COUNTERS, MAX_ENCLAVES, MAX_NONCES, MAX_OBSERVATIONS, MAX_PUBLISHERS, MAX_RELEASERS,
    MAX_REVOKERS,
};
use trustbox_api::log::{Observation, Ring};
use trustbox_api::message::{Nonce, Purpose};
use trustbox_api::statement::{Policy, Publisher, Releaser};
use trustbox_api::{Bytes, Error, Secret, wire};
use zeroize::Zeroize;

use crate::revocations::Revocations;
use crate::tee::{Record, Slot, Tee};

/// Bytes of the largest record.
const MAX_RECORD: usize = 10 * 1024;

/// A record, tied to where it is stored.
pub trait Stored: Serialize + DeserializeOwned + Default {
    /// Where it is stored.
    const RECORD: Record;
}

/// Lifecycle, owner and delegations.
#[derive(Default, Serialize, Deserialize)]
pub struct DeviceRecord {
    /// Where the device stands.
    pub lifecycle: Lifecycle,
    /// Decommissioned, and everything that had to go is gone.
    pub erased: bool,
    /// Nonce outstanding for a statement that changes the device's life.
    pub challenge: Option<Challenge>,
    /// The owner, once pinned.
    pub owner: Option<Box<Owner>>,
}

/// An outstanding nonce and what it is good for.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// What it is good for.
    pub purpose: Purpose,
    /// The nonce.
    pub nonce: Nonce,
}

/// A pinned owner and what it said.
#[derive(Serialize, Deserialize)]
pub struct Owner {
    /// The owner root.
    pub root: PublicKey,
    /// The newest statement of each kind.
    pub newest: Newest,
    /// Who may publish what.
    pub publishers: ArrayVec<Box<Publisher>, MAX_PUBLISHERS>,
    /// Who may release which class keys.
    pub releasers: ArrayVec<Box<Releaser>, MAX_RELEASERS>,
    /// Who may revoke.
    pub revokers: ArrayVec<PublicKey, MAX_REVOKERS>,
    /// What was revoked.
    pub revoked: Box<Revocations>,
    /// How many revocations were accepted.
    pub epoch: u64,
    /// What is allowed.
    pub policy: Policy,
    /// Drawn when the owner was pinned: what the disk key is derived from besides the device's own key.
    pub disk_seed: Secret<32>,
}

/// The newest statement of each kind whose sequence rises.
#[derive(Default, Serialize, Deserialize)]
pub struct Newest {
    /// Of kind `Publisher`.
    pub publisher: Seen,
    /// Of kind `Releaser`.
    pub releaser: Seen,
    /// Of kind `Revoker`.
    pub revoker: Seen,
    /// Of kind `Policy`.
    pub policy: Seen,
    /// Of kind `Revocation`.
    pub revocation: Seen,
}

/// A statement that was accepted.
#[derive(Default, Serialize, Deserialize)]
pub struct Seen {
    /// Its sequence.
    pub sequence: u64,
    /// What was signed.
    pub digest: Bytes<32>,
}

/// Class keys, and the nonces under which they are imported.
#[derive(Default, Serialize, Deserialize)]
pub struct KeysRecord {
    /// Outstanding nonces, oldest first.
    pub nonces: ArrayVec<Nonce, MAX_NONCES>,
    /// The keys.
    pub keys: ArrayVec<ClassKey, MAX_CLASS_KEYS>,
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
    pub enclaves: ArrayVec<Box<EnclaveRecord>, MAX_ENCLAVES>,
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
    /// What belongs to one publisher of it, across upgrades and until erased.
    pub holdings: Option<Holdings>,
    /// A change that may or may not have reached OP-TEE.
    pub intent: Option<Intent>,
    /// The launch that was written down last.
    pub logged: Option<Logged>,
}

/// A launch in the activity log: the first of a version since boot.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logged {
    /// The boot.
    pub boot: Bytes<16>,
    /// The version.
    pub version: u32,
}

/// An installed enclave.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Installed {
    /// Its version.
    pub version: u32,
    /// SHA-256 of its signed image.
    pub digest: Bytes<32>,
    /// Who signed its manifest.
    pub publisher: KeyId,
}

/// What an enclave keeps outside itself.
#[derive(Serialize, Deserialize)]
pub struct Holdings {
    /// Whose they are.
    pub publisher: KeyId,
    /// Random, another one after each erasure.
    pub generation: Bytes<8>,
    /// Key of its sealed data.
    pub sealing_key: Secret<32>,
    /// Its monotonic counters.
    pub counters: [u64; MAX_COUNTERS],
}

/// A change under way.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub enum Intent {
    /// An install.
    Install {
        /// What is installed afterwards.
        next: Installed,
        /// Its display name.
        name: Name,
        /// SHA-256 of what OP-TEE holds afterwards.
        contents: Bytes<32>,
    },
    /// A removal.
    Uninstall {
        /// Holdings go too.
        erase: bool,
    },
}

/// The activity log.
#[derive(Default, Serialize, Deserialize)]
pub struct LogRecord {
    /// The boot of the last entry.
    pub boot: Bytes<16>,
    /// Boots that had an entry.
    pub boots: u32,
    /// One for each channel.
    pub rings: [Box<Ring>; 3],
    /// Different events of Linux's since boot.
    pub observations: Box<ArrayVec<Observation, MAX_OBSERVATIONS>>,
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

impl Stored for LogRecord {
    const RECORD: Record = Record::Log;
}

impl DeviceRecord {
    /// The owner; the command table has refused devices without one before.
    pub fn owner(&self) -> Result<&Owner, Error> {
        self.owner.as_deref().ok_or(Error::WrongLifecycle)
    }

    /// The owner, to change what it said.
    pub fn owner_mut(&mut self) -> Result<&mut Owner, Error> {
        self.owner.as_deref_mut().ok_or(Error::WrongLifecycle)
    }

    /// Uses up the outstanding nonce, which must be this one for this purpose.
    pub fn use_up(&mut self, purpose: Purpose, nonce: Nonce) -> Result<(), Error> {
        if self.challenge.take() == Some(Challenge { purpose, nonce }) {
            Ok(())
        } else {
            Err(Error::NonceUnknown)
        }
    }
}

impl KeysRecord {
    /// The keys that were not revoked; one that was may still wait to be erased.
    pub fn usable(&self, owner: Option<&Owner>) -> impl Iterator<Item = KeyRef> {
        let revoked =
            move |key: &KeyRef| owner.is_some_and(|owner| owner.revoked.check_class_key(key).is_err());
        self.keys.iter().map(|held| held.key).filter(move |key| !revoked(key))
    }

    /// The secret of a class key.
    pub fn find(&self, key: &KeyRef) -> Result<&Secret<32>, Error> {
        self.keys.iter().find(|held| held.key == *key).map(|held| &held.secret).ok_or(Error::KeyUnknown)
    }
}

impl EnclavesRecord {
    /// The entry of an enclave.
    pub fn find(&self, uuid: &Uuid) -> Option<&EnclaveRecord> {
        self.enclaves.iter().map(|enclave| &**enclave).find(|enclave| enclave.uuid == *uuid)
    }

    /// The entry of an enclave, to change it.
    pub fn find_mut(&mut self, uuid: &Uuid) -> Option<&mut EnclaveRecord> {
        self.enclaves.iter_mut().map(|enclave| &mut **enclave).find(|enclave| enclave.uuid == *uuid)
    }

    /// The entry of an enclave, made where there is none.
    pub fn find_or_add(&mut self, uuid: Uuid, name: &Name) -> Result<&mut EnclaveRecord, Error> {
        if self.find(&uuid).is_none() {
            let new = EnclaveRecord {
                uuid,
                name: *name,
                floor: 0,
                installed: None,
                holdings: None,
                intent: None,
                logged: None,
            };
            self.enclaves.try_push(Box::new(new)).map_err(|_| Error::LimitReached)?;
        }
        self.find_mut(&uuid).ok_or(Error::Internal)
    }

    /// Drops entries that say nothing.
    pub fn forget_unused(&mut self) {
        self.enclaves.retain(|enclave| {
            enclave.installed.is_some()
                || enclave.holdings.is_some()
                || enclave.intent.is_some()
                || enclave.floor > 0
        });
    }
}

/// Reads a record, into the heap since it is large; a device that never wrote it has the default.
///
/// Only what was read is wiped: wiping all of the buffer would be most of the work.
#[inline(never)]
pub fn load<R: Stored, T: Tee>(tee: &mut T) -> Result<Box<R>, Error> {
    let mut buffer = [0; MAX_RECORD];
    let Some(length) = tee.read(R::RECORD, &mut buffer).inspect_err(|_| buffer.zeroize())? else {
        return Ok(Box::default());
    };
    let content = buffer.get_mut(..length).ok_or(Error::StorageCorrupt)?;
    let record = wire::decode(content).map(Box::new).map_err(|_| Error::StorageCorrupt);
    content.zeroize();
    record
}

/// Reads a record, lets `change` change it, and writes it if `change` agrees.
pub fn update<R: Stored, T: Tee, A>(
    tee: &mut T,
    change: impl FnOnce(&mut T, &mut R) -> Result<A, Error>,
) -> Result<A, Error> {
    exclusively(tee, |tee| {
        let mut record: Box<R> = load(tee)?;
        let answer = change(tee, &mut record)?;
        store(tee, &*record)?;
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

/// Runs `work` while no other session launches an enclave or changes what is installed.
pub fn undisturbed<T: Tee, A>(
    tee: &mut T,
    work: impl FnOnce(&mut T) -> Result<A, Error>,
) -> Result<A, Error> {
    tee.acquire(Slot::Enclaves)?;
    let result = work(tee);
    tee.release(Slot::Enclaves);
    result
}

/// Replaces a record; only from within [`exclusively`].
#[inline(never)]
pub fn store<R: Stored, T: Tee>(tee: &mut T, record: &R) -> Result<(), Error> {
    let mut buffer = [0; MAX_RECORD];
    let length = wire::encode(record, &mut buffer).map(<[u8]>::len);
    let length = length.map_err(|_| buffer.zeroize()).map_err(|()| Error::LimitReached)?;
    let content = buffer.get_mut(..length).ok_or(Error::Internal)?;
    let written = tee.write(R::RECORD, content);
    content.zeroize();
    written
}

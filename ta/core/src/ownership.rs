//! A device's life: who owns it, from blank to decommissioned. Each step needs a nonce of this device (INV-7).

use alloc::boxed::Box;

use sha2::{Digest, Sha256};
use trustbox_api::command::Lifecycle;
use trustbox_api::key::PublicKey;
use trustbox_api::log::Event;
use trustbox_api::message::{ChallengeReply, ChallengeRequest, Huk, KeyReply, Nonce, Profile, Purpose};
use trustbox_api::statement::{self, Kind};
use trustbox_api::{Error, Secret};

use crate::authority;
use crate::records::{
    Challenge, DeviceRecord, EnclavesRecord, KeysRecord, Newest, Owner, exclusively, load, store, update,
};
use crate::tee::Tee;
use crate::{class_keys, identity, log};

/// Keeps the disk key apart from whatever else is derived.
const DISK_KEY: &[u8] = b"TrustBox disk key\0";

/// Issues a nonce, to be answered with a signed statement.
#[inline(never)]
pub fn challenge<T: Tee>(tee: &mut T, request: ChallengeRequest) -> Result<ChallengeReply, Error> {
    let mut nonce: Nonce = trustbox_api::Bytes([0; 32]);
    tee.random(&mut nonce.0);
    match request.purpose {
        Purpose::ImportKey => class_keys::remember_nonce(tee, nonce)?,
        purpose => update(tee, |_, record: &mut DeviceRecord| {
            check_purpose(purpose, record.lifecycle)?;
            record.challenge = Some(Challenge { purpose, nonce });
            Ok(())
        })?,
    }
    Ok(ChallengeReply { device_id: identity::device_id(tee)?, nonce })
}

/// A nonce for what the command table would refuse is refused at once.
fn check_purpose(purpose: Purpose, lifecycle: Lifecycle) -> Result<(), Error> {
    let fits = match purpose {
        Purpose::Provision => lifecycle == Lifecycle::Blank,
        Purpose::Lock => lifecycle == Lifecycle::Provisioned,
        Purpose::ImportKey | Purpose::RotateRoot | Purpose::Decommission => {
            matches!(lifecycle, Lifecycle::Provisioned | Lifecycle::Locked)
        }
    };
    if fits { Ok(()) } else { Err(Error::WrongLifecycle) }
}

/// Pins the owner root.
///
/// The record is written last: a cut before that leaves the device blank. Other records are emptied first: whoever makes
/// the device look blank by deleting this one record must not hand the keys of one owner to the next.
#[inline(never)]
pub fn provision<T: Tee>(tee: &mut T, request: &[u8]) -> Result<(), Error> {
    check_platform(tee)?;
    let statement = authority::by_provisioning_authority(tee, Kind::PinRoot, request)?;
    let pin: statement::PinRoot = statement.body()?;
    if pin.root.id() != statement.root() {
        return Err(Error::WrongRoot);
    }
    tee.create_keys()?;
    update(tee, |tee, record: &mut DeviceRecord| {
        if record.lifecycle != Lifecycle::Blank {
            return Err(Error::WrongLifecycle);
        }
        record.use_up(Purpose::Provision, pin.nonce)?;
        log::accept(tee, [Event::Provisioned(pin.root.id())])?;
        store(tee, &KeysRecord::default())?;
        store(tee, &EnclavesRecord::default())?;
        record.lifecycle = Lifecycle::Provisioned;
        let mut owner = Box::new(Owner::new(pin.root));
        tee.random(owner.disk_seed.expose_mut());
        record.owner = Some(owner);
        Ok(())
    })
}

/// The one key that leaves the TEE (INV-1): for what Linux keeps on its medium. Without this device it cannot be derived, and with
/// the owner's record its seed is gone.
#[inline(never)]
pub fn disk_key<T: Tee>(tee: &mut T, device: &DeviceRecord) -> Result<KeyReply, Error> {
    let seed = device.owner()?.disk_seed.expose();
    let purpose = Sha256::new().chain_update(DISK_KEY).chain_update(seed).finalize();
    Ok(KeyReply { key: tee.derive(&purpose)? })
}

/// Ends the factory's part.
#[inline(never)]
pub fn lock<T: Tee>(tee: &mut T, request: &[u8]) -> Result<(), Error> {
    let statement = authority::by_provisioning_authority(tee, Kind::Lock, request)?;
    let statement::Lock { nonce } = statement.body()?;
    update(tee, |tee, record: &mut DeviceRecord| {
        if record.lifecycle != Lifecycle::Provisioned {
            return Err(Error::WrongLifecycle);
        }
        check_root(record, &statement)?;
        record.use_up(Purpose::Lock, nonce)?;
        log::accept(tee, [Event::Locked])?;
        record.lifecycle = Lifecycle::Locked;
        Ok(())
    })
}

/// Hands the device to a new root. Roles end with the root that gave them; sequences go on, so that nothing an earlier root
/// said is ever new again.
#[inline(never)]
pub fn rotate_root<T: Tee>(tee: &mut T, device: &DeviceRecord, request: &[u8]) -> Result<(), Error> {
    let statement = authority::by_owner(tee, device.owner()?, Kind::RotateRoot, request)?;
    let statement::RotateRoot { nonce, root } = statement.body()?;
    update(tee, |tee, record: &mut DeviceRecord| {
        check_root(record, &statement)?;
        record.use_up(Purpose::RotateRoot, nonce)?;
        let owner = record.owner_mut()?;
        owner.revoked.check_key(&root.id())?;
        log::accept(tee, [Event::RootRotated { root: root.id(), nonce: log::mark(&nonce) }])?;
        owner.root = root;
        owner.publishers.clear();
        owner.releasers.clear();
        owner.revokers.clear();
        owner.newest.forget_statements();
        Ok(())
    })
}

/// Ends the device's life. The record that says so comes first: from then on nothing else works, and what is left to erase
/// is erased now or, after a power cut, before the next command.
#[inline(never)]
pub fn decommission<T: Tee>(tee: &mut T, device: &DeviceRecord, request: &[u8]) -> Result<(), Error> {
    let statement = authority::by_owner(tee, device.owner()?, Kind::Decommission, request)?;
    let statement::Decommission { nonce } = statement.body()?;
    update(tee, |tee, record: &mut DeviceRecord| {
        check_root(record, &statement)?;
        record.use_up(Purpose::Decommission, nonce)?;
        log::accept(tee, [Event::Decommissioned])?;
        *record = DeviceRecord { lifecycle: Lifecycle::Decommissioned, ..DeviceRecord::default() };
        Ok(())
    })?;
    erase(tee)
}

/// Erases what a decommissioned device must not hold, and remembers that it did.
#[inline(never)]
pub fn erase<T: Tee>(tee: &mut T) -> Result<(), Error> {
    exclusively(tee, |tee| {
        let mut device: Box<DeviceRecord> = load(tee)?;
        if device.lifecycle != Lifecycle::Decommissioned || device.erased {
            return Ok(());
        }
        store(tee, &KeysRecord::default())?;
        let enclaves: Box<EnclavesRecord> = load(tee)?;
        enclaves.enclaves.iter().try_for_each(|enclave| tee.uninstall(&enclave.uuid))?;
        store(tee, &EnclavesRecord::default())?;
        tee.destroy_keys()?;
        device.erased = true;
        store(tee, &*device)
    })
}

/// The owner may have changed since the statement was verified.
fn check_root(record: &DeviceRecord, statement: &authority::Verified<'_>) -> Result<(), Error> {
    if record.owner()?.root.id() == statement.root() { Ok(()) } else { Err(Error::WrongRoot) }
}

/// A key that is not unique to the device protects nothing: only development firmware goes on.
fn check_platform<T: Tee>(tee: &T) -> Result<(), Error> {
    let platform = tee.platform();
    if platform.huk != Huk::Unique && platform.profile != Profile::Dev {
        return Err(Error::HukNotUnique);
    }
    Ok(())
}

impl Owner {
    fn new(root: PublicKey) -> Self {
        Self {
            root,
            newest: Newest::default(),
            publishers: Default::default(),
            releasers: Default::default(),
            revokers: Default::default(),
            revoked: Default::default(),
            epoch: 0,
            policy: Default::default(),
            disk_seed: Secret::zero(),
        }
    }
}

impl Newest {
    /// Keeps the sequences: a statement that was the newest one is not accepted again.
    fn forget_statements(&mut self) {
        let Self { publisher, releaser, revoker, policy, revocation } = self;
        for seen in [publisher, releaser, revoker, policy, revocation] {
            seen.digest = Default::default();
        }
    }
}

//! From a blank device to one with an owner and delegated roles.

use heapless::Vec;
use trustbox_api::Error;
use trustbox_api::key::PublicKey;
use trustbox_api::message::{ChallengeReply, ChallengeRequest, Huk, Nonce, Profile, Purpose};
use trustbox_api::statement::{Kind, PinRoot, Publisher, Releaser};

use crate::authority::{self, Verified};
use crate::class_keys;
use crate::records::{DeviceRecord, EnclavesRecord, KeysRecord, Owner, load, store, update};
use crate::reserved;
use crate::tee::Tee;

/// Issues a nonce, to be answered with a signed statement.
pub fn challenge<T: Tee>(tee: &mut T, request: ChallengeRequest) -> Result<ChallengeReply, Error> {
    let nonce = fresh_nonce(tee);
    match request.purpose {
        Purpose::Provision => remember_provisioning_nonce(tee, nonce)?,
        Purpose::ImportKey => class_keys::remember_nonce(tee, nonce)?,
    }
    Ok(ChallengeReply { device_id: tee.device_id()?, nonce })
}

/// Pins the owner root.
///
/// The record is written last: a cut before that leaves the device blank. Other records are emptied first: whoever makes the device look
/// blank by deleting this one record must not hand the keys of one owner to the next.
pub fn provision<T: Tee>(tee: &mut T, request: &[u8]) -> Result<(), Error> {
    check_platform(tee)?;
    let statement = authority::by_provisioning_authority(tee, request)?;
    let pin: PinRoot = statement.body()?;
    if pin.root.id() != statement.root() {
        return Err(Error::WrongRoot);
    }
    update(tee, |tee, record: &mut DeviceRecord| {
        if record.owner.is_some() {
            return Err(Error::WrongLifecycle);
        }
        if record.challenge.take() != Some(pin.nonce) {
            return Err(Error::NonceUnknown);
        }
        store(tee, &KeysRecord::default())?;
        store(tee, &EnclavesRecord::default())?;
        record.owner = Some(Owner::new(pin.root));
        Ok(())
    })
}

/// Delegates a role.
pub fn authorise<T: Tee>(tee: &mut T, request: &[u8]) -> Result<(), Error> {
    let kind = authority::claimed_kind(request)?;
    let owner_record: DeviceRecord = load(tee)?;
    let statement = authority::by_owner(tee, owner_record.owner()?, kind, request)?;
    match kind {
        Kind::Publisher => authorise_publisher(tee, &statement),
        Kind::Releaser => authorise_releaser(tee, &statement),
        _ => Err(Error::WrongKind),
    }
}

fn authorise_publisher<T: Tee>(tee: &mut T, statement: &Verified<'_>) -> Result<(), Error> {
    let publisher: Publisher = statement.body()?;
    publisher.uuids.iter().try_for_each(reserved::check)?;
    update_owner(tee, statement, |owner| {
        let known = owner.publishers.contains(&publisher);
        advance(&mut owner.publisher_sequence, statement.sequence(), known)?;
        replace(&mut owner.publishers, publisher, |publisher| publisher.key)
    })
}

fn authorise_releaser<T: Tee>(tee: &mut T, statement: &Verified<'_>) -> Result<(), Error> {
    let releaser: Releaser = statement.body()?;
    update_owner(tee, statement, |owner| {
        let known = owner.releasers.contains(&releaser);
        advance(&mut owner.releaser_sequence, statement.sequence(), known)?;
        replace(&mut owner.releasers, releaser, |releaser| releaser.key)
    })
}

/// Changes the owner's part of the record, if it is still the owner that signed.
fn update_owner<T: Tee>(
    tee: &mut T,
    statement: &Verified<'_>,
    change: impl FnOnce(&mut Owner) -> Result<(), Error>,
) -> Result<(), Error> {
    update(tee, |_, record: &mut DeviceRecord| {
        let owner = record.owner.as_mut().ok_or(Error::WrongLifecycle)?;
        if owner.root.id() != statement.root() {
            return Err(Error::WrongRoot);
        }
        change(owner)
    })
}

/// Moves a sequence forward; the very statement accepted last is accepted again.
fn advance(highest: &mut u64, sequence: u64, known: bool) -> Result<(), Error> {
    let repeated = sequence == *highest && known;
    if sequence <= *highest && !repeated {
        return Err(Error::Replayed);
    }
    *highest = sequence;
    Ok(())
}

/// Replaces the entry of the same key, or adds one.
fn replace<D, const N: usize>(list: &mut Vec<D, N>, new: D, key: fn(&D) -> PublicKey) -> Result<(), Error> {
    match list.iter_mut().find(|old| key(old) == key(&new)) {
        Some(old) => *old = new,
        None => list.push(new).map_err(|_| Error::LimitReached)?,
    }
    Ok(())
}

/// A key that is not unique to the device protects nothing: only development firmware goes on.
fn check_platform<T: Tee>(tee: &T) -> Result<(), Error> {
    let platform = tee.platform();
    if platform.huk != Huk::Unique && platform.profile != Profile::Dev {
        return Err(Error::HukNotUnique);
    }
    Ok(())
}

fn fresh_nonce<T: Tee>(tee: &mut T) -> Nonce {
    let mut nonce = [0; 32];
    tee.random(&mut nonce);
    trustbox_api::Bytes(nonce)
}

fn remember_provisioning_nonce<T: Tee>(tee: &mut T, nonce: Nonce) -> Result<(), Error> {
    update(tee, |_, record: &mut DeviceRecord| {
        if record.owner.is_some() {
            return Err(Error::WrongLifecycle);
        }
        record.challenge = Some(nonce);
        Ok(())
    })
}

impl Owner {
    fn new(root: PublicKey) -> Self {
        Self {
            root,
            publisher_sequence: 0,
            releaser_sequence: 0,
            publishers: Vec::new(),
            releasers: Vec::new(),
        }
    }
}

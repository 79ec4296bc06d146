//! What the owner says: who may do what, what is allowed, what is revoked.

use alloc::boxed::Box;

use arrayvec::ArrayVec;
use trustbox_api::Error;
use trustbox_api::key::{KeyId, PublicKey};
use trustbox_api::limits::MAX_ENCLAVES;
use trustbox_api::log::Event;
use trustbox_api::statement::{Kind, Policy, Publisher, Releaser, Revocation, Revoked, Revoker};

use crate::authority::{self, Verified, advance};
use crate::class_keys;
use crate::log;
use crate::records::{DeviceRecord, Owner, Seen, exclusively, load, store, update};
use crate::reserved;
use crate::tee::Tee;

/// Takes a delegation or the policy.
#[inline(never)]
pub fn authorise<T: Tee>(tee: &mut T, device: &DeviceRecord, request: &[u8]) -> Result<(), Error> {
    let kind = authority::claimed_kind(request)?;
    let statement = authority::by_owner(tee, device.owner()?, kind, request)?;
    match kind {
        Kind::Publisher => authorise_publisher(tee, &statement),
        Kind::Releaser => authorise_releaser(tee, &statement),
        Kind::Revoker => authorise_revoker(tee, &statement),
        Kind::Policy => set_policy(tee, &statement),
        _ => Err(Error::WrongKind),
    }
}

fn authorise_publisher<T: Tee>(tee: &mut T, statement: &Verified<'_>) -> Result<(), Error> {
    let publisher: Publisher = statement.body()?;
    publisher.uuids.iter().try_for_each(reserved::check)?;
    let key = publisher.key;
    accept(
        tee,
        statement,
        Some(&key),
        |newest| &mut newest.publisher,
        |owner| replace(&mut owner.publishers, Box::new(publisher), |publisher| publisher.key),
    )
}

fn authorise_releaser<T: Tee>(tee: &mut T, statement: &Verified<'_>) -> Result<(), Error> {
    let releaser: Releaser = statement.body()?;
    let key = releaser.key;
    accept(
        tee,
        statement,
        Some(&key),
        |newest| &mut newest.releaser,
        |owner| replace(&mut owner.releasers, Box::new(releaser), |releaser| releaser.key),
    )
}

fn authorise_revoker<T: Tee>(tee: &mut T, statement: &Verified<'_>) -> Result<(), Error> {
    let Revoker { key } = statement.body()?;
    accept(
        tee,
        statement,
        Some(&key),
        |newest| &mut newest.revoker,
        |owner| replace(&mut owner.revokers, key, |key| *key),
    )
}

fn set_policy<T: Tee>(tee: &mut T, statement: &Verified<'_>) -> Result<(), Error> {
    let policy: Policy = statement.body()?;
    policy.legacy.iter().try_for_each(reserved::check)?;
    if usize::from(policy.max_enclaves) > MAX_ENCLAVES {
        return Err(Error::LimitReached);
    }
    accept(
        tee,
        statement,
        None,
        |newest| &mut newest.policy,
        |owner| {
            owner.policy = policy;
            Ok(())
        },
    )
}

/// Changes what the owner said, if it is still the owner that signed and the statement is new.
fn accept<T: Tee>(
    tee: &mut T,
    statement: &Verified<'_>,
    key: Option<&PublicKey>,
    newest: fn(&mut crate::records::Newest) -> &mut Seen,
    change: impl FnOnce(&mut Owner) -> Result<(), Error>,
) -> Result<(), Error> {
    let key = key.map_or(KeyId::default(), PublicKey::id);
    update(tee, |tee, record: &mut DeviceRecord| {
        let owner = still_owner(record, statement)?;
        owner.revoked.check_key(&key)?;
        if advance(newest(&mut owner.newest), statement)? {
            change(owner)?;
            let (kind, sequence) = (statement.kind(), statement.sequence());
            log::accept(tee, [Event::Accepted { kind, sequence, key }])?;
        }
        Ok(())
    })
}

/// Revokes. All floors and keys are in one record, so they come into force together; class keys that are of no more use
/// are erased afterwards.
#[inline(never)]
pub fn revoke<T: Tee>(tee: &mut T, device: &DeviceRecord, request: &[u8]) -> Result<(), Error> {
    let statement = authority::by_revoker(tee, device.owner()?, request)?;
    let revocation: Revocation = statement.body()?;
    exclusively(tee, |tee| {
        let mut device: Box<DeviceRecord> = load(tee)?;
        let owner = still_owner(&mut device, &statement)?;
        if advance(&mut owner.newest.revocation, &statement)? {
            revocation.items.iter().try_for_each(|item| owner.revoke(item))?;
            owner.epoch += 1;
            log::accept(tee, revocation.items.into_iter().map(Event::Revoked))?;
            store(tee, &*device)?;
        }
        class_keys::erase_revoked(tee, &device.owner()?.revoked)
    })
}

/// The owner, if it is the one under whom the statement was verified.
fn still_owner<'a>(record: &'a mut DeviceRecord, statement: &Verified<'_>) -> Result<&'a mut Owner, Error> {
    let owner = record.owner_mut()?;
    if owner.root.id() == statement.root() { Ok(owner) } else { Err(Error::WrongRoot) }
}

impl Owner {
    /// The root itself is replaced, never revoked: nobody would be left to speak for the device.
    fn revoke(&mut self, item: &Revoked) -> Result<(), Error> {
        if let Revoked::Key(id) = item {
            if *id == self.root.id() {
                return Err(Error::NotAuthorised);
            }
            self.publishers.retain(|publisher| publisher.key.id() != *id);
            self.releasers.retain(|releaser| releaser.key.id() != *id);
            self.revokers.retain(|revoker| revoker.id() != *id);
        }
        self.revoked.add(item)
    }
}

/// Replaces the entry of the same key, or adds one.
fn replace<D, const N: usize>(
    list: &mut ArrayVec<D, N>,
    new: D,
    key: fn(&D) -> PublicKey,
) -> Result<(), Error> {
    match list.iter_mut().find(|old| key(old) == key(&new)) {
        Some(old) => *old = new,
        None => list.try_push(new).map_err(|_| Error::LimitReached)?,
    }
    Ok(())
}

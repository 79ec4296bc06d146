//! Class keys: released to exactly this device, once.

use alloc::boxed::Box;

use trustbox_api::Error;
use trustbox_api::limits::MAX_NONCES;
use trustbox_api::log::Event;
use trustbox_api::message::{DestroyKeyRequest, Nonce};
use trustbox_api::statement::KeyBundle;

use crate::authority::{self, Verified};
use crate::log;
use crate::records::{ClassKey, DeviceRecord, KeysRecord, load, store, update};
use crate::revocations::Revocations;
use crate::tee::Tee;

/// Stores a class key.
///
/// Signature, binding and nonce are checked before the device key touches the wrapped bytes:
/// otherwise import would decrypt whatever an attacker sends. A nonce is used up by the key that
/// comes with it, in one write, so a bundle cannot be imported twice. It stays good when the
/// bundle is refused: refusals cost the operator nothing.
#[inline(never)]
pub fn import<T: Tee>(tee: &mut T, device: &DeviceRecord, request: &[u8]) -> Result<(), Error> {
    let owner = device.owner()?;
    let statement = authority::by_releaser(tee, owner, request)?;
    let bundle = checked_bundle(&statement)?;
    authority::may_release(owner, statement.signer(), &bundle.key.name)?;
    owner.revoked.check_class_key(&bundle.key)?;
    update(tee, |tee, record: &mut KeysRecord| {
        let nonce =
            record.nonces.iter().position(|nonce| *nonce == bundle.nonce).ok_or(Error::NonceUnknown)?;
        if record.find(&bundle.key).is_ok() {
            return Err(Error::KeyExists);
        }
        record.keys.retain(|held| owner.revoked.check_class_key(&held.key).is_ok());
        if record.keys.is_full() {
            return Err(Error::LimitReached);
        }
        let secret = tee.unwrap_oaep(bundle.wrapped)?;
        record.nonces.remove(nonce);
        let new = ClassKey { key: bundle.key, secret };
        record.keys.try_push(new).map_err(|_| Error::LimitReached)?;
        log::accept(tee, [Event::KeyImported { key: bundle.key, nonce: log::mark(&bundle.nonce) }])
    })
}

/// Destroys a class key. Linux may ask for it, since it could delete all of storage as well.
#[inline(never)]
pub fn destroy<T: Tee>(tee: &mut T, request: &DestroyKeyRequest) -> Result<(), Error> {
    update(tee, |tee, record: &mut KeysRecord| {
        record.find(&request.key)?;
        record.keys.retain(|held| held.key != request.key);
        log::observe(tee, Event::KeyDestroyed(request.key), 1)
    })
}

/// Erases the class keys that were revoked. Only from within `exclusively`.
pub fn erase_revoked<T: Tee>(tee: &mut T, revoked: &Revocations) -> Result<(), Error> {
    let mut record: Box<KeysRecord> = load(tee)?;
    let before = record.keys.len();
    record.keys.retain(|held| revoked.check_class_key(&held.key).is_ok());
    if record.keys.len() == before { Ok(()) } else { store(tee, &*record) }
}

/// Remembers a nonce; a fifth replaces the oldest, so that lost requests never lock a device out.
pub fn remember_nonce<T: Tee>(tee: &mut T, nonce: Nonce) -> Result<(), Error> {
    let device: Box<DeviceRecord> = load(tee)?;
    device.owner()?;
    update(tee, |_, record: &mut KeysRecord| {
        if record.nonces.len() == MAX_NONCES {
            record.nonces.remove(0);
        }
        record.nonces.try_push(nonce).map_err(|_| Error::Internal)
    })
}

fn checked_bundle<'a>(statement: &Verified<'a>) -> Result<KeyBundle<'a>, Error> {
    let bundle: KeyBundle<'a> = statement.body()?;
    if statement.sequence() != u64::from(bundle.key.version) {
        return Err(Error::BadMessage);
    }
    Ok(bundle)
}

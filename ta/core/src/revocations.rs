//! What was revoked, for ever: floors that only rise, and keys that nobody trusts again (INV-5).

use arrayvec::ArrayVec;
use serde::{Deserialize, Serialize};
use trustbox_api::Error;
use trustbox_api::key::{KeyId, KeyName, KeyRef, Uuid};
use trustbox_api::limits::{MAX_REVOKED_CLASS_KEYS, MAX_REVOKED_ENCLAVES, MAX_REVOKED_KEYS};
use trustbox_api::statement::Revoked;

/// All revocations a device has accepted.
#[derive(Default, Serialize, Deserialize)]
pub struct Revocations {
    keys: ArrayVec<KeyId, MAX_REVOKED_KEYS>,
    enclaves: ArrayVec<(Uuid, u32), MAX_REVOKED_ENCLAVES>,
    class_keys: ArrayVec<(KeyName, u32), MAX_REVOKED_CLASS_KEYS>,
}

impl Revocations {
    /// Adds one.
    pub fn add(&mut self, item: &Revoked) -> Result<(), Error> {
        match *item {
            Revoked::Key(key) if self.keys.contains(&key) => Ok(()),
            Revoked::Key(key) => self.keys.try_push(key).map_err(|_| Error::LimitReached),
            Revoked::Enclave { uuid, floor } => raise(&mut self.enclaves, uuid, floor),
            Revoked::ClassKey { name, floor } => raise(&mut self.class_keys, name, floor),
        }
    }

    /// Refuses a revoked key.
    pub fn check_key(&self, key: &KeyId) -> Result<(), Error> {
        if self.keys.contains(key) { Err(Error::Revoked) } else { Ok(()) }
    }

    /// Refuses a revoked version of an enclave, and whatever a revoked publisher signed.
    pub fn check_enclave(&self, uuid: &Uuid, version: u32, publisher: &KeyId) -> Result<(), Error> {
        self.check_key(publisher)?;
        check_floor(&self.enclaves, uuid, version)
    }

    /// Refuses a revoked version of a class key.
    pub fn check_class_key(&self, key: &KeyRef) -> Result<(), Error> {
        check_floor(&self.class_keys, &key.name, key.version)
    }
}

fn raise<K: PartialEq, const N: usize>(
    floors: &mut ArrayVec<(K, u32), N>,
    key: K,
    floor: u32,
) -> Result<(), Error> {
    match floors.iter_mut().find(|(known, _)| *known == key) {
        Some((_, known)) => *known = floor.max(*known),
        None => floors.try_push((key, floor)).map_err(|_| Error::LimitReached)?,
    }
    Ok(())
}

/// A floor of `u32::MAX` leaves no version: none may be that high.
fn check_floor<K: PartialEq>(floors: &[(K, u32)], key: &K, version: u32) -> Result<(), Error> {
    let revoked = |floor: u32| version < floor || floor == u32::MAX;
    let found = floors.iter().any(|(known, floor)| known == key && revoked(*floor));
    if found { Err(Error::Revoked) } else { Ok(()) }
}

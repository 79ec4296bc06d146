//! `Info` and `DeviceKey`: what anybody may know about the device.

use trustbox_api::Error;
use trustbox_api::message::InfoReply;

use crate::records::{DeviceRecord, KeysRecord, load};
use crate::spki::{self, Spki};
use crate::tee::Tee;

/// State and versions of the device.
pub fn info<T: Tee>(tee: &mut T) -> Result<InfoReply, Error> {
    let platform = tee.platform();
    let record: DeviceRecord = load(tee)?;
    let keys: KeysRecord = load(tee)?;
    Ok(InfoReply {
        device_id: tee.device_id()?,
        lifecycle: record.lifecycle(),
        huk: platform.huk,
        rollback_protection: platform.rollback_protection,
        profile: platform.profile,
        ta_version: platform.ta_version,
        optee_version: platform.optee_version,
        device_key: device_key(tee)?.id(),
        owner_root: record.owner.as_ref().map(|owner| owner.root.id()),
        provisioning_authority: platform.provisioning_authority,
        class_keys: keys.keys.iter().map(|held| held.key.clone()).collect(),
    })
}

/// The device key. It belongs to the device, not to an owner, and is made the first time somebody asks: the factory wants
/// it certified before there is an owner.
pub fn device_key<T: Tee>(tee: &mut T) -> Result<Spki, Error> {
    tee.create_device_key()?;
    spki::encode(&tee.device_public_key()?)
}

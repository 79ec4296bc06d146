//! `Info`: what anybody may know about the device.

use trustbox_api::Error;
use trustbox_api::message::InfoReply;

use crate::records::{DeviceRecord, KeysRecord, load};
use crate::spki;
use crate::tee::Tee;

/// State and versions of the device.
pub fn info<T: Tee>(tee: &mut T) -> Result<InfoReply, Error> {
    let platform = tee.platform();
    let record: DeviceRecord = load(tee)?;
    let keys: KeysRecord = load(tee)?;
    let device_key = match record.owner {
        Some(_) => Some(spki::encode(&tee.device_public_key()?)?.id()),
        None => None,
    };
    Ok(InfoReply {
        device_id: tee.device_id()?,
        lifecycle: record.lifecycle(),
        huk: platform.huk,
        rollback_protection: platform.rollback_protection,
        profile: platform.profile,
        ta_version: platform.ta_version,
        optee_version: platform.optee_version,
        device_key,
        owner_root: record.owner.as_ref().map(|owner| owner.root.id()),
        provisioning_authority: platform.provisioning_authority,
        class_keys: keys.keys.iter().map(|held| held.key.clone()).collect(),
    })
}

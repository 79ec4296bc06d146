//! `Info` and `DeviceKey`: what anybody may know about the device.

use alloc::boxed::Box;

use trustbox_api::Error;
use trustbox_api::command::Lifecycle;
use trustbox_api::message::InfoReply;

use crate::identity;
use crate::records::{DeviceRecord, KeysRecord, load};
use crate::spki::{self, Spki};
use crate::tee::Tee;

/// State and versions of the device.
#[inline(never)]
pub fn info<T: Tee>(tee: &mut T, record: &DeviceRecord) -> Result<InfoReply, Error> {
    let platform = tee.platform();
    let alive = record.lifecycle != Lifecycle::Decommissioned;
    let device_key = if alive { Some(device_key(tee, record)?.id()) } else { None };
    let attestation_key = if alive { Some(tee.attestation_public_key()?) } else { None };
    let keys: Box<KeysRecord> = load(tee)?;
    let owner = record.owner.as_deref();
    Ok(InfoReply {
        device_id: identity::device_id(tee)?,
        lifecycle: record.lifecycle,
        huk: platform.huk,
        rollback_protection: platform.rollback_protection,
        profile: platform.profile,
        ta_version: platform.ta_version,
        optee_version: platform.optee_version,
        device_key,
        attestation_key,
        owner_root: owner.map(|owner| owner.root.id()),
        provisioning_authority: platform.provisioning_authority,
        policy: owner.map(|owner| owner.policy.clone()).unwrap_or_default(),
        epoch: owner.map_or(0, |owner| owner.epoch),
        class_keys: keys.usable(owner).collect(),
        max_image: platform.max_image,
    })
}

/// The device key. It belongs to the device, not to an owner: on a blank device it is made, with the attestation key, the
/// first time somebody asks, since the factory wants both certified before there is an owner. Later a missing key is damage.
pub fn device_key<T: Tee>(tee: &mut T, record: &DeviceRecord) -> Result<Spki, Error> {
    if record.lifecycle == Lifecycle::Blank {
        tee.create_keys()?;
    }
    spki::encode(&tee.device_public_key()?)
}

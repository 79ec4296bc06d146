//! Who the device is: values derived from its hardware unique key.

use sha2::{Digest, Sha256};
use trustbox_api::key::DeviceId;
use trustbox_api::{Bytes, Error};

use crate::tee::Tee;

/// Keeps the identity apart from whatever else is derived.
const DEVICE_ID: &[u8] = b"TrustBox device id\0";

/// Identity of the device; a wiped storage does not change it.
pub fn device_id<T: Tee>(tee: &mut T) -> Result<DeviceId, Error> {
    let key = tee.derive(DEVICE_ID)?;
    Ok(Bytes(Sha256::new().chain_update(DEVICE_ID).chain_update(key.expose()).finalize().into()))
}

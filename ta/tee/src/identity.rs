//! Who calls, according to OP-TEE; never according to a parameter (INV-9).

use optee_utee_sys as sys;
use trustbox_api::key::Uuid;
use trustbox_api::{Bytes, Error};

/// The trusted application that calls, or `None` where the normal world does.
pub fn calling_application() -> Result<Option<Uuid>, Error> {
    let uuid = sys::TEE_UUID { timeLow: 0, timeMid: 0, timeHiAndVersion: 0, clockSeqAndNode: [0; 8] };
    let mut identity = sys::TEE_Identity { login: sys::TEE_LOGIN_PUBLIC, uuid };
    let name = c"gpd.client.identity".as_ptr();
    // SAFETY: the name ends in a zero byte, and `identity` is writable; libutee keeps neither.
    let code =
        unsafe { sys::TEE_GetPropertyAsIdentity(sys::TEE_PROPSET_CURRENT_CLIENT, name, &mut identity) };
    match (code, identity.login) {
        (sys::TEE_SUCCESS, sys::TEE_LOGIN_TRUSTED_APP) => Ok(Some(from_raw(&identity.uuid))),
        (sys::TEE_SUCCESS, _) => Ok(None),
        _ => Err(Error::Internal),
    }
}

/// A UUID as libutee wants it.
pub(crate) fn to_raw(uuid: &Uuid) -> sys::TEE_UUID {
    let [a, b, c, d, e, f, g, h, rest @ ..] = uuid.0.0;
    sys::TEE_UUID {
        timeLow: u32::from_be_bytes([a, b, c, d]),
        timeMid: u16::from_be_bytes([e, f]),
        timeHiAndVersion: u16::from_be_bytes([g, h]),
        clockSeqAndNode: rest,
    }
}

fn from_raw(uuid: &sys::TEE_UUID) -> Uuid {
    let [a, b, c, d] = uuid.timeLow.to_be_bytes();
    let [e, f] = uuid.timeMid.to_be_bytes();
    let [g, h] = uuid.timeHiAndVersion.to_be_bytes();
    let [i, j, k, l, m, n, o, p] = uuid.clockSeqAndNode;
    Uuid(Bytes([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]))
}

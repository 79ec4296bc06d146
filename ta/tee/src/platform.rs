//! What the firmware is, and the keys it derives for this TA.

use optee_utee_sys as sys;
use trustbox_api::key::{KeyId, Uuid};
use trustbox_api::message::{Huk, Profile, RollbackProtection, Version};
use trustbox_api::{Bytes, Error, Secret};
use trustbox_core::Platform;

use crate::mapping::Mapping;
use crate::parameters::{Parameter, Parameters};
use crate::session::TaSession;

include!(concat!(env!("OUT_DIR"), "/facts.rs"));

/// The system pseudo-TA, 3a2f8978-5dc0-11e8-9c2d-fa7ae01bbebc.
const SYSTEM: Uuid = Uuid(Bytes([
    0x3a, 0x2f, 0x89, 0x78, 0x5d, 0xc0, 0x11, 0xe8, 0x9c, 0x2d, 0xfa, 0x7a, 0xe0, 0x1b, 0xbe, 0xbc,
]));
/// `PTA_SYSTEM_DERIVE_TA_UNIQUE_KEY`.
const DERIVE_KEY: u32 = 1;

/// What the firmware says of itself.
pub fn platform() -> Platform {
    Platform {
        huk: huk(),
        rollback_protection: ROLLBACK_PROTECTION,
        profile: PROFILE,
        optee_version: optee_version(),
        ta_version: version(env!("CARGO_PKG_VERSION").as_bytes()),
        board: BOARD,
        provisioning_authority: PROVISIONING_AUTHORITY,
        max_image: MAX_IMAGE,
    }
}

/// A key that OP-TEE derives from the hardware unique key for this TA alone.
pub fn derive(purpose: &[u8]) -> Result<Secret<32>, Error> {
    let mut context = Mapping::new(purpose.len())?;
    context.copy_from_slice(purpose);
    let mut key = Mapping::new(32)?;
    let parameters =
        [Parameter::input(&context), Parameter::output(&mut key), Parameter::None, Parameter::None];
    let mut system = TaSession::open(&SYSTEM, &Parameters::NONE).map_err(|_| Error::Internal)?;
    system.invoke(DERIVE_KEY, &mut Parameters(parameters)).map_err(|_| Error::Internal)?;
    let mut derived = Secret::zero();
    derived.expose_mut().copy_from_slice(&key);
    Ok(derived)
}

/// What the hardware unique key is worth, as our OP-TEE finds it now; a stub where OP-TEE does not say.
fn huk() -> Huk {
    let name = c"org.trustbox.huk".as_ptr();
    let mut state = 0;
    // SAFETY: the name ends in a zero byte, `state` is writable; libutee keeps neither.
    let code = unsafe { sys::TEE_GetPropertyAsU32(sys::TEE_PROPSET_TEE_IMPLEMENTATION, name, &mut state) };
    match (code, state) {
        (sys::TEE_SUCCESS, 1) => Huk::TestKey,
        (sys::TEE_SUCCESS, 2) => Huk::Unique,
        _ => Huk::Stub,
    }
}

/// 0.0.0 where OP-TEE does not say. Built outside a release it calls itself `Unknown_4.10`, or a commit without a dot.
fn optee_version() -> Version {
    let name = c"gpd.tee.trustedos.implementation.version".as_ptr();
    let mut text = [0; 32];
    let mut size = text.len();
    // SAFETY: the name ends in a zero byte, `text` is writable for `size` bytes; libutee keeps neither.
    let code = unsafe {
        sys::TEE_GetPropertyAsString(
            sys::TEE_PROPSET_TEE_IMPLEMENTATION,
            name,
            text.as_mut_ptr().cast(),
            &mut size,
        )
    };
    let text = text.strip_prefix(b"Unknown_").unwrap_or(&text);
    if code == sys::TEE_SUCCESS { version(text) } else { version(&[]) }
}

/// The numbers at the front of a text such as `4.10.0-dev`; 0.0.0 where there are not at least two.
fn version(text: &[u8]) -> Version {
    let end = text.iter().position(|byte| !matches!(byte, b'0'..=b'9' | b'.')).unwrap_or(text.len());
    let digit = |number: u16, byte: &u8| number.saturating_mul(10).saturating_add(u16::from(byte - b'0'));
    let numbers = text.get(..end).unwrap_or_default().split(|byte| *byte == b'.');
    let mut numbers = numbers.map(|digits| digits.iter().fold(0, digit));
    match (numbers.next(), numbers.next(), numbers.next()) {
        (Some(major), Some(minor), patch) => Version(major, minor, patch.unwrap_or(0)),
        _ => Version(0, 0, 0),
    }
}

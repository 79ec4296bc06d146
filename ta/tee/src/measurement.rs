//! What runs, measured by OP-TEE: the attestation pseudo-TA with the commands that our patch adds.

use trustbox_api::key::Uuid;
use trustbox_api::{Bytes, Error};

use crate::mapping::Mapping;
use crate::parameters::{Parameter, Parameters};
use crate::session::TaSession;

/// 39800861-182a-4720-9b67-2bcd622bc0b5.
const ATTESTATION: Uuid = Uuid(Bytes([
    0x39, 0x80, 0x08, 0x61, 0x18, 0x2a, 0x47, 0x20, 0x9b, 0x67, 0x2b, 0xcd, 0x62, 0x2b, 0xc0, 0xb5,
]));
/// `PTA_ATTESTATION_MEASURE_TA_MEMORY`, of whoever calls.
const MEASURE_TA: u32 = 4;
/// `PTA_ATTESTATION_MEASURE_TEE_MEMORY`.
const MEASURE_TEE: u32 = 5;

/// SHA-256 of code and constants of OP-TEE's core, and of this TA.
pub fn measure() -> Result<(Bytes<32>, Bytes<32>), Error> {
    let mut attestation = TaSession::open(&ATTESTATION, &Parameters::NONE).map_err(|_| Error::Internal)?;
    let mut measured = |command| {
        let mut digest = Mapping::new(32)?;
        let parameters = [Parameter::output(&mut digest), Parameter::None, Parameter::None, Parameter::None];
        attestation.invoke(command, &mut Parameters(parameters)).map_err(|_| Error::Internal)?;
        Bytes::from_slice(&digest).ok_or(Error::Internal)
    };
    Ok((measured(MEASURE_TEE)?, measured(MEASURE_TA)?))
}

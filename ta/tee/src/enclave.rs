//! Sessions from the TrustBox TA to enclaves.

use optee_utee_sys as sys;
use trustbox_api::key::Uuid;
use trustbox_api::launch::{Launch, MAX_LAUNCH};
use trustbox_api::{Error, wire};

use crate::mapping::Mapping;
use crate::parameters::{Parameter, Parameters};
use crate::session::{Failure, TaSession};
use crate::status::Status;

/// A launched enclave; its session closes when this is dropped.
pub struct Enclave(TaSession);

impl Enclave {
    /// Opens a session and hands `launch` over in memory that is wiped afterwards.
    pub fn open(uuid: &Uuid, launch: &Launch) -> Result<Self, Error> {
        let mut memory = Mapping::new(MAX_LAUNCH)?;
        wire::encode(launch, &mut memory)?;
        let parameters = [Parameter::input(&memory), Parameter::None, Parameter::None, Parameter::None];
        TaSession::open(uuid, &Parameters(parameters)).map(Self).map_err(refusal)
    }

    /// Forwards a call; after `limit` milliseconds, if that is not 0, the enclave is asked to stop. Its own numbers pass,
    /// except those that only the TrustBox TA returns.
    pub fn invoke(
        &mut self,
        command: u32,
        limit: u32,
        parameters: &mut Parameters<'_>,
    ) -> Result<(), Status> {
        let limit = if limit == 0 { sys::TEE_TIMEOUT_INFINITE } else { limit };
        self.0.invoke_within(command, limit, parameters).map_err(|failure| match failure {
            Failure { code, from_callee: true } if !Error::is_ours(code) => Status(code),
            Failure { code: sys::TEE_ERROR_BAD_PARAMETERS, from_callee: false } => {
                Error::BadParameters.into()
            }
            failure => refusal(failure).into(),
        })
    }
}

fn refusal(failure: Failure) -> Error {
    match (failure.code, failure.from_callee) {
        (_, true) => Error::EnclaveRefused,
        (sys::TEE_ERROR_TARGET_DEAD, _) => Error::EnclavePanicked,
        (sys::TEE_ERROR_ITEM_NOT_FOUND, _) => Error::NotInstalled,
        (sys::TEE_ERROR_OUT_OF_MEMORY, _) => Error::OutOfMemory,
        (sys::TEE_ERROR_BUSY, _) => Error::Busy,
        _ => Error::EnclaveRefused,
    }
}

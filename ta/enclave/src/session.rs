//! The session that the TrustBox TA opens to an enclave.

use alloc::vec;
use alloc::vec::Vec;

use trustbox_api::launch::{Launch, MAX_LAUNCH};
use trustbox_api::{Error, TRUSTBOX_UUID, wire};
use trustbox_tee::cancellation;
use trustbox_tee::entry::Application;
use trustbox_tee::identity::calling_application;
use trustbox_tee::parameters::Direction::{Input, Output};
use trustbox_tee::parameters::Parameter::{Memory, None};
use trustbox_tee::parameters::{Claim, Parameters};
use trustbox_tee::status::Status;

use crate::{Enclave, EnclaveError, Launched, Reply, Sealed, TrustBox};

/// Where the reply goes.
const REPLY: usize = 1;

/// What [`crate::enclave!`] makes entry points for.
pub struct Session<E> {
    enclave: E,
    request: Vec<u8>,
    reply: Reply,
}

impl<E: Enclave> Application for Session<E> {
    fn open(parameters: &mut Parameters<'_>) -> Result<Self, Status> {
        if calling_application().map_err(|_| Status::ACCESS_DENIED)? != Some(TRUSTBOX_UUID) {
            return Err(Status::ACCESS_DENIED);
        }
        cancellation::unmask();
        let [Memory(Input, launch), None, None, None] = parameters.0 else {
            return Err(Status::BAD_PARAMETERS);
        };
        let enclave = E::launch(launched(launch).map_err(|_| Status::BAD_PARAMETERS)?).map_err(status)?;
        Ok(Self { enclave, request: vec![0; E::MAX_REQUEST], reply: Reply::new(E::MAX_REPLY) })
    }

    fn invoke(&mut self, command: u32, parameters: &mut Parameters<'_>) -> Result<(), Status> {
        // OP-TEE masks cancellations again at the end of every call.
        cancellation::unmask();
        let [Memory(Input, request), Memory(Output, _), None, None] = parameters.0 else {
            return Err(Status::BAD_PARAMETERS);
        };
        let result = self.call(command, request);
        let reply = if result.is_ok() { self.reply.as_bytes() } else { &[] };
        parameters.reply(REPLY, Ok(reply)).map_err(|_| Status::SHORT_BUFFER)?;
        result
    }
}

impl<E: Enclave> Session<E> {
    fn call(&mut self, command: u32, request: Claim<'_>) -> Result<(), Status> {
        let request = request.copy_in(&mut self.request).map_err(|_| Status::EXCESS_DATA)?;
        self.reply.clear();
        self.enclave.call(command, request, &mut self.reply).map_err(status)
    }
}

fn status(error: EnclaveError) -> Status {
    Status(error.code())
}

/// The launch, decoded from one private copy that is wiped again.
fn launched(claim: Claim<'_>) -> Result<Launched, Error> {
    let mut copy = trustbox_api::Secret::<MAX_LAUNCH>::zero();
    let (launch, _): (Launch, _) = wire::decode_prefix(claim.copy_in(copy.expose_mut())?)?;
    let Launch { sealing_key, uuid, ticket } = launch;
    let storage = Sealed::new(uuid, sealing_key);
    Ok(Launched { identity: ticket.identity, storage, trustbox: TrustBox::new(ticket) })
}

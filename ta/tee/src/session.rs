//! Sessions to other trusted applications and pseudo-TAs.
//!
//! `TEE_InvokeTACommand` panics the calling TA on an error whose origin is the TEE, other than
//! out of memory and target dead (tee_api.c). What can cause one, and why it does not happen here:
//!
//! | cause | excluded by |
//! | --- | --- |
//! | a null pointer with a size | [`Parameters`] cannot hold one |
//! | an output that overlaps an input | checked before every call |
//! | memory that is not mapped, or private | parameters are made from OP-TEE's own and from `Mapping` only |
//! | a session that is not open | [`TaSession`] is the only owner of its handle |
//! | secure data path memory | OP-TEE refuses it at the entry of a TA without that flag |
//!
//! `TEE_OpenTASession` panics on an overlap only.

use core::ptr;

use optee_utee_sys as sys;
use trustbox_api::key::Uuid;

use crate::identity;
use crate::mapping::Mapping;
use crate::parameters::{Claim, Direction, Parameter, Parameters};

/// Why a call failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The `TEE_Result`.
    pub code: u32,
    /// Whether the other side itself returned it; otherwise the TEE did.
    pub from_callee: bool,
}

impl Failure {
    const OUT_OF_MEMORY: Self = Self { code: sys::TEE_ERROR_OUT_OF_MEMORY, from_callee: false };
}

/// A session, closed when dropped.
pub struct TaSession(sys::TEE_TASessionHandle);

impl TaSession {
    /// Opens a session to the trusted application `uuid`.
    pub fn open(uuid: &Uuid, parameters: &Parameters<'_>) -> Result<Self, Failure> {
        let uuid = identity::to_raw(uuid);
        let mut handle = ptr::null_mut();
        call(parameters, |types, raw, origin| {
            // SAFETY: all pointers are to live locals. The memory that `raw` names is mapped as long as `parameters`
            // lives, and whoever is called cannot keep it.
            unsafe {
                sys::TEE_OpenTASession(&uuid, sys::TEE_TIMEOUT_INFINITE, types, raw, &mut handle, origin)
            }
        })
        .1?;
        Ok(Self(handle))
    }

    /// Invokes a command; outputs and sizes come back in `parameters`, also where the callee fails.
    pub fn invoke(&mut self, command: u32, parameters: &mut Parameters<'_>) -> Result<(), Failure> {
        self.invoke_within(command, sys::TEE_TIMEOUT_INFINITE, parameters)
    }

    /// As [`TaSession::invoke`]; after `limit` milliseconds the callee is asked to stop: see [`crate::cancellation`].
    /// `TEE_TIMEOUT_INFINITE` is no limit.
    pub fn invoke_within(
        &mut self,
        command: u32,
        limit: u32,
        parameters: &mut Parameters<'_>,
    ) -> Result<(), Failure> {
        let (raw, result) = call(parameters, |types, raw, origin| {
            // SAFETY: as in `open`; the session is open as long as `self` lives.
            unsafe { sys::TEE_InvokeTACommand(self.0, limit, command, types, raw, origin) }
        });
        if result.map_or_else(|failure| failure.from_callee, |()| true) {
            parameters.take_outputs(&raw);
        }
        result
    }

    /// Invokes a command that takes a request and gives a reply, through memory that other trusted applications may see.
    /// The reply is as long as the callee says, `room` at most.
    pub fn exchange(&mut self, command: u32, request: &[u8], room: usize) -> Result<Mapping, Failure> {
        let request = mapped(request)?;
        let mut reply = Mapping::new(room).map_err(|_| Failure::OUT_OF_MEMORY)?;
        let nothing = Parameter::Memory(Direction::Input, Claim::EMPTY);
        let input = request.as_ref().map_or(nothing, Parameter::input);
        let parameters = [input, Parameter::output(&mut reply), Parameter::None, Parameter::None];
        let mut parameters = Parameters(parameters);
        self.invoke(command, &mut parameters)?;
        let [_, Parameter::Memory(_, written), ..] = parameters.0 else { return Ok(reply) };
        let written = written.size();
        reply.shorten(written);
        Ok(reply)
    }
}

impl Drop for TaSession {
    fn drop(&mut self) {
        // SAFETY: the handle came from a successful open and is closed here only.
        unsafe { sys::TEE_CloseTASession(self.0) }
    }
}

/// A copy that may cross to another trusted application; there is no mapping of no bytes.
fn mapped(bytes: &[u8]) -> Result<Option<Mapping>, Failure> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let mut mapping = Mapping::new(bytes.len()).map_err(|_| Failure::OUT_OF_MEMORY)?;
    mapping.copy_from_slice(bytes);
    Ok(Some(mapping))
}

type Call = ([sys::TEE_Param; 4], Result<(), Failure>);

fn call(parameters: &Parameters<'_>, f: impl FnOnce(u32, *mut sys::TEE_Param, *mut u32) -> u32) -> Call {
    let (types, mut raw) = parameters.raw();
    if parameters.outputs_overlap_inputs() {
        return (raw, Err(Failure { code: sys::TEE_ERROR_BAD_PARAMETERS, from_callee: false }));
    }
    let mut origin = sys::TEE_ORIGIN_TEE;
    let code = f(types, raw.as_mut_ptr(), &mut origin);
    let result = match code {
        sys::TEE_SUCCESS => Ok(()),
        code => Err(Failure { code, from_callee: origin == sys::TEE_ORIGIN_TRUSTED_APP }),
    };
    (raw, result)
}

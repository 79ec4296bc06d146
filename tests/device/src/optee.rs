//! The suite's view of a device with OP-TEE, through libteec.
//!
//! It goes around the client library on purpose: root in Linux is not bound to use it.

use std::cell::RefCell;
use std::path::Path;

use optee_teec::{
    Context, Operation, Param, ParamNone, ParamTmpRef, ParamType, ParamValue, Session, Uuid, raw,
};
use trustbox_api::TRUSTBOX_UUID;

use crate::target::{Code, Connector, Link, RawParam, SecureMemory, Target};

/// Where tee-supplicant keeps the files of secure storage.
const STORAGE: &str = "/var/lib/tee";

/// OP-TEE's statistics pseudo-TA, its command and the two pools of secure memory (`pta_stats.h`).
const STATS: &str = "d96a5b40-e2c7-b1af-8794-1002a5d5c61b";
const ALLOC_STATS: u32 = 1;
const HEAP_POOL: u32 = 1;
const TA_POOL: u32 = 3;

/// The pseudo-TA that installs trusted applications, and its command.
const SECSTOR: &str = "6e256cba-fc4d-4941-ad09-2ca1860342dd";
const BOOTSTRAP: u32 = 0;

/// OP-TEE under Linux.
pub struct Optee(RefCell<Context>);

struct OpteeLink(Session);

impl Optee {
    /// Connects to the TEE driver.
    pub fn new() -> Result<Self, String> {
        Context::new().map(|context| Self(RefCell::new(context))).map_err(|error| format!("no TEE: {error}"))
    }

    /// Installs a signed image as `xtest --install-ta` does, where OP-TEE lets Linux do that.
    pub fn install_directly(&self, image: &[u8]) -> Result<(), Code> {
        let image = ParamTmpRef::new_input(image);
        let mut operation = Operation::new(0, image, ParamNone, ParamNone, ParamNone);
        self.open(SECSTOR)?.invoke_command(BOOTSTRAP, &mut operation).map_err(code)
    }

    /// Opens a session to any TA that takes calls of the shape of TrustBox's.
    pub fn connect_directly(&self, uuid: &str) -> Result<Box<dyn Link + '_>, Code> {
        Ok(Box::new(OpteeLink(self.open(uuid)?)))
    }

    fn open(&self, uuid: &str) -> Result<Session, Code> {
        let uuid = Uuid::parse_str(uuid).map_err(|_| Code(0xffff_0006))?;
        self.0.borrow_mut().open_session(uuid).map_err(code)
    }
}

impl Target for Optee {
    fn connect(&self) -> Result<Box<dyn Link + '_>, Code> {
        Ok(Box::new(OpteeLink(self.open(&TRUSTBOX_UUID.to_string())?)))
    }

    fn connect_to(&self, uuid: &str) -> Option<Result<(), Code>> {
        Some(self.open(uuid).map(drop))
    }

    fn link_to(&self, uuid: &str) -> Option<Result<Box<dyn Link + '_>, Code>> {
        Some(self.open(uuid).map(|session| Box::new(OpteeLink(session)) as Box<dyn Link>))
    }

    fn connector(&self) -> Option<Connector> {
        Some(Box::new(|| match Self::new() {
            Ok(target) => Ok(Box::new(target)),
            Err(_) => Err(Code::NOT_FOUND),
        }))
    }

    fn secure_memory(&self, reset: bool) -> Option<SecureMemory> {
        let mut session = self.open(STATS).ok()?;
        let pools = [HEAP_POOL, TA_POOL].map(|pool| pool_statistics(&mut session, pool, reset));
        let [heap, applications] = [pools[0]?, pools[1]?];
        Some(SecureMemory {
            allocated: heap.allocated + applications.allocated,
            peak: heap.peak + applications.peak,
        })
    }

    fn storage(&self) -> Option<&Path> {
        Some(Path::new(STORAGE))
    }
}

impl Link for OpteeLink {
    fn call(
        &mut self,
        command: u32,
        request: &[u8],
        data: Option<&[u8]>,
        capacity: usize,
    ) -> Result<Vec<u8>, Code> {
        let mut reply = vec![0; capacity];
        let input = ParamTmpRef::new_input(request);
        let output = ParamTmpRef::new_output(&mut reply);
        let used = match data {
            Some(data) => {
                let mut operation = Operation::new(0, input, output, ParamTmpRef::new_input(data), ParamNone);
                self.0.invoke_command(command, &mut operation).map_err(code)?;
                operation.parameters().1.updated_size()
            }
            None => {
                let mut operation = Operation::new(0, input, output, ParamNone, ParamNone);
                self.0.invoke_command(command, &mut operation).map_err(code)?;
                operation.parameters().1.updated_size()
            }
        };
        reply.truncate(used);
        Ok(reply)
    }

    fn raw(&mut self, command: u32, params: [RawParam; 4]) -> Option<Result<(), Code>> {
        let [a, b, c, d] = params.map(Unchecked::new);
        let (mut a, mut b, mut c, mut d) = (a, b, c, d);
        let mut operation = Operation::new(0, &mut a, &mut b, &mut c, &mut d);
        Some(self.0.invoke_command(command, &mut operation).map_err(code))
    }

    fn invoke_within(
        &mut self,
        limit: u32,
        command: u32,
        request: &[u8],
        capacity: usize,
    ) -> Option<Result<Vec<u8>, Code>> {
        let mut reply = vec![0; capacity];
        let mut operation = Operation::new(
            0,
            ParamValue::new(command, limit, ParamType::ValueInput),
            ParamTmpRef::new_input(request),
            ParamTmpRef::new_output(&mut reply),
            ParamNone,
        );
        let result = self.0.invoke_command(trustbox_api::Command::InvokeEnclave as u32, &mut operation);
        let used = operation.parameters().2.updated_size();
        Some(result.map_err(code).map(|()| {
            reply.truncate(used);
            reply
        }))
    }
}

/// One pool of `STATS_CMD_ALLOC_STATS`: after a description of 32 bytes and a sum of 8, the bytes allocated and their maximum.
fn pool_statistics(session: &mut Session, pool: u32, reset: bool) -> Option<SecureMemory> {
    let mut out = [0; 64];
    let mut operation = Operation::new(
        0,
        ParamValue::new(pool, reset.into(), ParamType::ValueInput),
        ParamTmpRef::new_output(&mut out),
        ParamNone,
        ParamNone,
    );
    session.invoke_command(ALLOC_STATS, &mut operation).ok()?;
    let number = |at: usize| Some(u64::from(u32::from_le_bytes(out.get(at..at + 4)?.try_into().ok()?)));
    Some(SecureMemory { allocated: number(40)?, peak: number(44)? })
}

/// A parameter that is passed on as it stands.
struct Unchecked(RawParam, Vec<u8>);

impl Unchecked {
    fn new(param: RawParam) -> Self {
        let memory = match &param {
            RawParam::Input(bytes) | RawParam::Inout(bytes) => bytes.clone(),
            RawParam::Output(size) => vec![0; *size],
            _ => Vec::new(),
        };
        Self(param, memory)
    }
}

impl Param for &mut Unchecked {
    fn to_raw(&mut self) -> raw::TEEC_Parameter {
        let value = |a, b| raw::TEEC_Parameter { value: raw::TEEC_Value { a, b } };
        let memory = |buffer: *mut u8, size| raw::TEEC_Parameter {
            tmpref: raw::TEEC_TempMemoryReference { buffer: buffer.cast(), size },
        };
        match self.0 {
            RawParam::None | RawParam::ValueOutput => value(0, 0),
            RawParam::ValueInput(a, b) | RawParam::ValueInout(a, b) => value(a, b),
            RawParam::Input(_) | RawParam::Output(_) | RawParam::Inout(_) => {
                memory(self.1.as_mut_ptr(), self.1.len())
            }
            RawParam::NullInput(size) | RawParam::NullOutput(size) => memory(std::ptr::null_mut(), size),
        }
    }

    fn from_raw(_: raw::TEEC_Parameter, _: ParamType) -> Self {
        unreachable!("results of raw calls are not read")
    }

    fn param_type(&self) -> ParamType {
        match self.0 {
            RawParam::None => ParamType::None,
            RawParam::ValueInput(..) => ParamType::ValueInput,
            RawParam::ValueOutput => ParamType::ValueOutput,
            RawParam::ValueInout(..) => ParamType::ValueInout,
            RawParam::Input(_) | RawParam::NullInput(_) => ParamType::MemrefTempInput,
            RawParam::Output(_) | RawParam::NullOutput(_) => ParamType::MemrefTempOutput,
            RawParam::Inout(_) => ParamType::MemrefTempInout,
        }
    }
}

fn code(error: optee_teec::Error) -> Code {
    Code(error.raw_code())
}

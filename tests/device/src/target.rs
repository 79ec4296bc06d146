//! What a case talks to: a device that opens sessions, and a session that takes calls.

use std::path::Path;

use trustbox_api::Error;

/// A `TEE_Result` that is not success.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Code(pub u32);

impl Code {
    /// GlobalPlatform's `TEE_ERROR_ACCESS_DENIED`.
    pub const ACCESS_DENIED: Self = Self(0xffff_0001);
    /// GlobalPlatform's `TEE_ERROR_TARGET_DEAD`: the TA panicked.
    pub const TARGET_DEAD: Self = Self(0xffff_3024);
    /// GlobalPlatform's `TEE_ERROR_ITEM_NOT_FOUND`.
    pub const NOT_FOUND: Self = Self(0xffff_0008);
}

impl From<Error> for Code {
    fn from(error: Error) -> Self {
        Self(error.code())
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "unexpected refusal: {self:?}")
    }
}

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match Error::from_code(self.0) {
            Some(error) => write!(f, "{} ({})", error.name(), error as u32),
            None => write!(f, "{:#010x}", self.0),
        }
    }
}

/// One parameter of a call, as hostile as the client API allows.
#[derive(Clone, Debug)]
pub enum RawParam {
    /// `TEEC_NONE`.
    None,
    /// `TEEC_VALUE_INPUT`.
    ValueInput(u32, u32),
    /// `TEEC_VALUE_OUTPUT`.
    ValueOutput,
    /// `TEEC_VALUE_INOUT`.
    ValueInout(u32, u32),
    /// `TEEC_MEMREF_TEMP_INPUT`.
    Input(Vec<u8>),
    /// `TEEC_MEMREF_TEMP_OUTPUT` of that many bytes.
    Output(usize),
    /// `TEEC_MEMREF_TEMP_INOUT`.
    Inout(Vec<u8>),
    /// A null buffer with that size, as input.
    NullInput(usize),
    /// A null buffer with that size, as output.
    NullOutput(usize),
}

/// Secure memory, OP-TEE's heap and the memory of TAs together, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct SecureMemory {
    /// In use.
    pub allocated: u64,
    /// In use at most since the last reset; an upper bound, since the two have their maxima at different times.
    pub peak: u64,
}

/// Connects a thread to a device.
pub type Connector = Box<dyn Fn() -> Result<Box<dyn Target>, Code> + Send>;

/// A device.
pub trait Target {
    /// Opens a session to the TrustBox TA.
    fn connect(&self) -> Result<Box<dyn Link + '_>, Code>;

    /// Opens a session to any other TA or pseudo-TA; `None` where there is no OP-TEE.
    fn connect_to(&self, uuid: &str) -> Option<Result<(), Code>>;

    /// As [`Target::connect_to`], and keeps the session; `None` where there is no OP-TEE.
    fn link_to(&self, _uuid: &str) -> Option<Result<Box<dyn Link + '_>, Code>> {
        None
    }

    /// A way for another thread to the same device; `None` where there is none.
    fn connector(&self) -> Option<Connector>;

    /// Secure memory in use; `reset` starts a new peak. `None` where firmware keeps no statistics.
    fn secure_memory(&self, reset: bool) -> Option<SecureMemory>;

    /// The folder with the files of secure storage, which belong to Linux; `None` where there are none.
    fn storage(&self) -> Option<&Path>;
}

/// A session to the TrustBox TA; closed when dropped.
pub trait Link {
    /// A command of shape `Message` or `MessageWithData`, with room for `capacity` bytes of reply.
    fn call(
        &mut self,
        command: u32,
        request: &[u8],
        data: Option<&[u8]>,
        capacity: usize,
    ) -> Result<Vec<u8>, Code>;

    /// A call with any parameters; `None` where there is no OP-TEE.
    fn raw(&mut self, command: u32, params: [RawParam; 4]) -> Option<Result<(), Code>>;

    /// Calls the open enclave, which is asked to stop after `limit` milliseconds if that is not 0; `None` where enclaves
    /// do not run.
    fn invoke_within(
        &mut self,
        limit: u32,
        command: u32,
        request: &[u8],
        capacity: usize,
    ) -> Option<Result<Vec<u8>, Code>>;

    /// As [`Link::invoke_within`], without a limit.
    fn invoke(&mut self, command: u32, request: &[u8], capacity: usize) -> Option<Result<Vec<u8>, Code>> {
        self.invoke_within(0, command, request, capacity)
    }
}

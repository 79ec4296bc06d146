//! The session as libteec carries it: raw parameters in the shapes of the command table.

use optee_teec::{Context, Operation, ParamNone, ParamTmpRef, ParamType, ParamValue, Session, Uuid};
use trustbox_api::{Command, TRUSTBOX_UUID};

use crate::{Error, Result};

/// An open session; closes when dropped.
pub(crate) struct Link(Session);

impl Link {
    pub(crate) fn open() -> Result<Self> {
        let mut context = Context::new().map_err(|error| Error::NoTee { code: error.raw_code() })?;
        let session = context.open_session(Uuid::from_bytes(TRUSTBOX_UUID.0.0));
        session.map(Self).map_err(|error| Error::of_open(&error))
    }

    /// Shape `Message`; returns the size of the reply.
    pub(crate) fn message(&mut self, command: Command, request: &[u8], reply: &mut [u8]) -> Result<usize> {
        let (request, reply) = (ParamTmpRef::new_input(request), ParamTmpRef::new_output(reply));
        let mut operation = Operation::new(0, request, reply, ParamNone, ParamNone);
        let result = self.0.invoke_command(command as u32, &mut operation);
        result.map_err(|error| Error::of_command(&error))?;
        Ok(operation.parameters().1.updated_size())
    }

    /// Shape `MessageWithData`, without a reply.
    pub(crate) fn message_with_data(&mut self, command: Command, request: &[u8], data: &[u8]) -> Result<()> {
        let (request, data) = (ParamTmpRef::new_input(request), ParamTmpRef::new_input(data));
        let mut operation = Operation::new(0, request, ParamTmpRef::new_output(&mut []), data, ParamNone);
        let result = self.0.invoke_command(command as u32, &mut operation);
        result.map_err(|error| Error::of_command(&error))
    }

    /// Shape `Forward`, `value` the enclave's command and the time limit; returns the size of the reply.
    pub(crate) fn forward(&mut self, value: (u32, u32), input: &[u8], reply: &mut [u8]) -> Result<usize> {
        let capacity = reply.len();
        let value = ParamValue::new(value.0, value.1, ParamType::ValueInput);
        let (input, reply) = (ParamTmpRef::new_input(input), ParamTmpRef::new_output(reply));
        let mut operation = Operation::new(0, value, input, reply, ParamNone);
        let result = self.0.invoke_command(Command::InvokeEnclave as u32, &mut operation);
        let used = operation.parameters().2.updated_size();
        result.map(|()| used).map_err(|error| Error::of_enclave(&error, used, capacity))
    }
}

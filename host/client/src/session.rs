//! One session to the TA: requests out, replies in, as the shapes of the command table say.

use optee_teec as teec;
use optee_teec::{Operation, ParamNone, ParamTmpRef, ParamType, ParamValue};
use serde::Serialize;
use serde::de::DeserializeOwned;
use trustbox_api::limits::{MAX_REPLY, MAX_REQUEST};
use trustbox_api::{Command, TRUSTBOX_UUID, wire};

use crate::{Error, Result};

/// A session; closes when dropped.
pub(crate) struct Session(teec::Session);

impl Session {
    pub(crate) fn open() -> Result<Self> {
        let mut context = teec::Context::new().map_err(|error| Error::NoTee { code: error.raw_code() })?;
        let uuid = teec::Uuid::from_bytes(TRUSTBOX_UUID.0.0);
        context.open_session(uuid).map(Self).map_err(|error| Error::of_open(&error))
    }

    /// A command whose reply is a message.
    pub(crate) fn ask<R: DeserializeOwned>(&mut self, command: Command, request: &[u8]) -> Result<R> {
        let reply = self.call(command, request)?;
        wire::decode(&reply).map_err(|_| Error::BadReply { command })
    }

    /// A command without a reply.
    pub(crate) fn tell(&mut self, command: Command, request: &[u8]) -> Result<()> {
        self.call(command, request).map(drop)
    }

    /// A command of shape `Message`.
    pub(crate) fn call(&mut self, command: Command, request: &[u8]) -> Result<Vec<u8>> {
        let mut reply = vec![0; MAX_REPLY];
        let (request, output) = (ParamTmpRef::new_input(request), ParamTmpRef::new_output(&mut reply));
        let mut operation = Operation::new(0, request, output, ParamNone, ParamNone);
        let result = self.0.invoke_command(command as u32, &mut operation);
        let used = operation.parameters().1.updated_size();
        result.map_err(|error| Error::of_command(&error))?;
        cut(reply, used, command)
    }

    /// A command of shape `MessageWithData`, without a reply.
    pub(crate) fn send(&mut self, command: Command, request: &[u8], data: &[u8]) -> Result<()> {
        let mut reply = [];
        let (request, output) = (ParamTmpRef::new_input(request), ParamTmpRef::new_output(&mut reply));
        let mut operation = Operation::new(0, request, output, ParamTmpRef::new_input(data), ParamNone);
        let result = self.0.invoke_command(command as u32, &mut operation);
        result.map_err(|error| Error::of_command(&error))
    }

    /// A call of the launched enclave, shape `Forward`.
    pub(crate) fn forward(&mut self, number: u32, input: &[u8], capacity: usize) -> Result<Vec<u8>> {
        let mut reply = vec![0; capacity];
        let number = ParamValue::new(number, 0, ParamType::ValueInput);
        let (input, output) = (ParamTmpRef::new_input(input), ParamTmpRef::new_output(&mut reply));
        let mut operation = Operation::new(0, number, input, output, ParamNone);
        let result = self.0.invoke_command(Command::InvokeEnclave as u32, &mut operation);
        let used = operation.parameters().2.updated_size();
        result.map_err(|error| Error::of_enclave(&error, used, capacity))?;
        cut(reply, used, Command::InvokeEnclave)
    }
}

/// A request as bytes.
pub(crate) fn encoded<M: Serialize>(message: &M) -> Result<Vec<u8>> {
    let mut buffer = [0; MAX_REQUEST];
    Ok(wire::encode(message, &mut buffer).map_err(Error::Refused)?.to_vec())
}

/// The part of a reply that was written; a size beyond the buffer is no reply of ours.
fn cut(mut reply: Vec<u8>, used: usize, command: Command) -> Result<Vec<u8>> {
    if used > reply.len() {
        return Err(Error::BadReply { command });
    }
    reply.truncate(used);
    Ok(reply)
}

//! The TrustBox TA: takes parameters apart as the command table says and hands copies to `trustbox-core`.

use alloc::vec;
use alloc::vec::Vec;

use trustbox_api::Error;
use trustbox_api::command::{Command, Shape};
use trustbox_api::limits::{MAX_REPLY, MAX_REQUEST};
use trustbox_core::Session;

use crate::entry::Application;
use crate::optee::OpTee;
use crate::parameters::Direction::{Input, Output};
use crate::parameters::Parameter::{Memory, None, Value};
use crate::parameters::{Claim, Parameters};
use crate::status::Status;

/// Where the reply goes.
const REPLY: usize = 1;

/// One session to the TrustBox TA.
pub struct TrustBox {
    session: Session<OpTee>,
    request: Vec<u8>,
    reply: Vec<u8>,
}

impl Application for TrustBox {
    fn open(parameters: &mut Parameters<'_>) -> Result<Self, Status> {
        let [None, None, None, None] = parameters.0 else {
            return Err(Error::BadParameters.into());
        };
        let session = Session::open(OpTee::default())?;
        Ok(Self { session, request: vec![0; MAX_REQUEST], reply: vec![0; MAX_REPLY] })
    }

    fn invoke(&mut self, command: u32, parameters: &mut Parameters<'_>) -> Result<(), Status> {
        let rule = Command::rule(command).ok_or(Error::UnknownCommand)?;
        match (rule.shape, parameters.0) {
            (Shape::Message, [Memory(Input, request), Memory(Output, _), None, None]) => {
                let reply = self.handle(command, request, Claim::EMPTY);
                Ok(parameters.reply(REPLY, reply)?)
            }
            (
                Shape::MessageWithData,
                [Memory(Input, request), Memory(Output, _), Memory(Input, data), None],
            ) => {
                let reply = self.handle(command, request, data);
                Ok(parameters.reply(REPLY, reply)?)
            }
            (Shape::Forward, [Value(Input, command, limit), _, _, _]) => {
                self.forward(command, limit, parameters)
            }
            _ => Err(Error::BadParameters.into()),
        }
    }
}

impl TrustBox {
    fn handle(&mut self, command: u32, request: Claim<'_>, data: Claim<'_>) -> Result<&[u8], Error> {
        let request = request.copy_in(&mut self.request)?;
        let length = self.session.handle(command, request, &data, &mut self.reply)?;
        self.reply.get(..length).ok_or(Error::Internal)
    }

    fn forward(&mut self, command: u32, limit: u32, parameters: &mut Parameters<'_>) -> Result<(), Status> {
        let mut forwarded = parameters.for_enclave();
        let result = self.session.enclave()?.invoke(command, limit, &mut forwarded);
        parameters.answer(&forwarded);
        if result == Err(Error::EnclavePanicked.into()) {
            self.session.enclave_died();
        }
        result
    }
}

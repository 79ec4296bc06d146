//! One session to the TA: holds a call against the command table, then passes it on.

use serde::Serialize;
use trustbox_api::command::{Command, Rule, SessionState, Shape};
use trustbox_api::limits::{MAX_REQUEST, MAX_SESSIONS};
use trustbox_api::message::OpenRequest;
use trustbox_api::{Error, wire};

use crate::install::{self, Install};
use crate::records::{DeviceRecord, load};
use crate::tee::{Slot, Tee, Untrusted};
use crate::{class_keys, enclaves, info, provision};

/// A session, from open to close.
pub struct Session<T: Tee> {
    tee: T,
    slot: Slot,
    activity: Activity<T>,
}

#[expect(clippy::large_enum_variant, reason = "one per session, and the TA has no heap to spare")]
enum Activity<T: Tee> {
    Idle,
    Installing(Install<T>),
    EnclaveOpen(T::Enclave),
}

impl<T: Tee> Session<T> {
    /// Opens a session, if the device has one left.
    pub fn open(mut tee: T) -> Result<Self, Error> {
        let slot = take_session_slot(&mut tee)?;
        Ok(Self { tee, slot, activity: Activity::Idle })
    }

    /// Carries out a command of shape `Message` or `MessageWithData`; returns the bytes of the reply.
    ///
    /// `request` is a private copy, `data` a claim about the bulk parameter.
    pub fn handle(
        &mut self,
        command: u32,
        request: &[u8],
        data: &dyn Untrusted,
        reply: &mut [u8],
    ) -> Result<usize, Error> {
        let rule = Command::rule(command).ok_or(Error::UnknownCommand)?;
        if rule.shape == Shape::Forward {
            return Err(Error::BadParameters);
        }
        if request.len() > MAX_REQUEST {
            return Err(Error::TooLarge);
        }
        self.admit(rule)?;
        self.dispatch(rule.command, request, data, reply)
    }

    /// The open enclave, to which the caller forwards an invocation.
    pub fn enclave(&mut self) -> Result<&mut T::Enclave, Error> {
        let rule = Command::rule(Command::InvokeEnclave as u32).ok_or(Error::Internal)?;
        self.admit(rule)?;
        match &mut self.activity {
            Activity::EnclaveOpen(enclave) => Ok(enclave),
            _ => Err(Error::WrongSequence),
        }
    }

    /// Forgets an enclave that panicked.
    pub fn enclave_died(&mut self) {
        self.activity = Activity::Idle;
    }

    /// Refuses what the command table does not allow.
    fn admit(&mut self, rule: &Rule) -> Result<(), Error> {
        if !rule.caller.contains(&self.tee.caller()?) {
            return Err(Error::WrongCaller);
        }
        if !rule.session.contains(&self.state()) {
            return Err(Error::WrongSequence);
        }
        let lifecycle = load::<DeviceRecord, T>(&mut self.tee)?.lifecycle();
        if rule.lifecycle.contains(&lifecycle) { Ok(()) } else { Err(Error::WrongLifecycle) }
    }

    fn state(&self) -> SessionState {
        match self.activity {
            Activity::Idle => SessionState::Idle,
            Activity::Installing(_) => SessionState::Installing,
            Activity::EnclaveOpen(_) => SessionState::EnclaveOpen,
        }
    }

    fn dispatch(
        &mut self,
        command: Command,
        request: &[u8],
        data: &dyn Untrusted,
        reply: &mut [u8],
    ) -> Result<usize, Error> {
        let tee = &mut self.tee;
        match command {
            Command::Info => empty(request).and_then(|()| answer(&info::info(tee)?, reply)),
            Command::Challenge => answer(&provision::challenge(tee, wire::decode(request)?)?, reply),
            Command::Provision => done(provision::provision(tee, request)),
            Command::DeviceKey => empty(request).and_then(|()| self.device_key(reply)),
            Command::Authorise => done(provision::authorise(tee, request)),
            Command::ImportKey => done(class_keys::import(tee, request)),
            Command::InstallBegin => done(self.install_begin(request)),
            Command::InstallChunk => done(self.install_chunk(request, data)),
            Command::InstallFinish => empty(request).and_then(|()| self.install_finish(reply)),
            Command::InstallAbort => done(empty(request).and_then(|()| self.install_abort())),
            Command::List => empty(request).and_then(|()| answer(&enclaves::list(tee)?, reply)),
            Command::OpenEnclave => done(self.open_enclave(request)),
            Command::InvokeEnclave => Err(Error::BadParameters),
            Command::CloseEnclave => done(empty(request).map(|()| self.activity = Activity::Idle)),
        }
    }

    fn device_key(&mut self, reply: &mut [u8]) -> Result<usize, Error> {
        let spki = info::device_key(&mut self.tee)?;
        let room = reply.get_mut(..spki.as_bytes().len()).ok_or(Error::ShortBuffer)?;
        room.copy_from_slice(spki.as_bytes());
        Ok(room.len())
    }

    fn install_begin(&mut self, request: &[u8]) -> Result<(), Error> {
        self.activity = Activity::Installing(install::begin(&mut self.tee, request)?);
        Ok(())
    }

    fn install_chunk(&mut self, request: &[u8], data: &dyn Untrusted) -> Result<(), Error> {
        match &mut self.activity {
            Activity::Installing(install) => install::chunk(install, wire::decode(request)?, data),
            _ => Err(Error::WrongSequence),
        }
    }

    fn install_finish(&mut self, reply: &mut [u8]) -> Result<usize, Error> {
        let install = self.take_install()?;
        answer(&install::finish(&mut self.tee, install)?, reply)
    }

    fn install_abort(&mut self) -> Result<(), Error> {
        let install = self.take_install()?;
        install::abort(&mut self.tee, install);
        Ok(())
    }

    fn take_install(&mut self) -> Result<Install<T>, Error> {
        match core::mem::replace(&mut self.activity, Activity::Idle) {
            Activity::Installing(install) => Ok(install),
            _ => Err(Error::WrongSequence),
        }
    }

    fn open_enclave(&mut self, request: &[u8]) -> Result<(), Error> {
        let OpenRequest { uuid } = wire::decode(request)?;
        self.activity = Activity::EnclaveOpen(enclaves::open(&mut self.tee, &uuid)?);
        Ok(())
    }
}

impl<T: Tee> Drop for Session<T> {
    fn drop(&mut self) {
        if let Ok(install) = self.take_install() {
            install::abort(&mut self.tee, install);
        }
        self.tee.release(self.slot);
    }
}

fn take_session_slot<T: Tee>(tee: &mut T) -> Result<Slot, Error> {
    for number in 0..MAX_SESSIONS as u8 {
        match tee.acquire(Slot::Session(number)) {
            Ok(()) => return Ok(Slot::Session(number)),
            Err(Error::Busy) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::LimitReached)
}

fn answer<M: Serialize>(message: &M, reply: &mut [u8]) -> Result<usize, Error> {
    wire::encode(message, reply).map(<[u8]>::len)
}

fn done(result: Result<(), Error>) -> Result<usize, Error> {
    result.map(|()| 0)
}

fn empty(request: &[u8]) -> Result<(), Error> {
    if request.is_empty() { Ok(()) } else { Err(Error::BadMessage) }
}

//! One session to the TA: holds a call against the command table, then passes it on.

use alloc::boxed::Box;

use arrayvec::ArrayVec;
use serde::Serialize;
use trustbox_api::command::{Caller, Command, Lifecycle, Rule, SessionState, Shape};
use trustbox_api::launch::Identity;
use trustbox_api::limits::{MAX_ENCLAVE_SESSIONS, MAX_REQUEST, MAX_SESSIONS};
use trustbox_api::log::Event;
use trustbox_api::message::OpenRequest;
use trustbox_api::{Error, wire};

use crate::install::{self, Install};
use crate::records::{DeviceRecord, exclusively, load};
use crate::tee::{Slot, Tee, Untrusted};
use crate::{callbacks, class_keys, csr, delegation, enclaves, info, log, ownership, ticket, token};

/// Different refusals of one session that are counted.
const MAX_REFUSALS: usize = 8;

/// A session, from open to close.
pub struct Session<T: Tee> {
    tee: T,
    slot: Slot,
    caller: Caller,
    activity: Activity<T>,
    /// Refusals that the log shall count, and how many of them it does not know yet.
    refusals: ArrayVec<(Error, u32), MAX_REFUSALS>,
}

#[expect(clippy::large_enum_variant, reason = "one per session, and the TA has no heap to spare")]
enum Activity<T: Tee> {
    Idle,
    Installing(Install<T>),
    EnclaveOpen(Launched<T>),
}

/// A launched enclave.
struct Launched<T: Tee> {
    enclave: T::Enclave,
    identity: Identity,
    /// Changes of the device record when it was last looked at.
    checked: Option<u64>,
}

impl<T: Tee> Session<T> {
    /// Opens a session, if the device has one left.
    pub fn open(mut tee: T) -> Result<Self, Error> {
        let (caller, slots): (_, fn(u8) -> Slot) = match tee.caller()? {
            None => (Caller::NormalWorld, Slot::Session),
            Some(_) => (Caller::Enclave, Slot::EnclaveSession),
        };
        let count = if caller == Caller::Enclave { MAX_ENCLAVE_SESSIONS } else { MAX_SESSIONS };
        let slot = take_slot(&mut tee, (0..count as u8).map(slots))?;
        Ok(Self { tee, slot, caller, activity: Activity::Idle, refusals: ArrayVec::new() })
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
        let result = self.admit_and_dispatch(command, request, data, reply);
        self.remember_refusal(&result);
        result
    }

    /// The open enclave, to which the caller forwards an invocation. What was revoked meanwhile ends here.
    pub fn enclave(&mut self) -> Result<&mut T::Enclave, Error> {
        let allowed = self.check_enclave();
        self.remember_refusal(&allowed);
        if allowed == Err(Error::Revoked) {
            self.activity = Activity::Idle;
        }
        allowed?;
        match &mut self.activity {
            Activity::EnclaveOpen(launched) => Ok(&mut launched.enclave),
            _ => Err(Error::WrongSequence),
        }
    }

    /// Forgets an enclave that panicked.
    pub fn enclave_died(&mut self) {
        self.activity = Activity::Idle;
    }

    /// Whether the enclave may be called. Storage is read only where something changed since the last call.
    fn check_enclave(&mut self) -> Result<(), Error> {
        let rule = Command::InvokeEnclave.its_rule()?;
        self.check_caller(rule)?;
        let changes = self.tee.changes()?;
        match &self.activity {
            Activity::EnclaveOpen(launched) if launched.checked == Some(changes) => return Ok(()),
            _ => {}
        }
        let device = self.admit(rule)?;
        match &mut self.activity {
            Activity::EnclaveOpen(launched) => {
                ticket::check_not_revoked(&device, &launched.identity)?;
                launched.checked = Some(changes);
                Ok(())
            }
            _ => Err(Error::WrongSequence),
        }
    }

    fn admit_and_dispatch(
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
        let device = self.admit(rule)?;
        self.dispatch(rule.command, &device, request, data, reply)
    }

    /// Refuses what the command table does not allow. Finishes an erasure that was cut short before anything else.
    #[inline(never)]
    fn admit(&mut self, rule: &Rule) -> Result<Box<DeviceRecord>, Error> {
        self.check_caller(rule)?;
        let device: Box<DeviceRecord> = load(&mut self.tee)?;
        if device.lifecycle == Lifecycle::Decommissioned && !device.erased {
            ownership::erase(&mut self.tee)?;
        }
        if rule.lifecycle.contains(&device.lifecycle) { Ok(device) } else { Err(Error::WrongLifecycle) }
    }

    fn check_caller(&self, rule: &Rule) -> Result<(), Error> {
        if !rule.caller.contains(&self.caller) {
            return Err(Error::WrongCaller);
        }
        if rule.session.contains(&self.state()) { Ok(()) } else { Err(Error::WrongSequence) }
    }

    /// The first of its kind goes to the log at once, the others when the session ends: nobody floods it.
    fn remember_refusal<A>(&mut self, result: &Result<A, Error>) {
        let Err(error) = result else { return };
        if !log::is_evidence(*error) {
            return;
        }
        if let Some((_, count)) = self.refusals.iter_mut().find(|(known, _)| known == error) {
            *count = count.saturating_add(1);
        } else if self.refusals.try_push((*error, 0)).is_ok() {
            self.log_refusal(*error, 1);
        }
    }

    /// A refusal stands whether or not it can be written down.
    fn log_refusal(&mut self, error: Error, count: u32) {
        let event = Event::Refused(error as u8);
        let _ = exclusively(&mut self.tee, |tee| log::observe(tee, event, count));
    }

    fn state(&self) -> SessionState {
        match self.activity {
            Activity::Idle => SessionState::Idle,
            Activity::Installing(_) => SessionState::Installing,
            Activity::EnclaveOpen(..) => SessionState::EnclaveOpen,
        }
    }

    fn dispatch(
        &mut self,
        command: Command,
        device: &DeviceRecord,
        request: &[u8],
        data: &dyn Untrusted,
        reply: &mut [u8],
    ) -> Result<usize, Error> {
        let tee = &mut self.tee;
        match command {
            Command::Info => empty(request).and_then(|()| answer(&info::info(tee, device)?, reply)),
            Command::Challenge => answer(&ownership::challenge(tee, wire::decode(request)?)?, reply),
            Command::Provision => done(ownership::provision(tee, request)),
            Command::Lock => done(ownership::lock(tee, request)),
            Command::RotateRoot => done(ownership::rotate_root(tee, device, request)),
            Command::Decommission => done(ownership::decommission(tee, device, request)),
            Command::DeviceKey => {
                empty(request).and_then(|()| copy(info::device_key(tee, device)?.as_bytes(), reply))
            }
            Command::Csr => copy(&csr::request(tee, device, wire::decode(request)?)?, reply),
            Command::Authorise => done(delegation::authorise(tee, device, request)),
            Command::Revoke => done(delegation::revoke(tee, device, request)),
            Command::ImportKey => done(class_keys::import(tee, device, request)),
            Command::DestroyKey => done(class_keys::destroy(tee, &wire::decode(request)?)),
            Command::InstallBegin => done(install::begin(tee, device, request).map(|i| self.start(i))),
            Command::InstallLegacy => {
                done(install::begin_legacy(tee, device, &wire::decode(request)?).map(|i| self.start(i)))
            }
            Command::InstallChunk => done(self.install_chunk(request, data)),
            Command::InstallFinish => empty(request).and_then(|()| self.install_finish(device, reply)),
            Command::InstallAbort => done(empty(request).and_then(|()| self.install_abort())),
            Command::List => empty(request).and_then(|()| answer(&enclaves::list(tee)?, reply)),
            Command::Uninstall => done(enclaves::uninstall(tee, wire::decode(request)?)),
            Command::OpenEnclave => done(self.open_enclave(device, request)),
            Command::InvokeEnclave => Err(Error::BadParameters),
            Command::CloseEnclave => done(empty(request).map(|()| self.activity = Activity::Idle)),
            Command::Log => answer(&log::read(tee, wire::decode(request)?)?, reply),
            Command::Attest => token::attest(tee, device, &wire::decode(request)?, reply),
            Command::EnclaveReport => token::report(tee, device, &wire::decode(request)?, reply),
            Command::EnclaveCounter => {
                answer(&callbacks::counter(tee, device, wire::decode(request)?)?, reply)
            }
            Command::EnclaveNote => done(callbacks::note(tee, device, wire::decode(request)?)),
            Command::DiskKey => {
                empty(request).and_then(|()| answer(&ownership::disk_key(tee, device)?, reply))
            }
            Command::EnclaveKey => answer(&callbacks::key(tee, device, &wire::decode(request)?)?, reply),
        }
    }

    fn start(&mut self, install: Install<T>) {
        self.activity = Activity::Installing(install);
    }

    fn install_chunk(&mut self, request: &[u8], data: &dyn Untrusted) -> Result<(), Error> {
        match &mut self.activity {
            Activity::Installing(install) => install::chunk(install, wire::decode(request)?, data),
            _ => Err(Error::WrongSequence),
        }
    }

    fn install_finish(&mut self, device: &DeviceRecord, reply: &mut [u8]) -> Result<usize, Error> {
        let install = self.take_install()?;
        answer(&install::finish(&mut self.tee, device, install)?, reply)
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

    fn open_enclave(&mut self, device: &DeviceRecord, request: &[u8]) -> Result<(), Error> {
        let OpenRequest { uuid } = wire::decode(request)?;
        let (enclave, identity) = enclaves::open(&mut self.tee, device, &uuid)?;
        self.activity = Activity::EnclaveOpen(Launched { enclave, identity, checked: None });
        Ok(())
    }
}

impl<T: Tee> Drop for Session<T> {
    fn drop(&mut self) {
        if let Ok(install) = self.take_install() {
            install::abort(&mut self.tee, install);
        }
        for (error, count) in core::mem::take(&mut self.refusals) {
            if count > 0 {
                self.log_refusal(error, count);
            }
        }
        self.tee.release(self.slot);
    }
}

fn take_slot<T: Tee>(tee: &mut T, slots: impl Iterator<Item = Slot>) -> Result<Slot, Error> {
    for slot in slots {
        match tee.acquire(slot) {
            Ok(()) => return Ok(slot),
            Err(Error::Busy) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::LimitReached)
}

fn copy(bytes: &[u8], reply: &mut [u8]) -> Result<usize, Error> {
    reply.get_mut(..bytes.len()).ok_or(Error::ShortBuffer)?.copy_from_slice(bytes);
    Ok(bytes.len())
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

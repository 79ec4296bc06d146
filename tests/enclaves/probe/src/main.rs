//! The probe as an enclave: one function a command.
#![no_std]
#![no_main]

extern crate alloc;

use core::fmt::Write;

use sha2::{Digest, Sha256};
use trustbox_api::key::PublicKey;
use trustbox_api::launch::Ticket;
use trustbox_api::limits::MAX_REPLY;
use trustbox_api::message::CounterReply;
use trustbox_api::{Bytes, Command, Error, TRUSTBOX_UUID, wire};
use trustbox_enclave::{Enclave, EnclaveError, Launched, Reply, should_stop};
use trustbox_probe::command::{self, LONGEST, MAX_VALUE};
use trustbox_probe::{error, request};
use trustbox_tee::mapping::Mapping;
use trustbox_tee::operation;
use trustbox_tee::optee_utee::{AttributeId, AttributeMemref, Time, TransientObject, TransientObjectType};
use trustbox_tee::parameters::Parameters;
use trustbox_tee::session::{Failure, TaSession};

const BAD_REQUEST: EnclaveError = EnclaveError::new(error::BAD_REQUEST);
const UNKNOWN_COMMAND: EnclaveError = EnclaveError::new(error::UNKNOWN_COMMAND);
const NEVER_STOPPED: EnclaveError = EnclaveError::new(error::NEVER_STOPPED);
const NOT_FOUND: EnclaveError = EnclaveError::new(error::NOT_FOUND);

/// Bytes of an RSA-3072 modulus.
const RSA_BYTES: usize = 384;
/// Room for an encoded ticket.
const MAX_TICKET: usize = 144;
/// What follows the ticket in a request for counter 0 that adds nothing.
const READ_COUNTER_0: [u8; 2] = [0, 0];

struct Probe(Launched);

impl Enclave for Probe {
    fn launch(launched: Launched) -> Result<Self, EnclaveError> {
        Ok(Self(launched))
    }

    fn call(&mut self, command: u32, request: &[u8], reply: &mut Reply) -> Result<(), EnclaveError> {
        match command {
            command::IDENTITY => self.identity(reply),
            command::SPIN => spin(reply),
            command::PANIC => panic!(),
            command::REPORT => self.report(request, reply),
            command::COUNTER => self.counter(request, reply),
            command::NOTE => self.0.trustbox.note(request::text(request).ok_or(BAD_REQUEST)?),
            command::KEY => self.key(request, reply),
            command::PUT => self.put(request),
            command::GET => self.get(request, reply),
            command::BUSY => busy(request, reply),
            command::FORBIDDEN => forbidden(request, reply),
            command::FORGE_TICKET => self.forge_ticket(request, reply),
            command::TICKET => reply.write(self.ticket(&mut [0; MAX_TICKET])?),
            command::SHOW_TICKET => show_ticket(request, reply),
            command::VERIFY => verify(request, reply),
            command::UNWRAP => unwrap(request, reply),
            _ => Err(UNKNOWN_COMMAND),
        }
    }
}

impl Probe {
    fn identity(&self, reply: &mut Reply) -> Result<(), EnclaveError> {
        let identity = &self.0.identity;
        write!(reply, "uuid={} version={} digest={}", identity.uuid, identity.version, identity.digest)?;
        Ok(())
    }

    fn report(&self, request: &[u8], reply: &mut Reply) -> Result<(), EnclaveError> {
        let (nonce, data) = request.split_first_chunk().ok_or(BAD_REQUEST)?;
        reply.write(&self.0.trustbox.report(Bytes(*nonce), data)?)
    }

    fn counter(&self, request: &[u8], reply: &mut Reply) -> Result<(), EnclaveError> {
        let (index, add) = request::numbers(request).ok_or(BAD_REQUEST)?;
        let counter = self.0.trustbox.counter(index);
        let value = if add == 0 { counter.read()? } else { counter.advance(add)? };
        write!(reply, "{value}")?;
        Ok(())
    }

    fn key(&self, request: &[u8], reply: &mut Reply) -> Result<(), EnclaveError> {
        let key = self.0.trustbox.key(request::text(request).ok_or(BAD_REQUEST)?)?;
        write!(reply, "{}", Bytes(Sha256::digest(key.expose()).into()))?;
        Ok(())
    }

    fn put(&mut self, request: &[u8]) -> Result<(), EnclaveError> {
        let (name, value) = request::pair(request).ok_or(BAD_REQUEST)?;
        let value: [u8; MAX_VALUE] = request::padded(value).ok_or(BAD_REQUEST)?;
        Ok(self.0.storage.put(name, &value)?)
    }

    fn get(&self, request: &[u8], reply: &mut Reply) -> Result<(), EnclaveError> {
        let name = request::text(request).ok_or(BAD_REQUEST)?;
        let value: [u8; MAX_VALUE] = self.0.storage.get(name)?.ok_or(NOT_FOUND)?;
        reply.write(request::unpadded(&value))
    }

    fn forge_ticket(&self, request: &[u8], reply: &mut Reply) -> Result<(), EnclaveError> {
        let bit = request::number(request).ok_or(BAD_REQUEST)?;
        let mut ticket = self.ticket(&mut [0; MAX_TICKET])?.to_vec();
        request::flip(&mut ticket, bit).ok_or(BAD_REQUEST)?;
        show_ticket(&ticket, reply)
    }

    fn ticket<'a>(&self, out: &'a mut [u8]) -> Result<&'a [u8], EnclaveError> {
        wire::encode::<Ticket>(self.0.trustbox.ticket(), out).map_err(|_| EnclaveError::REQUEST_TOO_LONG)
    }
}

fn spin(reply: &mut Reply) -> Result<(), EnclaveError> {
    let start = now();
    while !should_stop() {
        if now() - start > LONGEST {
            return Err(NEVER_STOPPED);
        }
    }
    write!(reply, "stopped after {} ms", now() - start)?;
    Ok(())
}

fn busy(request: &[u8], reply: &mut Reply) -> Result<(), EnclaveError> {
    let milliseconds = request::number(request).filter(|number| *number <= LONGEST).ok_or(BAD_REQUEST)?;
    let start = now();
    while now() - start < milliseconds {}
    write!(reply, "busy for {} ms", now() - start)?;
    Ok(())
}

fn forbidden(request: &[u8], reply: &mut Reply) -> Result<(), EnclaveError> {
    let command = request::number(request).ok_or(BAD_REQUEST)?;
    let code = ask(command, &[]).map_or_else(|failure| failure.code, |_| 0);
    write!(reply, "{code:#010x}")?;
    Ok(())
}

fn show_ticket(ticket: &[u8], reply: &mut Reply) -> Result<(), EnclaveError> {
    match ask(Command::EnclaveCounter as u32, &[ticket, &READ_COUNTER_0].concat()) {
        Ok(answer) => {
            let CounterReply { value } = wire::decode(&answer).map_err(|_| EnclaveError::NO_ANSWER)?;
            write!(reply, "{value}")?;
        }
        Err(failure) => write!(reply, "{:#010x}", failure.code)?,
    }
    Ok(())
}

/// The very function of the TrustBox TA, in this enclave.
fn verify(request: &[u8], reply: &mut Reply) -> Result<(), EnclaveError> {
    let (key, rest) = request.split_first_chunk().ok_or(BAD_REQUEST)?;
    let (digest, rest) = rest.split_first_chunk().ok_or(BAD_REQUEST)?;
    let signature = rest.try_into().map_err(|_| BAD_REQUEST)?;
    let result = operation::verify_es256(&PublicKey(Bytes(*key)), digest, &Bytes(signature));
    write!(reply, "{:#010x}", result.map_or_else(Error::code, |()| 0))?;
    Ok(())
}

/// The very function of the TrustBox TA, under a key that nobody keeps secret.
fn unwrap(request: &[u8], reply: &mut Reply) -> Result<(), EnclaveError> {
    let (modulus, rest) = request.split_at_checked(RSA_BYTES).ok_or(BAD_REQUEST)?;
    let (exponent, rest) = rest.split_at_checked(3).ok_or(BAD_REQUEST)?;
    let (private, wrapped) = rest.split_at_checked(RSA_BYTES).ok_or(BAD_REQUEST)?;
    let attributes = [
        AttributeMemref::from_ref(AttributeId::RsaModulus, modulus).into(),
        AttributeMemref::from_ref(AttributeId::RsaPublicExponent, exponent).into(),
        AttributeMemref::from_ref(AttributeId::RsaPrivateExponent, private).into(),
    ];
    let mut key = TransientObject::allocate(TransientObjectType::RsaKeypair, 8 * RSA_BYTES)
        .map_err(|_| EnclaveError::NO_ANSWER)?;
    key.populate(&attributes).map_err(|_| BAD_REQUEST)?;
    match operation::decrypt_oaep(key, wrapped) {
        Ok(opened) => reply.write(opened.expose()),
        Err(error) => Ok(write!(reply, "{:#010x}", error.code())?),
    }
}

/// Past the SDK, as a hostile enclave would.
fn ask(command: u32, request: &[u8]) -> Result<Mapping, Failure> {
    TaSession::open(&TRUSTBOX_UUID, &Parameters::NONE)?.exchange(command, request, MAX_REPLY)
}

/// OP-TEE's system time in milliseconds.
fn now() -> u64 {
    let mut time = Time::new();
    time.system_time();
    u64::from(time.seconds) * 1000 + u64::from(time.millis)
}

trustbox_enclave::enclave!(Probe);

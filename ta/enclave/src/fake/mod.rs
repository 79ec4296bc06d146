//! A device in memory, for tests: the enclave and its client as on a device, without one.
//!
//! Deterministic: every thread, so every test, has a device of its own, new at first. Its random numbers are a fixed
//! sequence, its time stands still. It checks what an enclave does, not whether the device is safe: nothing here is a
//! secret.
//!
//! ```
//! use trustbox_enclave::{EnclaveError, Launch, Launched, TrustBox, fake, interface};
//!
//! #[interface]
//! trait Dice {
//!     #[command(1)]
//!     fn throws(&mut self) -> Result<u64, EnclaveError>;
//! }
//!
//! struct Die(TrustBox);
//!
//! impl Launch for Die {
//!     fn launch(launched: Launched) -> Result<Self, EnclaveError> {
//!         Ok(Self(launched.trustbox))
//!     }
//! }
//!
//! impl Dice for Die {
//!     fn throws(&mut self) -> Result<u64, EnclaveError> {
//!         self.0.counter(0).advance(1)
//!     }
//! }
//!
//! let mut dice = DiceClient::new(fake::launch::<DiceService, Die>().unwrap());
//! assert_eq!((dice.throws(), dice.throws()), (Ok(1), Ok(2)));
//! fake::fail(true);
//! assert!(dice.throws().is_err());
//! ```

mod device;
mod trustbox;

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use trustbox_api::{Bytes, PublicKey, Secret, Uuid};
use trustbox_interface::{Service, Transport};

pub use device::Lock;
pub(crate) use device::{delete, lock, random, read, since_boot, stops, write};
pub(crate) use trustbox::ask as ask_trustbox;

use crate::{Enclave, EnclaveError, Launch, Launched, Reply, Sealed, TrustBox, Typed};

/// UUID of every enclave on the device in memory.
pub const UUID: Uuid = Uuid(Bytes([0xfa; 16]));

/// Launches an enclave of an interface; the session is what its client calls.
pub fn launch<I, S>() -> Result<Session<Typed<I, S>>, EnclaveError>
where
    I: Service<S> + 'static,
    S: Launch + 'static,
{
    Session::open()
}

/// What an enclave is handed on the device in memory.
pub fn launched() -> Launched {
    let key = device::with(|device| device.sealing_key);
    let ticket = trustbox::ticket();
    let storage = Sealed::new(UUID, Secret::new(key));
    Launched { identity: ticket.identity, storage, trustbox: TrustBox::new(ticket) }
}

/// A session to an enclave in memory.
pub struct Session<E> {
    enclave: E,
    reply: Reply,
}

impl<E: Enclave> Session<E> {
    /// Launches an enclave that takes its requests as bytes.
    pub fn open() -> Result<Self, EnclaveError> {
        Ok(Self { enclave: E::launch(launched())?, reply: Reply::new(E::MAX_REPLY) })
    }

    /// Calls it as the host program would.
    pub fn invoke(&mut self, command: u32, request: &[u8]) -> Result<Vec<u8>, EnclaveError> {
        if request.len() > E::MAX_REQUEST {
            return Err(EnclaveError::REQUEST_TOO_LONG);
        }
        self.reply.clear();
        self.enclave.call(command, request, &mut self.reply)?;
        Ok(self.reply.as_bytes().to_vec())
    }
}

impl<E: Enclave> Transport for Session<E> {
    type Error = EnclaveError;

    fn call(&mut self, command: u32, request: &[u8], capacity: usize) -> Result<Vec<u8>, EnclaveError> {
        let reply = self.invoke(command, request)?;
        if reply.len() > capacity { Err(EnclaveError::REPLY_TOO_LONG) } else { Ok(reply) }
    }

    fn refusal(error: &EnclaveError) -> Option<u32> {
        Some(error.code())
    }
}

/// Whether [`crate::should_stop`] says so from now on.
pub fn stop(on: bool) {
    device::with(|device| device.stop = on);
}

/// Whether every access to storage and every question to the TrustBox TA fails from now on.
pub fn fail(on: bool) {
    device::with(|device| device.fail = on);
}

/// Lets time pass.
pub fn advance_time(time: Duration) {
    device::with(|device| device.time += time);
}

/// Flips a bit of every entry of that name, as Linux could.
pub fn tamper(name: &str) {
    device::with(|device| {
        let entries = device.objects.iter_mut().filter(|(id, _)| id.ends_with(name.as_bytes()));
        entries.filter_map(|(_, content)| content.last_mut()).for_each(|byte| *byte ^= 1);
    });
}

/// All files of secure storage at one time; what the TrustBox TA keeps is not among them.
#[derive(Clone)]
pub struct Snapshot(BTreeMap<Vec<u8>, Vec<u8>>);

/// Copies the enclave's files, as Linux could.
pub fn snapshot() -> Snapshot {
    Snapshot(device::with(|device| device.objects.clone()))
}

/// Puts the enclave's files back, as Linux could where storage has no rollback protection.
pub fn restore(snapshot: Snapshot) {
    device::with(|device| device.objects = snapshot.0);
}

/// Uninstalls the enclave and erases what is its own; the next launch finds nothing.
pub fn erase() {
    device::with(|device| {
        random(&mut device.sealing_key);
        device.counters = [0; 4];
    });
}

/// What enclaves noted in the device's activity log.
pub fn notes() -> Vec<String> {
    device::with(|device| device.notes.clone())
}

/// The key that signs reports of the device in memory. Everybody has its private half.
pub fn attestation_key() -> PublicKey {
    trustbox::attestation_key()
}

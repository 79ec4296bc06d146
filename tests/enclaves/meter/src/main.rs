//! The meter as an enclave: its storage is sealed, its logic is the library's.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::string::String;

use sha2::{Digest, Sha256};
use trustbox_enclave::{Bytes, Enclave, EnclaveError, Launched, Reply, Sealed, TrustBox};
use trustbox_meter::{MeterError, State, Store, command};

/// The entry that holds the state.
const ENTRY: &str = "state";

struct Meter {
    store: SealedStore,
    trustbox: TrustBox,
}

struct SealedStore(Sealed);

impl Enclave for Meter {
    fn launch(launched: Launched) -> Result<Self, EnclaveError> {
        Ok(Self { store: SealedStore(launched.storage), trustbox: launched.trustbox })
    }

    fn call(&mut self, command: u32, request: &[u8], reply: &mut Reply) -> Result<(), EnclaveError> {
        // Another launch of the meter may count at the same time.
        let _lock = self.store.0.lock()?;
        match command {
            command::REPORT => self.report(request, reply),
            _ => command::call(&mut self.store, command, request, reply).map_err(numbered),
        }
    }
}

impl Meter {
    /// Has the device sign what [`command::QUERY`] says.
    fn report(&mut self, request: &[u8], reply: &mut Reply) -> Result<(), EnclaveError> {
        const NOT_A_NONCE: EnclaveError = EnclaveError::new(4);
        let nonce = Bytes::from_slice(request).ok_or(NOT_A_NONCE)?;
        let mut line = String::new();
        command::call(&mut self.store, command::QUERY, &[], &mut line).map_err(numbered)?;
        reply.write(&self.trustbox.report(nonce, &Sha256::digest(line))?)
    }
}

impl Store for SealedStore {
    type Error = EnclaveError;

    fn load(&self) -> Result<Option<[u8; State::SIZE]>, EnclaveError> {
        Ok(self.0.get(ENTRY)?)
    }

    fn store(&mut self, state: &[u8; State::SIZE]) -> Result<(), EnclaveError> {
        Ok(self.0.put(ENTRY, state)?)
    }
}

fn numbered(error: MeterError<EnclaveError>) -> EnclaveError {
    const NOT_A_NUMBER: EnclaveError = EnclaveError::new(1);
    const OVERFLOW: EnclaveError = EnclaveError::new(2);
    const UNKNOWN_COMMAND: EnclaveError = EnclaveError::new(3);
    match error {
        MeterError::NotANumber => NOT_A_NUMBER,
        MeterError::Overflow => OVERFLOW,
        MeterError::UnknownCommand => UNKNOWN_COMMAND,
        MeterError::Reply => EnclaveError::REPLY_TOO_LONG,
        MeterError::Store(error) => error,
    }
}

trustbox_enclave::enclave!(Meter);

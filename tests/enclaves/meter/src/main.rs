//! The meter as an enclave: its storage is sealed, its logic is the library's.
#![no_std]
#![no_main]

use trustbox_enclave::{Enclave, EnclaveError, Launched, Reply, Sealed};
use trustbox_meter::{MeterError, State, Store, command};

/// The entry that holds the state.
const ENTRY: &str = "state";

struct Meter(SealedStore);

struct SealedStore(Sealed);

impl Enclave for Meter {
    fn launch(launched: Launched) -> Result<Self, EnclaveError> {
        Ok(Self(SealedStore(launched.storage)))
    }

    fn call(&mut self, command: u32, request: &[u8], reply: &mut Reply) -> Result<(), EnclaveError> {
        // Another launch of the meter may count at the same time.
        let _lock = self.0.0.lock()?;
        command::call(&mut self.0, command, request, reply).map_err(numbered)
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

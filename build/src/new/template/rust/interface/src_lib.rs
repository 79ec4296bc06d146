//! What the enclave does: the enclave implements this trait, and the host program calls the client made from it.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use trustbox_interface::{EnclaveError, errors, interface};

/// UUID of the enclave.
pub const UUID: &str = "{{uuid}}";

errors! {
    /// Why the enclave refuses.
    pub enum {{Type}}Error {
        /// a name has 1 to 64 bytes
        Name = 1,
    }
}

/// A greeting.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Greeting {
    /// What is said.
    pub text: String,
    /// How many greetings there were, ever: sealed, so it survives power cuts and updates.
    pub count: u64,
}

/// The enclave's commands. Their numbers are for good: a new command gets a new one.
#[interface(errors = {{Type}}Error)]
pub trait {{Type}} {
    /// Greets somebody.
    #[command(1)]
    fn greet(&mut self, name: &str) -> Result<Greeting, EnclaveError>;
    /// The count, signed by the device over a verifier's nonce: an attestation token.
    #[command(2)]
    fn report(&mut self, nonce: [u8; 32]) -> Result<Vec<u8>, EnclaveError>;
}

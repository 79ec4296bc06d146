//! The reply to a call: bounded, written by the enclave, copied out once.

use alloc::vec::Vec;
use core::fmt;

use crate::{EnclaveError, MAX_MESSAGE};

/// A reply under construction; also takes `write!`.
pub struct Reply(Vec<u8>);

impl Reply {
    /// An empty one, with all its room.
    pub(crate) fn new() -> Self {
        Self(Vec::with_capacity(MAX_MESSAGE))
    }

    /// Appends bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), EnclaveError> {
        if bytes.len() > MAX_MESSAGE - self.0.len() {
            return Err(EnclaveError::REPLY_TOO_LONG);
        }
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Write for Reply {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write(text.as_bytes()).map_err(|_| fmt::Error)
    }
}

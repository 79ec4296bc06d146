//! The reply to a call: bounded, written by the enclave, copied out once.

use alloc::vec::Vec;
use core::fmt;

use crate::EnclaveError;

/// A reply under construction; also takes `write!`.
pub struct Reply {
    bytes: Vec<u8>,
    limit: usize,
}

impl Reply {
    /// An empty one, with all its room.
    pub(crate) fn new(limit: usize) -> Self {
        Self { bytes: Vec::with_capacity(limit), limit }
    }

    /// Appends bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), EnclaveError> {
        if bytes.len() > self.limit - self.bytes.len() {
            return Err(EnclaveError::REPLY_TOO_LONG);
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Write for Reply {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write(text.as_bytes()).map_err(|_| fmt::Error)
    }
}

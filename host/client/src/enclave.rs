//! A launched enclave.

use trustbox_api::Command;

use crate::Result;
use crate::session::Session;

/// A session to a launched enclave; closes when dropped.
pub struct EnclaveSession<'a> {
    session: &'a mut Session,
}

impl<'a> EnclaveSession<'a> {
    pub(crate) fn new(session: &'a mut Session) -> Self {
        Self { session }
    }

    /// Calls the enclave: its command, a request, and how many bytes of reply there is room for.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Enclave`] carries the enclave's own number, [`crate::Error::ReplyTooLong`] the room it asks for.
    pub fn invoke(&mut self, command: u32, input: &[u8], capacity: usize) -> Result<Vec<u8>> {
        self.session.forward(command, input, capacity)
    }
}

impl Drop for EnclaveSession<'_> {
    fn drop(&mut self) {
        // An enclave that panicked is gone already.
        let _ = self.session.tell(Command::CloseEnclave, &[]);
    }
}

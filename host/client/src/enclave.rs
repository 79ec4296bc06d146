//! A launched enclave.

use std::time::Duration;

use trustbox_api::Command;
use trustbox_interface::Transport;

use crate::session::Session;
use crate::{Error, Result};

/// The limit in the shape `Forward` that stands for none.
const NO_LIMIT: u32 = 0;

/// A session to a launched enclave; closes when dropped.
pub struct EnclaveSession<'a> {
    session: &'a mut Session,
}

impl<'a> EnclaveSession<'a> {
    pub(crate) fn new(session: &'a mut Session) -> Self {
        Self { session }
    }

    /// Calls the enclave: its command, a request, and how many bytes of reply there is room for. Waits as long as it takes.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Enclave`] carries the enclave's own number, [`crate::Error::ReplyTooLong`] the room it asks for.
    pub fn invoke(&mut self, command: u32, input: &[u8], capacity: usize) -> Result<Vec<u8>> {
        self.session.forward(command, NO_LIMIT, input, capacity)
    }

    /// Calls the enclave as [`EnclaveSession::invoke`] does, and asks it to stop after `limit`, counted in milliseconds: less
    /// than one counts as one, more than 2³² - 1 (49 days) as no limit.
    ///
    /// An enclave that never looks whether it should stop goes on until it is done.
    ///
    /// # Errors
    ///
    /// Those of [`EnclaveSession::invoke`], and [`crate::Error::Cancelled`] where the enclave stopped.
    pub fn invoke_within(
        &mut self,
        command: u32,
        input: &[u8],
        capacity: usize,
        limit: Duration,
    ) -> Result<Vec<u8>> {
        self.session.forward(command, milliseconds(limit), input, capacity)
    }
}

fn milliseconds(limit: Duration) -> u32 {
    u32::try_from(limit.as_millis()).map_or(NO_LIMIT, |limit| limit.max(1))
}

/// What typed clients of an interface call.
impl Transport for EnclaveSession<'_> {
    type Error = Error;

    fn call(&mut self, command: u32, request: &[u8], capacity: usize) -> Result<Vec<u8>> {
        self.invoke(command, request, capacity)
    }

    fn refusal(error: &Error) -> Option<u32> {
        if let Error::Enclave { code } = error { Some(*code) } else { None }
    }
}

impl Drop for EnclaveSession<'_> {
    fn drop(&mut self) {
        // An enclave that panicked is gone already.
        let _ = self.session.tell(Command::CloseEnclave, &[]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_whole_milliseconds_and_never_zero_by_accident() {
        assert_eq!(milliseconds(Duration::from_secs(5)), 5000);
        assert_eq!(milliseconds(Duration::from_micros(1999)), 1);
        assert_eq!((milliseconds(Duration::ZERO), milliseconds(Duration::from_nanos(1))), (1, 1));
        assert_eq!(milliseconds(Duration::from_millis(u32::MAX.into())), u32::MAX);
        assert_eq!(milliseconds(Duration::MAX), NO_LIMIT);
    }
}

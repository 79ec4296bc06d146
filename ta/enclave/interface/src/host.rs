//! The enclave's way to ask its host program in the middle of a command.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::fmt;
use core::future::poll_fn;
use core::task::Poll;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::EnclaveError;
use crate::message::{self, decode};

/// The host program does not answer a question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("refused")
    }
}

impl core::error::Error for Refused {}

/// The way to the host program of the session; interfaces wrap it in a type with their own questions.
#[derive(Clone, Default)]
pub struct HostLink(Rc<RefCell<Exchange>>);

#[derive(Default)]
struct Exchange {
    /// Bytes of a question at most.
    limit: usize,
    asked: Option<(u32, Vec<u8>)>,
    answer: Option<Result<Vec<u8>, Refused>>,
}

impl HostLink {
    pub(crate) fn new(limit: usize) -> Self {
        Self(Rc::new(RefCell::new(Exchange { limit, ..Exchange::default() })))
    }

    /// Asks, and waits for the answer. It comes from Linux: check what it says.
    ///
    /// # Errors
    ///
    /// [`EnclaveError::HOST_REFUSED`] where the host program does not answer, [`EnclaveError::BAD_ANSWER`] where its
    /// answer does not decode, [`EnclaveError::REQUEST_TOO_LONG`] where the question is longer than a reply may be,
    /// [`EnclaveError::WAITING`] where the command asks something else already: one question at a time.
    pub async fn ask<Q: Serialize, A: DeserializeOwned>(
        &self,
        command: u32,
        question: &Q,
    ) -> Result<A, EnclaveError> {
        let limit = self.0.borrow().limit;
        let encoded = message::encode(question, limit).map_err(|_| EnclaveError::REQUEST_TOO_LONG)?;
        if self.0.borrow().asked.is_some() {
            return Err(EnclaveError::WAITING);
        }
        self.0.borrow_mut().asked = Some((command, encoded));
        let answer = poll_fn(|_| self.0.borrow_mut().answer.take().map_or(Poll::Pending, Poll::Ready)).await;
        let answer = answer.map_err(|Refused| EnclaveError::HOST_REFUSED)?;
        decode(&answer).map_err(|_| EnclaveError::BAD_ANSWER)
    }

    pub(crate) fn take_question(&self) -> Option<(u32, Vec<u8>)> {
        self.0.borrow_mut().asked.take()
    }

    pub(crate) fn answer(&self, answer: Result<Vec<u8>, Refused>) {
        self.0.borrow_mut().answer = Some(answer);
    }

    pub(crate) fn clear(&self) {
        let mut exchange = self.0.borrow_mut();
        (exchange.asked, exchange.answer) = (None, None);
    }
}

/// On the host: decodes a question, lets `answer` find the answer, encodes it. For the code that the attributes write.
pub fn answered<'a, Q: Deserialize<'a>, A: Serialize>(
    question: &'a [u8],
    limit: usize,
    answer: impl FnOnce(Q) -> Result<A, Refused>,
) -> Result<Vec<u8>, Refused> {
    let answer = answer(decode(question).map_err(|_| Refused)?)?;
    message::encode(&answer, limit).map_err(|_| Refused)
}

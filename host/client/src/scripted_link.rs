//! The session in unit tests: answers by script, and remembers what it was asked.

use std::collections::VecDeque;

use trustbox_api::Command;

use crate::{Error, Result};

/// What was asked: command, value (for the shape `Forward`), request, bulk data.
pub(crate) type Asked = (Command, (u32, u32), Vec<u8>, Vec<u8>);

/// A session with answers to come.
#[derive(Default)]
pub(crate) struct Link {
    /// The answers, first one first; after the last one every answer is empty.
    pub(crate) answers: VecDeque<Result<Vec<u8>>>,
    /// All that was asked.
    pub(crate) asked: Vec<Asked>,
}

impl Link {
    pub(crate) fn open() -> Result<Self> {
        Err(Error::NoTee { code: 0 })
    }

    pub(crate) fn message(&mut self, command: Command, request: &[u8], reply: &mut [u8]) -> Result<usize> {
        self.asked.push((command, (0, 0), request.to_vec(), Vec::new()));
        self.answer(reply)
    }

    pub(crate) fn message_with_data(&mut self, command: Command, request: &[u8], data: &[u8]) -> Result<()> {
        self.asked.push((command, (0, 0), request.to_vec(), data.to_vec()));
        self.answer(&mut []).map(drop)
    }

    pub(crate) fn forward(&mut self, value: (u32, u32), input: &[u8], reply: &mut [u8]) -> Result<usize> {
        self.asked.push((Command::InvokeEnclave, value, input.to_vec(), Vec::new()));
        self.answer(reply)
    }

    fn answer(&mut self, reply: &mut [u8]) -> Result<usize> {
        let answer = self.answers.pop_front().unwrap_or(Ok(Vec::new()))?;
        reply[..answer.len()].copy_from_slice(&answer);
        Ok(answer.len())
    }
}

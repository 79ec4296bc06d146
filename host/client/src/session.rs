//! One session to the TA: requests out, replies in, as the shapes of the command table say.

use serde::Serialize;
use serde::de::DeserializeOwned;
use trustbox_api::limits::{MAX_REPLY, MAX_REQUEST};
use trustbox_api::{Command, wire};

use crate::link::Link;
use crate::{Error, Result};

/// A session; closes when dropped.
pub(crate) struct Session(pub(crate) Link);

impl Session {
    pub(crate) fn open() -> Result<Self> {
        Link::open().map(Self)
    }

    /// A command whose reply is a message.
    pub(crate) fn ask<R: DeserializeOwned>(&mut self, command: Command, request: &[u8]) -> Result<R> {
        let reply = self.call(command, request)?;
        wire::decode(&reply).map_err(|_| Error::BadReply { command })
    }

    /// A command without a reply.
    pub(crate) fn tell(&mut self, command: Command, request: &[u8]) -> Result<()> {
        self.call(command, request).map(drop)
    }

    /// A command of shape `Message`.
    pub(crate) fn call(&mut self, command: Command, request: &[u8]) -> Result<Vec<u8>> {
        let mut reply = vec![0; MAX_REPLY];
        let used = self.0.message(command, request, &mut reply)?;
        cut(reply, used, command)
    }

    /// A command of shape `MessageWithData`, without a reply.
    pub(crate) fn send(&mut self, command: Command, request: &[u8], data: &[u8]) -> Result<()> {
        self.0.message_with_data(command, request, data)
    }

    /// A call of the launched enclave, shape `Forward`: its command and a time limit in milliseconds.
    pub(crate) fn forward(
        &mut self,
        number: u32,
        limit: u32,
        input: &[u8],
        capacity: usize,
    ) -> Result<Vec<u8>> {
        let mut reply = vec![0; capacity];
        let used = self.0.forward((number, limit), input, &mut reply)?;
        cut(reply, used, Command::InvokeEnclave)
    }
}

/// A request as bytes.
pub(crate) fn encoded<M: Serialize>(message: &M) -> Result<Vec<u8>> {
    let mut buffer = [0; MAX_REQUEST];
    Ok(wire::encode(message, &mut buffer).map_err(Error::Refused)?.to_vec())
}

/// The part of a reply that was written; a size beyond the buffer is no reply of ours.
fn cut(mut reply: Vec<u8>, used: usize, command: Command) -> Result<Vec<u8>> {
    if used > reply.len() {
        return Err(Error::BadReply { command });
    }
    reply.truncate(used);
    Ok(reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_sizes_are_no_replies() {
        assert_eq!(cut(vec![1, 2, 3], 2, Command::Info).unwrap(), [1, 2]);
        assert_eq!(cut(vec![1, 2, 3], 3, Command::Info).unwrap(), [1, 2, 3]);
        assert!(matches!(cut(vec![1], 2, Command::Info), Err(Error::BadReply { command: Command::Info })));
    }
}

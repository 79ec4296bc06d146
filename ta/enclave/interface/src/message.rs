//! Messages between a host program and an enclave: postcard, bounded, decoded whole.

use alloc::vec;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::EnclaveError;

/// Bytes of a request and of a reply at most, unless the interface says otherwise.
pub const MAX_MESSAGE: usize = 4096;
/// The command that brings the host's answer to a command that waits for it. Commands of interfaces are below 2³¹.
pub(crate) const RESUME: u32 = 0xffff_ff00;
/// What the frame around a result, a question or an answer takes at most.
pub(crate) const FRAME: usize = 24;

/// What an enclave returns.
#[derive(Serialize, Deserialize)]
pub(crate) enum Reply<'a> {
    /// The command's result.
    Done(#[serde(borrow)] &'a [u8]),
    /// The command waits for its host.
    Ask(#[serde(borrow)] Question<'a>),
}

/// What a command asks its host.
#[derive(Serialize, Deserialize)]
pub(crate) struct Question<'a> {
    /// Counts the questions of a session, so that no answer is taken for another's.
    pub(crate) number: u32,
    pub(crate) command: u32,
    #[serde(borrow)]
    pub(crate) request: &'a [u8],
}

/// The request of [`RESUME`].
#[derive(Serialize, Deserialize)]
pub(crate) struct Answer<'a> {
    pub(crate) number: u32,
    /// `None` where the host refuses.
    #[serde(borrow)]
    pub(crate) result: Option<&'a [u8]>,
}

/// Encodes into `limit` bytes at most.
pub fn encode<M: Serialize>(message: &M, limit: usize) -> Result<Vec<u8>, EnclaveError> {
    let mut out = vec![0; limit];
    let used = postcard::to_slice(message, &mut out).map_err(|_| EnclaveError::REPLY_TOO_LONG)?.len();
    out.truncate(used);
    Ok(out)
}

/// Decodes all of `bytes`; anything left over is an error.
pub fn decode<'a, M: Deserialize<'a>>(bytes: &'a [u8]) -> Result<M, EnclaveError> {
    match postcard::take_from_bytes(bytes) {
        Ok((message, [])) => Ok(message),
        _ => Err(EnclaveError::BAD_REQUEST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_over_and_nothing_is_too_long() {
        assert_eq!(decode::<(u8, &str)>(&[7, 1, b'x']), Ok((7, "x")));
        for bad in [&[][..], &[7], &[7, 2, b'x'], &[7, 1, b'x', 0], &[7, 0xff, 0xff, 0xff, 0xff, 0xff]] {
            assert_eq!(decode::<(u8, &str)>(bad), Err(EnclaveError::BAD_REQUEST), "{bad:?}");
        }
        assert_eq!(encode(&[1_u8; 4], 4), Ok(vec![1; 4]));
        assert_eq!(encode(&[1_u8; 5], 4), Err(EnclaveError::REPLY_TOO_LONG));
    }

    #[test]
    fn a_frame_is_no_longer_than_its_limit() {
        let longest = Reply::Ask(Question { number: u32::MAX, command: u32::MAX, request: &[0; 1 << 20] });
        assert!(encode(&longest, (1 << 20) + FRAME).is_ok());
        let longest = Answer { number: u32::MAX, result: Some(&[0; 1 << 20]) };
        assert!(encode(&longest, (1 << 20) + FRAME).is_ok());
    }
}

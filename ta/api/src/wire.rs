//! Encoding and decoding, in one place: postcard, exact, no allocation.

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Encodes `message` into `out`; returns the bytes used.
pub fn encode<'a, M: Serialize>(message: &M, out: &'a mut [u8]) -> Result<&'a [u8], Error> {
    postcard::to_slice(message, out).map(|used| &*used).map_err(|_| Error::ShortBuffer)
}

/// Decodes all of `bytes`; anything left over is an error.
pub fn decode<'a, M: Deserialize<'a>>(bytes: &'a [u8]) -> Result<M, Error> {
    match decode_prefix(bytes)? {
        (message, []) => Ok(message),
        _ => Err(Error::BadMessage),
    }
}

/// Decodes the front of `bytes` and returns what follows it.
pub fn decode_prefix<'a, M: Deserialize<'a>>(bytes: &'a [u8]) -> Result<(M, &'a [u8]), Error> {
    postcard::take_from_bytes(bytes).map_err(|_| Error::BadMessage)
}

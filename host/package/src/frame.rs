//! The CPK frame, version 1: a header, a table of streams, the streams. Reader and writer.
//!
//! All numbers are little-endian.
//!
//! | offset | size | field |
//! | --- | --- | --- |
//! | 0 | 4 | magic `0x0ECCF00D` |
//! | 4 | 2 | frame version, 1 |
//! | 6 | 2 | flags, 0 |
//! | 8 | 2 | number of streams |
//! | 10 | 2 | index of the manifest's stream |
//! | 12 | 2 | manifest type, 1 (JSON) |
//! | 14 | 2 | manifest version, 1 |
//! | 16 | 16 each | (u64 offset, u64 size) of each stream; offsets count from the first byte after the table |
//!
//! The reader takes exactly what the writer writes: streams in order, without gaps, and nothing behind the last
//! one, so that a frame holds no byte that belongs to no stream.

#[cfg(feature = "alloc")]
use alloc::vec::Vec;
use core::ops::Range;

use arrayvec::ArrayVec;
use thiserror::Error;

/// The first four bytes, as a number.
pub const MAGIC: u32 = 0x0ECC_F00D;
/// Streams in a frame at most.
pub const MAX_STREAMS: usize = 32;
/// Bytes of the header.
pub const HEADER_SIZE: usize = 16;
/// Bytes of one entry of the table.
pub const ENTRY_SIZE: usize = 16;

const FRAME_VERSION: u16 = 1;
const FLAGS: u16 = 0;
const MANIFEST_TYPE: u16 = 1;
const MANIFEST_VERSION: u16 = 1;

/// The streams of a frame, in order.
pub type Streams<'a> = ArrayVec<&'a [u8], MAX_STREAMS>;

/// A frame taken apart; borrows the bytes it was read from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    /// The streams, in order.
    pub streams: Streams<'a>,
    /// Which of them is the manifest; always one of them.
    pub manifest: usize,
}

/// Why bytes are not a frame.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The end comes too early.
    #[error("{part} needs {need} bytes, the file has {have}")]
    Truncated {
        /// What is cut.
        part: &'static str,
        /// Length of the file that it needs.
        need: u64,
        /// Length of the file.
        have: u64,
    },
    /// A field of the header has a value this version does not know.
    #[error("{field} at offset {offset} is {found:#x}, expected {expected:#x}")]
    Header {
        /// The field.
        field: &'static str,
        /// Where it is in the file.
        offset: usize,
        /// Its value.
        found: u32,
        /// The value it must have.
        expected: u32,
    },
    /// Too few or too many streams.
    #[error("stream count at offset 8 is {0}, allowed are 1 to {MAX_STREAMS}")]
    StreamCount(usize),
    /// The manifest is none of the streams.
    #[error("manifest index at offset 10 is {index}, the frame has {count} streams")]
    ManifestIndex {
        /// The index in the header.
        index: usize,
        /// Number of streams.
        count: usize,
    },
    /// Offset and size of a stream have no sum in 64 bits.
    #[error("stream {stream}: offset {offset} and size {size} overflow")]
    Overflow {
        /// Index of the stream.
        stream: usize,
        /// Its offset.
        offset: u64,
        /// Its size.
        size: u64,
    },
    /// A stream ends behind the end of the file.
    #[error("stream {stream}: offset {offset} and size {size} exceed the {available} bytes of data")]
    OutOfRange {
        /// Index of the stream.
        stream: usize,
        /// Its offset.
        offset: u64,
        /// Its size.
        size: u64,
        /// Bytes behind the table.
        available: u64,
    },
    /// A stream starts inside the one before it.
    #[error("stream {stream}: offset {offset} overlaps the stream before it, which ends at {end}")]
    Overlap {
        /// Index of the stream.
        stream: usize,
        /// Its offset.
        offset: u64,
        /// End of the stream before it.
        end: u64,
    },
    /// Bytes between two streams belong to none.
    #[error("stream {stream}: offset {offset} leaves a gap to the stream before it, which ends at {end}")]
    Gap {
        /// Index of the stream.
        stream: usize,
        /// Its offset.
        offset: u64,
        /// End of the stream before it.
        end: u64,
    },
    /// Bytes behind the last stream belong to none.
    #[error("{extra} bytes follow the last stream, which ends at offset {end}")]
    Trailing {
        /// End of the last stream.
        end: u64,
        /// Bytes behind it.
        extra: u64,
    },
}

impl<'a> Frame<'a> {
    /// Takes a frame apart.
    pub fn read(bytes: &'a [u8]) -> Result<Self, FrameError> {
        let header = bytes.first_chunk().ok_or_else(|| truncated("the header", HEADER_SIZE, bytes))?;
        check_header(header)?;
        let (count, manifest) = (usize::from(u16_at(header, 8)), usize::from(u16_at(header, 10)));
        check_counts(count, manifest)?;
        let data_start = data_start(count);
        let (front, data) = bytes
            .split_at_checked(data_start)
            .ok_or_else(|| truncated("the table of streams", data_start, bytes))?;
        let table = front.get(HEADER_SIZE..).unwrap_or_default();
        Ok(Self { streams: read_streams(table, data)?, manifest })
    }

    /// Where a stream starts, from the first byte of the file.
    pub fn offset(&self, stream: usize) -> u64 {
        let before: usize = self.streams.iter().take(stream).map(|stream| stream.len()).sum();
        (data_start(self.streams.len()) + before) as u64
    }

    /// A frame of these streams.
    ///
    /// # Errors
    ///
    /// The number of streams or the manifest's index is out of bounds.
    pub fn new(streams: &[&'a [u8]], manifest: usize) -> Result<Self, FrameError> {
        check_counts(streams.len(), manifest)?;
        Ok(Self { streams: streams.iter().copied().collect(), manifest })
    }

    /// The bytes of the frame.
    ///
    /// # Errors
    ///
    /// The number of streams or the manifest's index is out of bounds.
    #[cfg(feature = "alloc")]
    pub fn write(&self) -> Result<Vec<u8>, FrameError> {
        let sizes: ArrayVec<usize, MAX_STREAMS> = self.streams.iter().map(|stream| stream.len()).collect();
        let mut out = front(&sizes, self.manifest)?;
        out.reserve_exact(sizes.iter().sum());
        self.streams.iter().for_each(|stream| out.extend_from_slice(stream));
        Ok(out)
    }
}

/// Header and table of a frame whose streams have these sizes.
#[cfg(feature = "alloc")]
pub fn front(sizes: &[usize], manifest: usize) -> Result<Vec<u8>, FrameError> {
    let count = sizes.len();
    check_counts(count, manifest)?;
    let mut out = Vec::with_capacity(data_start(count));
    out.extend(MAGIC.to_le_bytes());
    let fields = [FRAME_VERSION, FLAGS, count as u16, manifest as u16, MANIFEST_TYPE, MANIFEST_VERSION];
    fields.iter().for_each(|field| out.extend(field.to_le_bytes()));
    let mut offset = 0u64;
    for size in sizes {
        out.extend(offset.to_le_bytes());
        out.extend((*size as u64).to_le_bytes());
        offset += *size as u64;
    }
    Ok(out)
}

/// Where the first stream of so many starts.
pub const fn data_start(count: usize) -> usize {
    HEADER_SIZE + count * ENTRY_SIZE
}

fn check_counts(count: usize, manifest: usize) -> Result<(), FrameError> {
    if !(1..=MAX_STREAMS).contains(&count) {
        return Err(FrameError::StreamCount(count));
    }
    if manifest >= count {
        return Err(FrameError::ManifestIndex { index: manifest, count });
    }
    Ok(())
}

fn check_header(header: &[u8; HEADER_SIZE]) -> Result<(), FrameError> {
    let [a, b, c, d, ..] = *header;
    let fields = [
        ("magic", 0, u32::from_le_bytes([a, b, c, d]), MAGIC),
        ("frame version", 4, u16_at(header, 4).into(), FRAME_VERSION.into()),
        ("flags", 6, u16_at(header, 6).into(), FLAGS.into()),
        ("manifest type", 12, u16_at(header, 12).into(), MANIFEST_TYPE.into()),
        ("manifest version", 14, u16_at(header, 14).into(), MANIFEST_VERSION.into()),
    ];
    match fields.into_iter().find(|(_, _, found, expected)| found != expected) {
        Some((field, offset, found, expected)) => Err(FrameError::Header { field, offset, found, expected }),
        None => Ok(()),
    }
}

fn read_streams<'a>(table: &[u8], data: &'a [u8]) -> Result<Streams<'a>, FrameError> {
    let (available, mut end) = (data.len() as u64, 0);
    let mut streams = Streams::new();
    for (stream, entry) in table.as_chunks::<ENTRY_SIZE>().0.iter().enumerate() {
        let (offset, size) = (number(entry, 0..8), number(entry, 8..16));
        let next = offset.checked_add(size).ok_or(FrameError::Overflow { stream, offset, size })?;
        if offset < end {
            return Err(FrameError::Overlap { stream, offset, end });
        }
        let out_of_range = FrameError::OutOfRange { stream, offset, size, available };
        if next > available {
            return Err(out_of_range);
        }
        if offset > end {
            return Err(FrameError::Gap { stream, offset, end });
        }
        // Both are at most the length of a slice, and the table has no more entries than there is room for.
        let bytes = data.get(offset as usize..next as usize).ok_or(out_of_range)?;
        streams.try_push(bytes).map_err(|_| FrameError::StreamCount(stream))?;
        end = next;
    }
    match available - end {
        0 => Ok(streams),
        extra => Err(FrameError::Trailing { end, extra }),
    }
}

fn truncated(part: &'static str, need: usize, bytes: &[u8]) -> FrameError {
    FrameError::Truncated { part, need: need as u64, have: bytes.len() as u64 }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    number(bytes, at..at + 2) as u16
}

/// A little-endian number; 0 where the bytes are not there, which callers have made sure of.
fn number(bytes: &[u8], at: Range<usize>) -> u64 {
    let low_to_high = bytes.get(at).unwrap_or_default().iter().rev();
    low_to_high.fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests;

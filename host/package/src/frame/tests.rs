//! Tests of the frame: layout, every truncation, every bit flip, and every way a table can lie.

use proptest::prelude::*;

use super::*;

const STREAMS: [&[u8]; 4] = [b"ciphertext", b"", b"{json}", b"trusted"];

fn sample() -> Vec<u8> {
    Frame::new(&STREAMS, 2).unwrap().write().unwrap()
}

/// The sample with one entry of its table replaced.
fn with_entry(stream: usize, offset: u64, size: u64) -> Vec<u8> {
    let mut bytes = sample();
    let at = HEADER_SIZE + stream * ENTRY_SIZE;
    bytes[at..at + 8].copy_from_slice(&offset.to_le_bytes());
    bytes[at + 8..at + 16].copy_from_slice(&size.to_le_bytes());
    bytes
}

#[test]
fn layout_is_the_documented_one() {
    let bytes = Frame::new(&[b"ab", b"cde"], 1).unwrap().write().unwrap();
    let mut expected = vec![0x0d, 0xf0, 0xcc, 0x0e, 1, 0, 0, 0, 2, 0, 1, 0, 1, 0, 1, 0];
    for number in [0u64, 2, 2, 3] {
        expected.extend(number.to_le_bytes());
    }
    expected.extend(b"abcde");
    assert_eq!(bytes, expected);
}

#[test]
fn every_truncation_is_refused() {
    let bytes = sample();
    for length in 0..bytes.len() {
        assert!(Frame::read(&bytes[..length]).is_err(), "length {length}");
    }
    assert_eq!(Frame::read(&bytes).unwrap().streams.as_slice(), STREAMS);
}

#[test]
fn every_bit_flip_before_the_data_is_refused_or_harmless() {
    let bytes = sample();
    for bit in 0..8 * (HEADER_SIZE + STREAMS.len() * ENTRY_SIZE) {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let in_manifest_index = (8 * 10..8 * 12).contains(&bit);
        match Frame::read(&flipped) {
            Ok(frame) => assert!(in_manifest_index && frame.streams.as_slice() == STREAMS, "bit {bit}"),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

#[test]
fn lies_of_the_table_are_named() {
    let refused = |bytes: &[u8]| Frame::read(bytes).unwrap_err();
    let (offset, size) = (u64::MAX, 1);
    assert_eq!(refused(&with_entry(1, offset, size)), FrameError::Overflow { stream: 1, offset, size });
    assert_eq!(
        refused(&with_entry(3, 16, 8)),
        FrameError::OutOfRange { stream: 3, offset: 16, size: 8, available: 23 }
    );
    assert_eq!(refused(&with_entry(2, 9, 6)), FrameError::Overlap { stream: 2, offset: 9, end: 10 });
    assert_eq!(refused(&with_entry(2, 11, 5)), FrameError::Gap { stream: 2, offset: 11, end: 10 });
    let mut longer = sample();
    longer.push(0);
    assert_eq!(refused(&longer), FrameError::Trailing { end: 23, extra: 1 });
}

#[test]
fn header_fields_are_bounded() {
    let with_u16 = |at: usize, value: u16| {
        let mut bytes = sample();
        bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
        Frame::read(&bytes).unwrap_err()
    };
    assert_eq!(with_u16(8, 0), FrameError::StreamCount(0));
    assert_eq!(with_u16(8, 33), FrameError::StreamCount(33));
    assert_eq!(with_u16(8, u16::MAX), FrameError::StreamCount(65535));
    assert_eq!(with_u16(10, 4), FrameError::ManifestIndex { index: 4, count: 4 });
    for (at, field) in [(4, "frame version"), (6, "flags"), (12, "manifest type"), (14, "manifest version")] {
        let text = with_u16(at, 7).to_string();
        assert!(text.starts_with(&format!("{field} at offset {at} is 0x7, expected")), "{text}");
    }
}

#[test]
fn writer_refuses_what_the_reader_would() {
    assert_eq!(Frame::new(&[], 0), Err(FrameError::StreamCount(0)));
    assert_eq!(Frame::new(&[b"".as_slice(); 33], 0), Err(FrameError::StreamCount(33)));
    assert_eq!(Frame::new(&[b""], 1), Err(FrameError::ManifestIndex { index: 1, count: 1 }));
    let none = Frame { streams: Streams::new(), manifest: 0 };
    assert_eq!(none.write(), Err(FrameError::StreamCount(0)));
    let outside = Frame { streams: Streams::from_iter([b"".as_slice()]), manifest: 1 };
    assert_eq!(outside.write(), Err(FrameError::ManifestIndex { index: 1, count: 1 }));
}

#[test]
fn offsets_are_those_of_the_file() {
    let bytes = sample();
    let frame = Frame::read(&bytes).unwrap();
    for (index, stream) in frame.streams.iter().enumerate() {
        assert!(bytes[frame.offset(index) as usize..].starts_with(stream), "stream {index}");
    }
    assert_eq!(frame.offset(0), 80);
}

proptest! {
    #[test]
    fn what_is_written_is_read(streams in proptest::collection::vec(any::<Vec<u8>>(), 1..=MAX_STREAMS), pick in any::<usize>()) {
        let frame = Frame { manifest: pick % streams.len(), streams: streams.iter().map(Vec::as_slice).collect() };
        let bytes = frame.write().unwrap();
        prop_assert_eq!(Frame::read(&bytes).unwrap(), frame);
    }

    #[test]
    fn what_is_read_is_written(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let header = sample();
        let front = bytes.len().min(8);
        bytes[..front].copy_from_slice(&header[..front]);
        if let Ok(frame) = Frame::read(&bytes) {
            prop_assert_eq!(&frame.write().unwrap(), &bytes);
        }
    }
}

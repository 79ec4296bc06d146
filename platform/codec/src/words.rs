//! Little-endian words of a file, by octet offset. Lengths are checked, nothing is believed.

use crate::Error;

/// The word at an offset.
pub(crate) fn word(bytes: &[u8], at: usize, what: &'static str) -> Result<u32, Error> {
    Ok(u32::from_le_bytes(array(bytes, at, what)?))
}

/// The double word at an offset.
pub(crate) fn double(bytes: &[u8], at: usize, what: &'static str) -> Result<u64, Error> {
    Ok(u64::from_le_bytes(array(bytes, at, what)?))
}

/// `N` octets at an offset.
pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize, what: &'static str) -> Result<[u8; N], Error> {
    let end = at.saturating_add(N);
    let found = bytes.get(at..end).and_then(|part| part.try_into().ok());
    found.ok_or(Error::Truncated(what, end, bytes.len()))
}

/// Appends words.
pub(crate) fn push(bytes: &mut Vec<u8>, words: &[u32]) {
    words.iter().for_each(|word| bytes.extend(word.to_le_bytes()));
}

/// The sum of all words, modulo 2^32.
pub(crate) fn sum(bytes: &[u8]) -> u32 {
    let words = bytes
        .chunks_exact(4)
        .map(|part| part.iter().rev().fold(0, |word, octet| word << 8 | u32::from(*octet)));
    words.fold(0, u32::wrapping_add)
}

/// CRC-32 as in IEEE 802.3.
pub fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, octet| {
        (0..8).fold(crc ^ u32::from(*octet), |crc, _| crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_of_the_check_string() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn words_at_the_end_are_checked() {
        assert_eq!(word(&[1, 2, 3, 4], 0, "w"), Ok(0x0403_0201));
        assert_eq!(word(&[1, 2, 3, 4], 1, "w"), Err(Error::Truncated("w", 5, 4)));
        assert!(word(&[1], usize::MAX, "w").is_err());
        assert_eq!(sum(&[0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0]), 1);
    }
}

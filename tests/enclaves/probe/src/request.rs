//! Takes requests apart.

use core::str::FromStr;

/// The whole request as text.
pub fn text(request: &[u8]) -> Option<&str> {
    str::from_utf8(request).ok()
}

/// The whole request as a decimal number.
pub fn number<T: FromStr>(request: &[u8]) -> Option<T> {
    text(request)?.parse().ok()
}

/// The first word, and what follows the space after it.
pub fn pair(request: &[u8]) -> Option<(&str, &str)> {
    text(request)?.split_once(' ')
}

/// Two decimal numbers.
pub fn numbers<A: FromStr, B: FromStr>(request: &[u8]) -> Option<(A, B)> {
    let (first, second) = pair(request)?;
    Some((first.parse().ok()?, second.parse().ok()?))
}

/// Flips one bit, counted from the lowest of the first byte.
pub fn flip(bytes: &mut [u8], bit: usize) -> Option<()> {
    *bytes.get_mut(bit / 8)? ^= 1 << (bit % 8);
    Some(())
}

/// A value as it is sealed: filled up with zeros.
pub fn padded<const N: usize>(value: &str) -> Option<[u8; N]> {
    let mut out = [0; N];
    out.get_mut(..value.len())?.copy_from_slice(value.as_bytes());
    Some(out)
}

/// The value without what filled it up.
pub fn unpadded(sealed: &[u8]) -> &[u8] {
    let end = sealed.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    sealed.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_numbers() {
        assert_eq!(pair(b"name a value"), Some(("name", "a value")));
        assert_eq!(numbers(b"3 18446744073709551615"), Some((3_u8, u64::MAX)));
        assert_eq!(number(b"17"), Some(17_u32));
        for bad in [&b""[..], b"3", b"3 ", b"x 1", b"256 1", b"\xff 1"] {
            assert_eq!(numbers::<u8, u64>(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn bits_are_counted_from_the_first_byte() {
        let mut bytes = [0, 0];
        assert_eq!(
            (flip(&mut bytes, 0), flip(&mut bytes, 15), flip(&mut bytes, 16)),
            (Some(()), Some(()), None)
        );
        assert_eq!(bytes, [0x01, 0x80]);
    }

    #[test]
    fn padding_comes_off_again() {
        for value in ["", "x", "12345678"] {
            assert_eq!(unpadded(&padded::<8>(value).unwrap()), value.as_bytes());
        }
        assert_eq!(padded::<8>("123456789"), None);
    }
}

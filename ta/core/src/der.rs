//! The little of DER (ITU-T X.690) that keys and certification requests need.

use arrayvec::ArrayVec;
use trustbox_api::Error;

/// Bytes of the longest element.
const MAX: usize = 1280;

/// An encoded element.
pub type Element = ArrayVec<u8, MAX>;

pub const INTEGER: u8 = 0x02;
pub const BIT_STRING: u8 = 0x03;
pub const UTF8_STRING: u8 = 0x0c;
pub const PRINTABLE_STRING: u8 = 0x13;
pub const SEQUENCE: u8 = 0x30;
pub const SET: u8 = 0x31;
/// `[0]`, constructed, in place of a SET.
pub const CONTEXT_0: u8 = 0xa0;

/// An element with `parts` as its content.
pub fn element(tag: u8, parts: &[&[u8]]) -> Result<Element, Error> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let [high, low] = u16::try_from(length).map_err(|_| Error::Internal)?.to_be_bytes();
    let head: &[u8] = match length {
        0..0x80 => &[tag, low],
        0x80..0x100 => &[tag, 0x81, low],
        _ => &[tag, 0x82, high, low],
    };
    let mut out = Element::new();
    for part in [head].iter().chain(parts) {
        out.try_extend_from_slice(part).map_err(|_| Error::Internal)?;
    }
    Ok(out)
}

/// A positive INTEGER: no leading zeros, but one where the top bit is set.
pub fn integer(big_endian: &[u8]) -> Result<Element, Error> {
    let first = big_endian.iter().position(|&byte| byte != 0).ok_or(Error::Internal)?;
    let digits = big_endian.get(first..).ok_or(Error::Internal)?;
    let sign: &[u8] = if digits.first().is_some_and(|&top| top >= 0x80) { &[0] } else { &[] };
    element(INTEGER, &[sign, digits])
}

/// A BIT STRING of whole bytes.
pub fn bit_string(bytes: &[u8]) -> Result<Element, Error> {
    element(BIT_STRING, &[&[0], bytes])
}

//! Why bytes or values were refused: what, on which object, the two values.

use std::fmt;

/// A refusal; its text names the object and both values.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Error {
    /// A file ends before something it must have: what, the octets it needs, the octets there are.
    Truncated(&'static str, usize, usize),
    /// A fixed word is another: what, expected, found.
    Magic(&'static str, u32, u32),
    /// A sum is wrong: what, expected, found.
    Checksum(&'static str, u32, u32),
    /// A command word that no command has: the word, the octet it is at.
    Command(u32, usize),
    /// A field name that the RCW does not have.
    UnknownField(String),
    /// A value that a field cannot hold: field, value, the largest it holds.
    FieldValue(String, u64, u64),
    /// A number that must be a multiple of another: what, the number, the multiple.
    Alignment(&'static str, u64, u64),
    /// Something larger than its room: what, its octets, the octets there are.
    TooLarge(&'static str, u64, u64),
    /// A length is told wrongly: what, the words there are, the words told.
    Length(&'static str, usize, usize),
    /// Two things at the same place: what, where the first ends, where the second starts.
    Overlap(&'static str, u64, u64),
    /// A key that must not sign any more, counted from one.
    Revoked(u8),
    /// Something is there twice, or lacks: what, how many.
    Count(&'static str, usize),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated(what, needed, found) => {
                write!(f, "{what} is truncated: it needs {needed} octets, {found} are there")
            }
            Self::Magic(what, expected, found) => {
                write!(f, "{what} is 0x{found:08x}, not 0x{expected:08x}")
            }
            Self::Checksum(what, expected, found) => {
                write!(f, "{what} is 0x{found:08x}, the words sum up to 0x{expected:08x}")
            }
            Self::Command(word, at) => write!(f, "0x{word:08x} at octet {at} is no PBI command"),
            Self::UnknownField(name) => write!(f, "the RCW has no field {name}"),
            Self::FieldValue(name, value, most) => {
                write!(f, "RCW field {name} cannot hold {value}, its largest value is {most}")
            }
            Self::Alignment(what, value, multiple) => {
                write!(f, "{what} is 0x{value:x}, which is no multiple of {multiple}")
            }
            Self::TooLarge(what, size, room) => {
                write!(f, "{what} has {size} octets, there is room for {room}")
            }
            Self::Length(what, found, told) => write!(f, "{what} says {told} words, {found} are there"),
            Self::Overlap(what, end, start) => {
                write!(f, "{what}: the first ends at 0x{end:x}, the second starts at 0x{start:x}")
            }
            Self::Revoked(key) => write!(f, "super root key {key} is revoked, it cannot sign"),
            Self::Count(what, count) => write!(f, "{what}: {count} found, one expected"),
        }
    }
}

impl std::error::Error for Error {}

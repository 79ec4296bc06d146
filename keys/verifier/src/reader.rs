//! CBOR as tokens may have it: definite lengths, bounded nesting, every item whole.

use minicbor::Decoder;
use minicbor::data::Type;

/// How deep arrays, maps and tags may be nested where nobody looks.
const MAX_DEPTH: usize = 8;

/// A value is not what it must be, and why.
pub(crate) type Fault = &'static str;

/// A decoder that says what it found wrong.
pub(crate) struct Reader<'a>(Decoder<'a>);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(Decoder::new(bytes))
    }

    /// Nothing may be left.
    pub(crate) fn end(&self) -> Result<(), Fault> {
        if self.0.position() == self.0.input().len() { Ok(()) } else { Err("bytes are left over") }
    }

    pub(crate) fn tag(&mut self) -> Result<u64, Fault> {
        self.0.tag().map(|tag| tag.as_u64()).map_err(|_| "no tag")
    }

    pub(crate) fn array(&mut self) -> Result<u64, Fault> {
        definite(self.0.array().map_err(|_| "not an array")?)
    }

    pub(crate) fn map(&mut self) -> Result<u64, Fault> {
        definite(self.0.map().map_err(|_| "not a map")?)
    }

    /// A byte string in one piece.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Fault> {
        self.0.bytes().map_err(|_| "not a byte string of definite length")
    }

    pub(crate) fn bytes_of<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        self.bytes()?.try_into().map_err(|_| "a byte string of another length")
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Fault> {
        self.0.str().map_err(|_| "not a text of definite length")
    }

    pub(crate) fn integer(&mut self) -> Result<i64, Fault> {
        self.0.i64().map_err(|_| "not an integer")
    }

    pub(crate) fn unsigned(&mut self) -> Result<u64, Fault> {
        self.0.u64().map_err(|_| "not an unsigned integer")
    }

    /// The key of a claim: a number, or `None` for a name.
    pub(crate) fn key(&mut self) -> Result<Result<i64, &'a str>, Fault> {
        match self.0.datatype().map_err(|_| "cut short")? {
            Type::String => self.text().map(Err),
            _ => self.integer().map(Ok).map_err(|_| "a key that is neither number nor text"),
        }
    }

    /// Passes over a value of any kind.
    pub(crate) fn skip(&mut self) -> Result<(), Fault> {
        self.skip_nested(MAX_DEPTH)
    }

    fn skip_nested(&mut self, depth: usize) -> Result<(), Fault> {
        let depth = depth.checked_sub(1).ok_or("nested too deeply")?;
        match self.0.datatype().map_err(|_| "cut short")? {
            Type::Array => (0..self.array()?).try_for_each(|_| self.skip_nested(depth)),
            Type::Map => (0..self.map()?).try_for_each(|_| {
                self.skip_nested(depth)?;
                self.skip_nested(depth)
            }),
            Type::Tag => self.tag().and_then(|_| self.skip_nested(depth)),
            Type::Bytes => self.bytes().map(drop),
            Type::String => self.text().map(drop),
            Type::BytesIndef | Type::StringIndef | Type::ArrayIndef | Type::MapIndef | Type::Break => {
                Err("of indefinite length")
            }
            _ => self.0.skip().map_err(|_| "cut short"),
        }
    }
}

fn definite(length: Option<u64>) -> Result<u64, Fault> {
    length.ok_or("of indefinite length")
}

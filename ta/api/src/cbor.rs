//! CBOR in deterministic encoding (RFC 8949, 4.2.1), into a buffer that may be too short: what a token needs, and no more.

/// There is no room.
pub(crate) struct Full;

/// Writes items one behind the other.
pub(crate) struct Encoder<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl<'a> Encoder<'a> {
    /// Begins at the start of `out`.
    pub(crate) fn new(out: &'a mut [u8]) -> Self {
        Self { out, at: 0 }
    }

    /// Bytes written.
    pub(crate) fn length(&self) -> usize {
        self.at
    }

    /// The front of a map of so many pairs.
    pub(crate) fn map(&mut self, pairs: usize) -> Result<&mut Self, Full> {
        self.head(5, pairs as u64)
    }

    /// The front of an array of so many items.
    pub(crate) fn array(&mut self, items: usize) -> Result<&mut Self, Full> {
        self.head(4, items as u64)
    }

    /// A byte string.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<&mut Self, Full> {
        self.head(2, bytes.len() as u64)?.raw(bytes)
    }

    /// A text.
    pub(crate) fn text(&mut self, text: &str) -> Result<&mut Self, Full> {
        self.head(3, text.len() as u64)?.raw(text.as_bytes())
    }

    /// A number.
    pub(crate) fn integer(&mut self, number: impl Into<i128>) -> Result<&mut Self, Full> {
        let number = number.into();
        let (major, argument) = if number < 0 { (1, -1 - number) } else { (0, number) };
        self.head(major, u64::try_from(argument).map_err(|_| Full)?)
    }

    /// Major type and argument in as few bytes as there can be.
    fn head(&mut self, major: u8, argument: u64) -> Result<&mut Self, Full> {
        let (size, code) = match argument {
            0..24 => (0, argument as u8),
            24..0x100 => (1, 24),
            0x100..0x1_0000 => (2, 25),
            0x1_0000..0x1_0000_0000 => (4, 26),
            _ => (8, 27),
        };
        let bytes = argument.to_be_bytes();
        self.raw(&[major << 5 | code])?.raw(bytes.get(8 - size..).ok_or(Full)?)
    }

    fn raw(&mut self, bytes: &[u8]) -> Result<&mut Self, Full> {
        let end = self.at.checked_add(bytes.len()).ok_or(Full)?;
        self.out.get_mut(self.at..end).ok_or(Full)?.copy_from_slice(bytes);
        self.at = end;
        Ok(self)
    }
}

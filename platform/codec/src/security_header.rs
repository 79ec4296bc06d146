//! The header NXP's secure boot wants before what it verifies: "command sequence file" header of trust architecture 3.1 and 3.2.

use crate::Error;
use crate::words::{array, double, word};

/// Octets of a header.
pub const SIZE: usize = 0x50;
const BARKER: u32 = 0x0120_1912;
const WHAT: &str = "security header";
/// Where in the header each part is.
const KEY_TABLE: usize = 0x04;
const KEYS: usize = 0x08;
const SIGNATURE: usize = 0x10;
const SIGNATURE_SIZE: usize = 0x14;
const TABLE: usize = 0x18;
const ENTRIES: usize = 0x1c;
const ENTRY_POINT: usize = 0x20;
const IDS: usize = 0x28;

/// What a header says. Offsets count from its first octet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SecurityHeader {
    /// Table of super root keys.
    pub key_table: u32,
    /// Keys in the table.
    pub keys: u8,
    /// The key that signs, counted from one.
    pub key: u8,
    /// Flags: 0x40 for BL2, 0x20 for an image signing key.
    pub flags: u8,
    /// The signature.
    pub signature: u32,
    /// Octets of the signature.
    pub signature_size: u32,
    /// Table of what is signed.
    pub table: u32,
    /// Its entries.
    pub entries: u32,
    /// Address of the first instruction.
    pub entry_point: u64,
    /// NXP's and the manufacturer's ids that the fuses must have.
    pub ids: [u32; 7],
}

impl SecurityHeader {
    /// Reads a header at the start of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let _: [u8; SIZE] = array(bytes, 0, WHAT)?;
        let barker = word(bytes, 0, WHAT)?;
        if barker != BARKER {
            return Err(Error::Magic("barker code of the security header", BARKER, barker));
        }
        let [keys, key, _, flags] = array(bytes, KEYS, WHAT)?;
        let mut ids = [0; 7];
        for (number, id) in ids.iter_mut().enumerate() {
            *id = word(bytes, IDS + 4 * number, WHAT)?;
        }
        Ok(Self {
            key_table: word(bytes, KEY_TABLE, WHAT)?,
            keys,
            key,
            flags,
            signature: word(bytes, SIGNATURE, WHAT)?,
            signature_size: word(bytes, SIGNATURE_SIZE, WHAT)?,
            table: word(bytes, TABLE, WHAT)?,
            entries: word(bytes, ENTRIES, WHAT)?,
            entry_point: double(bytes, ENTRY_POINT, WHAT)?,
            ids,
        })
    }

    /// The header as bytes.
    pub fn encode(&self) -> [u8; SIZE] {
        let mut words =
            vec![BARKER, self.key_table, u32::from_le_bytes([self.keys, self.key, 0, self.flags]), 0];
        words.extend([self.signature, self.signature_size, self.table, self.entries]);
        words.extend([self.entry_point as u32, (self.entry_point >> 32) as u32]);
        words.extend(self.ids);
        let mut header = [0; SIZE];
        let places = header.chunks_exact_mut(4).zip(words);
        places.for_each(|(place, word)| place.copy_from_slice(&word.to_le_bytes()));
        header
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_what_it_decodes() {
        let header = SecurityHeader {
            key_table: 0x200,
            keys: 1,
            key: 1,
            flags: 0x60,
            signature: 0xa00,
            signature_size: 0x100,
            table: 0x800,
            entries: 1,
            entry_point: 0x1_1800_d000,
            ids: [1, 2, 3, 4, 5, 6, 7],
        };
        let bytes = header.encode();
        assert_eq!(bytes[..4], [0x12, 0x19, 0x20, 0x01]);
        assert_eq!(SecurityHeader::decode(&bytes), Ok(header));
        assert!((0..SIZE).all(|length| SecurityHeader::decode(&bytes[..length]).is_err()));
        assert!(SecurityHeader::decode(&[0; SIZE]).is_err());
    }
}

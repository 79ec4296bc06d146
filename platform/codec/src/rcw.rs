//! The reset configuration word: 1024 bits that set clocks, pins and lanes before the first instruction.

use crate::Error;
use crate::fields::{self, FIELDS};

/// Octets of an RCW.
pub const SIZE: usize = 128;
/// The field with the number of PBI words; the encoder sets it.
pub const PBI_LENGTH: &str = "PBI_LENGTH";

/// A reset configuration word. Bit n is bit n mod 8 of octet n / 8.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rcw([u8; SIZE]);

impl Rcw {
    /// All bits zero.
    pub fn zero() -> Self {
        Self([0; SIZE])
    }

    /// The word as it is in a file.
    pub fn from_bytes(bytes: [u8; SIZE]) -> Self {
        Self(bytes)
    }

    /// The word as it is in a file.
    pub fn as_bytes(&self) -> &[u8; SIZE] {
        &self.0
    }

    /// A field's value; an error if there is no such field.
    pub fn get(&self, name: &str) -> Result<u32, Error> {
        let field = fields::find(name).ok_or_else(|| Error::UnknownField(name.to_owned()))?;
        Ok((field.low..=field.high).rev().fold(0, |value, bit| value << 1 | u32::from(self.bit(bit))))
    }

    /// Sets a field; an error if there is none of that name or it cannot hold the value.
    pub fn set(&mut self, name: &str, value: u64) -> Result<(), Error> {
        let field = fields::find(name).ok_or_else(|| Error::UnknownField(name.to_owned()))?;
        let most = u64::from(field.most());
        if value > most {
            return Err(Error::FieldValue(name.to_owned(), value, most));
        }
        (field.low..=field.high).for_each(|bit| self.set_bit(bit, value >> (bit - field.low) & 1 == 1));
        Ok(())
    }

    /// Every field that is not zero, by bit number.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, u32)> {
        let values = FIELDS.iter().filter_map(|field| Some((field.name, self.get(field.name).ok()?)));
        values.filter(|(_, value)| *value != 0)
    }

    /// Bits that are set and belong to no field.
    pub fn unnamed(&self) -> impl Iterator<Item = usize> {
        let named = |bit: &usize| FIELDS.iter().any(|field| (field.low..=field.high).contains(bit));
        (0..SIZE * 8).filter(|bit| self.bit(*bit)).filter(move |bit| !named(bit))
    }

    fn bit(&self, bit: usize) -> bool {
        self.0.get(bit / 8).is_some_and(|octet| octet >> (bit % 8) & 1 == 1)
    }

    fn set_bit(&mut self, bit: usize, on: bool) {
        if let Some(octet) = self.0.get_mut(bit / 8) {
            *octet = *octet & !(1 << (bit % 8)) | u8::from(on) << (bit % 8);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_holds_its_largest_value_and_disturbs_no_other() {
        for field in FIELDS {
            let mut rcw = Rcw::zero();
            rcw.set(field.name, u64::from(field.most())).unwrap();
            assert_eq!(rcw.fields().collect::<Vec<_>>(), [(field.name, field.most())]);
            assert_eq!(rcw.unnamed().count(), 0);
            rcw.set(field.name, 0).unwrap();
            assert_eq!(rcw, Rcw::zero());
        }
    }

    #[test]
    fn values_and_names_are_checked() {
        let mut rcw = Rcw::zero();
        let error = rcw.set("BOOT_LOC", 32).unwrap_err();
        assert_eq!(error.to_string(), "RCW field BOOT_LOC cannot hold 32, its largest value is 31");
        assert_eq!(rcw.set("BOOT_LOK", 1), Err(Error::UnknownField("BOOT_LOK".into())));
        assert_eq!(rcw, Rcw::zero());
    }

    #[test]
    fn reserved_bits_are_seen() {
        let mut bytes = [0; SIZE];
        bytes[0] = 0x80;
        assert_eq!(Rcw::from_bytes(bytes).unnamed().collect::<Vec<_>>(), [7]);
    }
}

//! The boot state: two records of which slot comes first and how often it may still be tried. U-Boot reads the newer one that is
//! whole and writes the other one, so that a power cut leaves one of them. They are not signed: whoever writes them chooses
//! between signed images.

use crate::words::crc32;

const MAGIC: u32 = 0x5342_4254;
const FORMAT: u32 = 1;
/// Octets of a record.
pub const RECORD: usize = 512;
/// From one record to the other.
pub const STRIDE: u64 = 0x800;
const CRC: usize = RECORD - 4;
/// A slot that was found to be good is tried as often as it takes.
pub const GOOD: u8 = 0xff;

/// One record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BootState {
    /// The higher one counts.
    pub generation: u64,
    /// Slots, the first one first.
    pub order: [u8; 2],
    /// Tries left of slot a and of slot b; [`GOOD`] has no end.
    pub tries: [u8; 2],
}

impl BootState {
    /// The record.
    pub fn encode(&self) -> [u8; RECORD] {
        let mut record = [0; RECORD];
        let head = [
            &MAGIC.to_le_bytes()[..],
            &FORMAT.to_le_bytes(),
            &self.generation.to_le_bytes(),
            &self.order,
            &self.tries,
        ];
        let head = head.concat();
        record[..head.len()].copy_from_slice(&head);
        let crc = crc32(&record[..CRC]);
        record[CRC..].copy_from_slice(&crc.to_le_bytes());
        record
    }

    /// `None` where U-Boot would not believe it.
    pub fn decode(record: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_le_bytes(record.get(at..at + 4)?.try_into().ok()?));
        let whole = word(0)? == MAGIC && word(4)? == FORMAT && word(CRC)? == crc32(record.get(..CRC)?);
        let generation = u64::from_le_bytes(record.get(8..16)?.try_into().ok()?);
        let [a, b, first, second] = record.get(16..20)?.try_into().ok()?;
        let order = [a, b];
        (whole && (order == [0, 1] || order == [1, 0])).then_some(Self {
            generation,
            order,
            tries: [first, second],
        })
    }

    /// The newer of two records, and the number of the one that is written next: not the one that was read.
    pub fn newer(records: [&[u8]; 2]) -> Option<(Self, u64)> {
        let [first, second] = records.map(Self::decode);
        match (first, second) {
            (Some(a), Some(b)) if b.generation > a.generation => Some((b, 0)),
            (Some(a), _) => Some((a, 1)),
            (None, b) => b.map(|state| (state, 0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: BootState = BootState { generation: 7, order: [1, 0], tries: [GOOD, 3] };

    #[test]
    fn records_are_whole_or_none() {
        let record = STATE.encode();
        assert_eq!(BootState::decode(&record), Some(STATE));
        assert_eq!(&record[..4], b"TBBS");
        for bit in 0..RECORD * 8 {
            let mut flipped = record;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(BootState::decode(&flipped), None, "bit {bit}");
        }
        assert!((0..RECORD).all(|length| BootState::decode(&record[..length]).is_none()));
    }

    #[test]
    fn an_order_has_both_slots() {
        for order in [[0, 0], [1, 1], [0, 2]] {
            assert_eq!(BootState::decode(&BootState { order, ..STATE }.encode()), None);
        }
    }

    #[test]
    fn the_newer_whole_record_counts_and_the_other_is_written() {
        let newer = BootState { generation: 8, ..STATE };
        let (old, new, torn) = (STATE.encode(), newer.encode(), [0; RECORD]);
        assert_eq!(BootState::newer([&old, &new]), Some((newer, 0)));
        assert_eq!(BootState::newer([&new, &old]), Some((newer, 1)));
        assert_eq!(BootState::newer([&torn, &old]), Some((STATE, 0)));
        assert_eq!(BootState::newer([&old, &torn]), Some((STATE, 1)));
        assert_eq!(BootState::newer([&torn, &torn]), None);
    }
}

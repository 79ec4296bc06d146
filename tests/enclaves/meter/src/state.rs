//! What the meter remembers.

use sha2::{Digest, Sha256};

/// Number of readings, their sum, and the chain over them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct State {
    /// How many readings.
    pub count: u64,
    /// Their sum in watt hours.
    pub total: u64,
    /// Chain: SHA-256 over the chain before, the number of the reading and the reading, big-endian; zero at first.
    pub chain: [u8; 32],
}

impl State {
    /// Bytes of an encoded state.
    pub const SIZE: usize = 48;

    /// The state after one more reading, or `None` where a number would overflow.
    pub fn after(&self, reading: u64) -> Option<Self> {
        let count = self.count.checked_add(1)?;
        let total = self.total.checked_add(reading)?;
        let digest = Sha256::new().chain_update(self.chain);
        let digest = digest.chain_update(count.to_be_bytes()).chain_update(reading.to_be_bytes());
        Some(Self { count, total, chain: digest.finalize().into() })
    }

    /// Numbers big-endian, then the chain.
    pub fn encode(&self) -> [u8; Self::SIZE] {
        let mut out = [0; Self::SIZE];
        let (count, rest) = out.split_at_mut(8);
        let (total, chain) = rest.split_at_mut(8);
        count.copy_from_slice(&self.count.to_be_bytes());
        total.copy_from_slice(&self.total.to_be_bytes());
        chain.copy_from_slice(&self.chain);
        out
    }

    /// The inverse of [`State::encode`].
    pub fn decode(bytes: &[u8; Self::SIZE]) -> Self {
        let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let (numbers, chain) = bytes.split_at(16);
        let (count, total) = numbers.split_at(8);
        let mut state = Self { count: number(count), total: number(total), chain: [0; 32] };
        state.chain.copy_from_slice(chain);
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoding_round_trips() {
        let state = State { count: 3, total: u64::MAX, chain: [7; 32] };
        assert_eq!(State::decode(&state.encode()), state);
        assert_eq!(State::decode(&[0; State::SIZE]), State::default());
    }

    #[test]
    fn chain_depends_on_every_reading_and_their_order() {
        let chain = |readings: &[u64]| {
            readings.iter().fold(State::default(), |state, reading| state.after(*reading).unwrap()).chain
        };
        assert_ne!(chain(&[1, 2]), chain(&[2, 1]));
        assert_ne!(chain(&[3]), chain(&[1, 2]));
        assert_ne!(chain(&[1]), chain(&[1, 0]));
    }
}

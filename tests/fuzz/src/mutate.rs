//! Changed inputs for where no fuzzer drives: the same ones every time.

/// A small generator (xorshift64*, Vigna 2016): what it gives need only look different.
pub struct Changes(u64);

impl Changes {
    /// Another series for each number.
    pub fn new(series: u64) -> Self {
        Self(series.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// One of the inputs, changed in a few places.
    pub fn next(&mut self, inputs: &[Vec<u8>]) -> Vec<u8> {
        let mut out = inputs.get(self.below(inputs.len())).cloned().unwrap_or_default();
        for _ in 0..=self.below(4) {
            self.change(&mut out, inputs);
        }
        out
    }

    fn change(&mut self, out: &mut Vec<u8>, inputs: &[Vec<u8>]) {
        let at = self.below(out.len());
        match self.below(6) {
            0 => out.truncate(at),
            1 => out.insert(at, self.below(256) as u8),
            2 => drop((!out.is_empty()).then(|| out.remove(at))),
            3 => self.splice(out, at, inputs),
            4 => set(out, at, self.below(256) as u8),
            _ => {
                let flipped = out.get(at).copied().unwrap_or_default() ^ 1 << self.below(8);
                set(out, at, flipped);
            }
        }
    }

    /// The rest of another input in place of this one's.
    fn splice(&mut self, out: &mut Vec<u8>, at: usize, inputs: &[Vec<u8>]) {
        out.truncate(at);
        if let Some(other) = inputs.get(self.below(inputs.len())) {
            out.extend(other.iter().skip(at));
        }
    }

    /// A number below the limit; 0 where there is none.
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        if limit == 0 { 0 } else { number as usize % limit }
    }
}

fn set(out: &mut [u8], at: usize, value: u8) {
    if let Some(byte) = out.get_mut(at) {
        *byte = value;
    }
}

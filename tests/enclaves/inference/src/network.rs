//! Two layers of int8 weights; `data/README.md` says how they lie in the file and what is computed.

use trustbox_example_interfaces::inference::IMAGE;

/// Digits.
const CLASSES: usize = 10;
/// Hidden units of the trained network.
const HIDDEN: usize = 24;
const HEADER: usize = 4;

/// A network with [`HIDDEN`] hidden units.
pub struct Network {
    shift: u8,
    multiplier: i64,
    first: [[u8; IMAGE]; HIDDEN],
    first_bias: [i32; HIDDEN],
    second: [[u8; HIDDEN]; CLASSES],
    second_bias: [i32; CLASSES],
}

impl Network {
    /// The network in a file of weights; `None` where the file is of another size or shape.
    pub fn read(weights: &[u8]) -> Option<Self> {
        let ([hidden, shift, multiplier @ ..], rest) = weights.split_first_chunk::<HEADER>()?;
        let (first, rest) = rest.split_at_checked(HIDDEN * IMAGE)?;
        let (first_bias, rest) = rest.split_at_checked(4 * HIDDEN)?;
        let (second, second_bias) = rest.split_at_checked(CLASSES * HIDDEN)?;
        let fits = usize::from(*hidden) == HIDDEN && *shift < 64 && second_bias.len() == 4 * CLASSES;
        fits.then_some(Self {
            shift: *shift,
            multiplier: i64::from(u16::from_le_bytes(*multiplier)),
            first: rows(first)?,
            first_bias: numbers(first_bias)?,
            second: rows(second)?,
            second_bias: numbers(second_bias)?,
        })
    }

    /// A score for each digit.
    pub fn scores(&self, image: &[u8; IMAGE]) -> [i32; CLASSES] {
        let hidden: [u8; HIDDEN] = core::array::from_fn(|unit| {
            let sum = self.first_bias[unit] + product(&self.first[unit], image);
            ((i64::from(sum) * self.multiplier) >> self.shift).clamp(0, 127) as u8
        });
        core::array::from_fn(|class| self.second_bias[class] + product(&self.second[class], &hidden))
    }
}

/// Sum of products; weights are signed bytes.
fn product<const N: usize>(weights: &[u8; N], inputs: &[u8; N]) -> i32 {
    let products =
        weights.iter().zip(inputs).map(|(weight, input)| i32::from(*weight as i8) * i32::from(*input));
    products.sum()
}

fn rows<const N: usize, const COUNT: usize>(bytes: &[u8]) -> Option<[[u8; N]; COUNT]> {
    let (rows, _) = bytes.as_chunks::<N>();
    rows.first_chunk().copied()
}

fn numbers<const COUNT: usize>(bytes: &[u8]) -> Option<[i32; COUNT]> {
    Some(rows::<4, COUNT>(bytes)?.map(i32::from_le_bytes))
}

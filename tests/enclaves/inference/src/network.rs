//! Two layers of int8 weights; `data/README.md` says how they lie in the file and what is computed.

use trustbox_example_interfaces::inference::IMAGE;

/// Digits.
const CLASSES: usize = 10;
/// Hidden units of the trained network.
const HIDDEN: usize = 24;
const HEADER: usize = 4;
const WEIGHTS: &[u8; HEADER + HIDDEN * (IMAGE + 4 + CLASSES) + 4 * CLASSES] =
    include_bytes!("../data/weights.bin");

/// A network with [`HIDDEN`] hidden units.
pub struct Network<'a> {
    shift: u8,
    multiplier: i64,
    first: &'a [[u8; IMAGE]; HIDDEN],
    first_bias: [i32; HIDDEN],
    second: &'a [[u8; HIDDEN]; CLASSES],
    second_bias: [i32; CLASSES],
}

/// The network of `data/weights.bin`, whose size is checked when this is compiled.
pub(crate) fn trained() -> Network<'static> {
    let (header, rest) = WEIGHTS.split_at(HEADER);
    let (first, rest) = rest.split_at(HIDDEN * IMAGE);
    let (first_bias, rest) = rest.split_at(4 * HIDDEN);
    let (second, second_bias) = rest.split_at(CLASSES * HIDDEN);
    Network {
        shift: header[1],
        multiplier: i64::from(u16::from_le_bytes([header[2], header[3]])),
        first: rows(first),
        first_bias: numbers(first_bias),
        second: rows(second),
        second_bias: numbers(second_bias),
    }
}

impl Network<'_> {
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

fn rows<const N: usize, const COUNT: usize>(bytes: &[u8]) -> &[[u8; N]; COUNT] {
    let (rows, _) = bytes.as_chunks::<N>();
    rows.first_chunk().unwrap_or(&[[0; N]; COUNT])
}

fn numbers<const COUNT: usize>(bytes: &[u8]) -> [i32; COUNT] {
    let (numbers, _) = bytes.as_chunks::<4>();
    core::array::from_fn(|at| i32::from_le_bytes(numbers[at]))
}

//! Confidential inference: a network of int8 weights that nobody sees outside OP-TEE.
//!
//! Whoever holds the package holds ciphertext; whoever holds the device can have images classified, and that is all. The
//! margins are rounded, since exact scores would give the weights away faster.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod network;

use alloc::vec::Vec;

use trustbox_enclave::{EnclaveError, Launch, Launched};
use trustbox_example_interfaces::inference::{Answer, IMAGE, Inference, InferenceError, MAX_IMAGES};

pub use network::Network;

/// Points of an image at most.
const BRIGHTEST: u8 = 16;
/// Margins are multiples of this.
const MARGIN_STEP: u32 = 256;

/// The classifier.
pub struct Classifier(Network<'static>);

impl Launch for Classifier {
    fn launch(_: Launched) -> Result<Self, EnclaveError> {
        Ok(Self(network::trained()))
    }
}

impl Inference for Classifier {
    fn classify(&mut self, images: &[u8]) -> Result<Vec<Answer>, EnclaveError> {
        let (images, rest) = images.as_chunks::<IMAGE>();
        if !rest.is_empty() || !(1..=MAX_IMAGES).contains(&images.len()) {
            return Err(InferenceError::Images.into());
        }
        if images.as_flattened().iter().any(|point| *point > BRIGHTEST) {
            return Err(InferenceError::Point.into());
        }
        Ok(images.iter().map(|image| self.answer(image)).collect())
    }
}

impl Classifier {
    fn answer(&self, image: &[u8; IMAGE]) -> Answer {
        let scores = self.0.scores(image);
        let best =
            (0..scores.len()).max_by_key(|at| (scores[*at], core::cmp::Reverse(*at))).unwrap_or_default();
        let others = scores.iter().enumerate().filter(|(at, _)| *at != best).map(|(_, score)| *score);
        let margin = scores[best].abs_diff(others.max().unwrap_or_default());
        Answer { digit: best as u8, margin: margin - margin % MARGIN_STEP }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec;

    use trustbox_enclave::fake;
    use trustbox_example_interfaces::inference::{InferenceClient, InferenceService};

    use super::*;

    const DIGITS: &[u8] = include_bytes!("../data/digits.bin");

    type Client = InferenceClient<fake::Session<trustbox_enclave::Typed<InferenceService, Classifier>>>;

    fn client() -> Client {
        InferenceClient::new(fake::launch::<InferenceService, Classifier>().unwrap())
    }

    #[test]
    fn every_answer_is_that_of_the_training_program() {
        let mut client = client();
        let mut right = 0;
        for row in DIGITS.chunks_exact(IMAGE + 2) {
            let answers = client.classify(&row[..IMAGE]).unwrap();
            assert_eq!(answers[0].digit, row[IMAGE + 1]);
            right += usize::from(answers[0].digit == row[IMAGE]);
        }
        assert_eq!((right, DIGITS.len() / (IMAGE + 2)), (292, 300));
    }

    #[test]
    fn what_is_no_image_is_refused() {
        let mut client = client();
        for bad in [0, 1, IMAGE - 1, IMAGE + 1, IMAGE * (MAX_IMAGES + 1)] {
            let error = client.classify(&vec![0; bad]).unwrap_err();
            assert_eq!(error.own(), Some(InferenceError::Images), "{bad} bytes: {error}");
        }
        assert_eq!(client.classify(&[17; IMAGE]).unwrap_err().own(), Some(InferenceError::Point));
        assert_eq!(client.classify(&vec![16; IMAGE * MAX_IMAGES]).unwrap().len(), MAX_IMAGES);
    }
}

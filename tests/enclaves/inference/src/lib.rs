//! Confidential inference: a network of int8 weights that nobody sees outside OP-TEE.
//!
//! The weights are not in the package: their owner seals them to this enclave on this device after having verified its
//! report, and it keeps them in sealed storage. Whoever holds the device can have images classified, and that is all. The
//! margins are rounded, since exact scores would give the weights away faster.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod network;

use alloc::vec::Vec;

use trustbox_enclave::{Bytes, EnclaveError, Launch, Launched, Sealed, Transport, TrustBox};
use trustbox_example_interfaces::inference::{Answer, IMAGE, Inference, InferenceError, MAX_IMAGES};

pub use network::Network;

/// Points of an image at most.
const BRIGHTEST: u8 = 16;
/// Margins are multiples of this.
const MARGIN_STEP: u32 = 256;

/// Name of the weights in sealed storage.
const WEIGHTS: &str = "weights";

/// The classifier.
pub struct Classifier {
    network: Option<Network>,
    transport: Transport,
    trustbox: TrustBox,
    storage: Sealed,
}

impl Launch for Classifier {
    fn launch(launched: Launched) -> Result<Self, EnclaveError> {
        let transport = Transport::of(&launched)?;
        let Launched { storage, trustbox, .. } = launched;
        let weights: Option<Vec<u8>> = storage.load(WEIGHTS)?;
        Ok(Self {
            network: weights.and_then(|weights| Network::read(&weights)),
            transport,
            trustbox,
            storage,
        })
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
        let network = self.network.as_ref().ok_or(InferenceError::NoWeights)?;
        Ok(images.iter().map(|image| answer(network, image)).collect())
    }

    fn offer(&mut self, nonce: [u8; 32]) -> Result<Vec<u8>, EnclaveError> {
        self.transport.offer(&self.trustbox, Bytes(nonce))
    }

    fn load(&mut self, sealed: &[u8]) -> Result<(), EnclaveError> {
        let weights = self.transport.open(sealed)?;
        let network = Network::read(&weights).ok_or(InferenceError::Weights)?;
        self.storage.save(WEIGHTS, &weights)?;
        self.network = Some(network);
        Ok(())
    }
}

fn answer(network: &Network, image: &[u8; IMAGE]) -> Answer {
    let scores = network.scores(image);
    let best = (0..scores.len()).max_by_key(|at| (scores[*at], core::cmp::Reverse(*at))).unwrap_or_default();
    let others = scores.iter().enumerate().filter(|(at, _)| *at != best).map(|(_, score)| *score);
    let margin = scores[best].abs_diff(others.max().unwrap_or_default());
    Answer { digit: best as u8, margin: margin - margin % MARGIN_STEP }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::string::ToString;
    use std::vec;

    use rand_core::UnwrapErr;
    use trustbox_enclave::fake;
    use trustbox_example_interfaces::inference::{InferenceClient, InferenceService};

    use super::*;

    const DIGITS: &[u8] = include_bytes!("../data/digits.bin");
    const TRAINED: &[u8] = include_bytes!("../data/weights.bin");

    type Client = InferenceClient<fake::Session<trustbox_enclave::Typed<InferenceService, Classifier>>>;

    fn client() -> Client {
        InferenceClient::new(fake::launch::<InferenceService, Classifier>().unwrap())
    }

    /// What the owner of the weights does.
    fn sealed(client: &mut Client, weights: &[u8]) -> Vec<u8> {
        let report = client.offer([7; 32]).unwrap();
        let report = trustbox_verifier::Token::parse(&report).unwrap();
        let report = report.verify_report(&fake::attestation_key(), &[7; 32]).unwrap();
        let (key, random) = (report.transport_key.unwrap(), &mut UnwrapErr(getrandom::SysRng));
        trustbox_transport::seal(&report.enclave, &key, weights, random).unwrap()
    }

    #[test]
    fn every_answer_is_that_of_the_training_program() {
        let mut client = client();
        let message = sealed(&mut client, TRAINED);
        client.load(&message).unwrap();
        drop(client);
        // Launched again: the weights are in sealed storage.
        let mut client = self::client();
        let mut right = 0;
        for row in DIGITS.chunks_exact(IMAGE + 2) {
            let answers = client.classify(&row[..IMAGE]).unwrap();
            assert_eq!(answers[0].digit, row[IMAGE + 1]);
            right += usize::from(answers[0].digit == row[IMAGE]);
        }
        assert_eq!((right, DIGITS.len() / (IMAGE + 2)), (292, 300));
    }

    #[test]
    fn weights_that_are_none_or_not_for_it_are_refused() {
        let mut client = client();
        let nothing = client.classify(&[0; IMAGE]).unwrap_err();
        assert_eq!(nothing.own(), Some(InferenceError::NoWeights));
        let mut wider = TRAINED.to_vec();
        wider[0] += 1;
        for bad in [&TRAINED[1..], &[TRAINED, &[0]].concat(), &wider, &[]] {
            let message = sealed(&mut client, bad);
            assert_eq!(client.load(&message).unwrap_err().own(), Some(InferenceError::Weights));
        }
        let mut message = sealed(&mut client, TRAINED);
        message[70] ^= 1;
        assert!(client.load(&message).unwrap_err().to_string().contains("not sealed to this enclave"));
        assert_eq!(client.classify(&[0; IMAGE]).unwrap_err().own(), Some(InferenceError::NoWeights));
    }

    #[test]
    fn what_is_no_image_is_refused() {
        let mut client = client();
        let message = sealed(&mut client, TRAINED);
        client.load(&message).unwrap();
        for bad in [0, 1, IMAGE - 1, IMAGE + 1, IMAGE * (MAX_IMAGES + 1)] {
            let error = client.classify(&vec![0; bad]).unwrap_err();
            assert_eq!(error.own(), Some(InferenceError::Images), "{bad} bytes: {error}");
        }
        assert_eq!(client.classify(&[17; IMAGE]).unwrap_err().own(), Some(InferenceError::Point));
        assert_eq!(client.classify(&vec![16; IMAGE * MAX_IMAGES]).unwrap().len(), MAX_IMAGES);
    }
}

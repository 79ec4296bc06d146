//! Confidential inference: handwritten digits, recognised by a network whose weights only the enclave and their owner have.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use trustbox_interface::{EnclaveError, errors, interface};

/// UUID of the enclave.
pub const UUID: &str = "b24f7d83-0e6a-4c59-8a1b-f9d2e3c7650e";
/// Bytes of an image: 8 × 8 points from 0 to 16.
pub const IMAGE: usize = 64;
/// Images in one call at most.
pub const MAX_IMAGES: usize = 60;

errors! {
    /// Why the classifier refuses.
    pub enum InferenceError {
        /// a call has 1 to 60 images of 64 bytes
        Images = 1,
        /// a point is from 0 to 16
        Point = 2,
        /// no weights were loaded
        NoWeights = 3,
        /// what was loaded are no weights
        Weights = 4,
    }
}

/// What the network says about an image.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// The digit.
    pub digit: u8,
    /// How far its score is above the second best.
    pub margin: u32,
}

/// The classifier.
#[interface(errors = InferenceError)]
pub trait Inference {
    /// Classifies images, one after the other in `images`.
    #[command(1)]
    fn classify(&mut self, images: &[u8]) -> Result<Vec<Answer>, EnclaveError>;
    /// A report over the nonce of whoever owns the weights, with the key to seal them to.
    #[command(2)]
    fn offer(&mut self, nonce: [u8; 32]) -> Result<Vec<u8>, EnclaveError>;
    /// Takes weights sealed to that key, in place of any it had.
    #[command(3)]
    fn load(&mut self, sealed: &[u8]) -> Result<(), EnclaveError>;
}

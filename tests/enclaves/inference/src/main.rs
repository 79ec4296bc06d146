//! The classifier as an enclave.
#![no_std]
#![no_main]

use trustbox_example_interfaces::inference::InferenceService;
use trustbox_inference::Classifier;

trustbox_enclave::enclave!(Classifier as InferenceService);

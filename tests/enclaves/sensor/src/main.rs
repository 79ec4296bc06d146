//! Trusted input as an enclave.
#![no_std]
#![no_main]

use trustbox_example_interfaces::sensor::SensorsService;
use trustbox_sensor::Input;

trustbox_enclave::enclave!(Input as SensorsService);

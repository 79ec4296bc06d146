//! The activity log as an enclave.
#![no_std]
#![no_main]

use trustbox_activity::Log;
use trustbox_example_interfaces::activity::ActivityService;

trustbox_enclave::enclave!(Log as ActivityService);

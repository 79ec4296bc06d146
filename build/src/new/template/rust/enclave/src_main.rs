//! The entry points that OP-TEE calls. Nothing else belongs here: `lib.rs` is what tests run.
#![no_std]
#![no_main]

use {{ident}}_enclave::Enclave;
use {{ident}}_interface::{{Type}}Service;

trustbox_enclave::enclave!(Enclave as {{Type}}Service);

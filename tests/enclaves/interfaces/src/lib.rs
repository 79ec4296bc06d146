//! The interfaces of the example enclaves: each is one trait, and what goes over it.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod activity;
pub mod inference;
pub mod sensor;

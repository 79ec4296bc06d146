//! A probe: an enclave that does what the device suite asks it to, forbidden things included.
//!
//! Here are its commands, its errors and how a request is taken apart; what is done is in `main.rs`.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod command;
pub mod error;
pub mod request;

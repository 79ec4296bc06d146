//! A meter: a running total of readings that shows whether one was lost, changed or added.
//!
//! Every reading extends a SHA-256 chain. Whoever has the readings can compute the chain again and
//! compare it with what the meter says.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod command;
mod state;

pub use command::MeterError;
pub use state::State;

/// Where the state lives between calls.
pub trait Store {
    /// How it fails.
    type Error;
    /// The state as written last, or `None` before the first reading.
    fn load(&self) -> Result<Option<[u8; State::SIZE]>, Self::Error>;
    /// Replaces the state: all of it or nothing.
    fn store(&mut self, state: &[u8; State::SIZE]) -> Result<(), Self::Error>;
}

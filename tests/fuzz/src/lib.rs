//! Fuzz targets: for any input, what must hold holds.
//!
//! A target is a file in `targets` with a function over bytes, which panics where something does not hold, and a word in the
//! list there. `build/tb fuzz` lets libFuzzer drive them; `cargo test` replays what is kept in `corpus` and a bounded number
//! of changed inputs, so that every target runs with every test.
#![forbid(unsafe_code)]

pub mod corpus;
pub mod mutate;
pub mod oracle;
pub mod quick;
pub mod target;
pub mod targets;
pub mod words;
pub mod world;

pub use target::Target;

//! The device suite: numbered cases against the TrustBox TA, in the manner of xtest.
//!
//! A case is a function over a [`Context`]; it neither knows nor cares whether the TA runs inside
//! OP-TEE ([`optee`]) or as the core on its fake (`tests/fake.rs`). Numbers are families: 1xxx
//! core, 2xxx lifecycle and authority, 3xxx class keys and packages, 4xxx cryptography, 5xxx concurrency and hostile calls,
//! 6xxx storage, 7xxx limits, 8xxx enclaves. `cases.golden` has all numbers, so that each keeps its meaning.
//! Each case names the [`invariants`] it is evidence for.
#![forbid(unsafe_code)]

pub mod bench;
pub mod case;
pub mod cases;
pub mod context;
pub mod forge;
pub mod hostile;
pub mod invariants;
#[cfg(feature = "optee")]
pub mod optee;
pub mod package;
pub mod random;
#[cfg(feature = "optee")]
pub mod reference;
pub mod report;
pub mod requests;
pub mod steps;
pub mod target;
pub mod wycheproof;

//! Why a token is refused.

use core::fmt;

/// Why a token is not to be believed at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Refusal {
    /// Not a COSE_Sign1 with a protected header of ours.
    Envelope(&'static str),
    /// A claim is not what it must be.
    Claim {
        /// The claim.
        claim: &'static str,
        /// What is wrong.
        what: &'static str,
    },
    /// A claim of our profile is missing.
    Missing(&'static str),
    /// A claim stands there twice; 0 for one with a name.
    Duplicate(i64),
    /// The attestation key did not sign this.
    Signature,
    /// The token is of another device than the key.
    Instance,
    /// The token answers another nonce.
    Nonce,
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Envelope(what) => write!(out, "not an attestation token: {what}"),
            Self::Claim { claim, what } => write!(out, "claim {claim}: {what}"),
            Self::Missing(claim) => write!(out, "claim {claim}: missing"),
            Self::Duplicate(0) => write!(out, "a claim with a name stands there twice"),
            Self::Duplicate(key) => write!(out, "claim {key} stands there twice"),
            Self::Signature => write!(out, "signature does not verify with this attestation key"),
            Self::Instance => write!(out, "claim instance-id: of another attestation key"),
            Self::Nonce => write!(out, "claim nonce: another one was given; the token may be a replay"),
        }
    }
}

impl core::error::Error for Refusal {}

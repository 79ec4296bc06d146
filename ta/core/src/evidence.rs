//! Signing with the attestation key: only what the TA put together itself.

use trustbox_api::evidence::{Evidence, SignedEvidence, digest};
use trustbox_api::{Error, wire};

use crate::tee::Tee;

/// Signs evidence into `reply`; returns the bytes used.
#[inline(never)]
pub fn sign<T: Tee>(tee: &mut T, evidence: &Evidence, reply: &mut [u8]) -> Result<usize, Error> {
    let mut payload = [0; 512];
    let payload = wire::encode(evidence, &mut payload)?;
    let signature = tee.sign_es256(&digest(payload))?;
    let signer = tee.attestation_public_key()?;
    wire::encode(&SignedEvidence { payload, signer, signature }, reply).map(<[u8]>::len)
}

//! What the attestation key signs: one envelope, never a caller's bytes as they come.
//!
//! The signature is ES256 over [`DOMAIN`] and the encoded [`Evidence`]. All of it is what the TA knows itself; a caller
//! chooses the nonce and, in a report, the data that an enclave vouches for (INV-8).

use arrayvec::ArrayVec;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::bytes::Bytes;
use crate::command::Lifecycle;
use crate::key::{DeviceId, PublicKey};
use crate::launch::Identity;
use crate::limits::MAX_REPORT_DATA;
use crate::log::LogHead;
use crate::message::{Nonce, Profile};

/// What every signature of evidence starts with.
pub const DOMAIN: &[u8] = b"TrustBox evidence\0";

/// Data that an enclave vouches for.
pub type ReportData = ArrayVec<u8, MAX_REPORT_DATA>;

/// What is signed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Evidence {
    /// Heads of the activity log.
    LogHead(LogHead),
    /// An enclave's report.
    Report(Report),
}

/// Which enclave said what.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Report {
    /// The device.
    pub device_id: DeviceId,
    /// Where it stands.
    pub lifecycle: Lifecycle,
    /// Firmware profile.
    pub profile: Profile,
    /// As what the enclave was launched.
    pub enclave: Identity,
    /// The verifier's nonce.
    pub nonce: Nonce,
    /// The enclave's data.
    pub data: ReportData,
}

/// Evidence with its signature.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct SignedEvidence<'a> {
    /// The encoded [`Evidence`].
    #[serde(borrow)]
    pub payload: &'a [u8],
    /// The attestation key.
    pub signer: PublicKey,
    /// r‖s.
    pub signature: Bytes<64>,
}

/// What ES256 signs for a payload.
pub fn digest(payload: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(DOMAIN).chain_update(payload).finalize().into()
}

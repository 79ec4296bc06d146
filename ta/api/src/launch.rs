//! What the TA hands an enclave when it launches it.

use serde::{Deserialize, Serialize};

use crate::bytes::Secret;
use crate::key::{KeyId, Uuid};

/// Bytes of an encoded [`Launch`] at most.
pub const MAX_LAUNCH: usize = 128;

/// First parameter (memref input, postcard) of the session that the TA opens to an enclave.
///
/// The enclave believes it because OP-TEE names the TrustBox TA as its caller (INV-9).
#[derive(Clone, Serialize, Deserialize)]
pub struct Launch {
    /// The enclave itself.
    pub uuid: Uuid,
    /// The version that was verified at install.
    pub version: u32,
    /// The publisher that signed it.
    pub publisher: KeyId,
    /// Seals the enclave's data: random per UUID, publisher and install generation.
    pub sealing_key: Secret<32>,
}

//! What the TA hands an enclave when it launches it.

use serde::{Deserialize, Serialize};

use crate::bytes::{Bytes, Secret};
use crate::key::{KeyId, Uuid};

/// Bytes of an encoded [`Launch`] at most.
pub const MAX_LAUNCH: usize = 192;

/// First parameter (memref input, postcard) of the session that the TA opens to an enclave.
///
/// The enclave believes it because OP-TEE names the TrustBox TA as its caller (INV-9). What a C program needs has a fixed
/// place: the sealing key is the first 32 bytes, the UUID the next 16, and the rest is the ticket.
#[derive(Clone, Serialize, Deserialize)]
pub struct Launch {
    /// Seals the enclave's data: random per UUID, publisher and install generation.
    pub sealing_key: Secret<32>,
    /// The enclave itself.
    pub uuid: Uuid,
    /// Shows the TA, when the enclave calls back, as what it was launched.
    pub ticket: Ticket,
}

/// As what an enclave was launched. Whatever is installed meanwhile, an instance never becomes anything else.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Identity {
    /// The enclave.
    pub uuid: Uuid,
    /// SHA-256 of its signed image.
    pub digest: Bytes<32>,
    /// Its version.
    pub version: u32,
    /// The publisher that signed it.
    pub publisher: KeyId,
    /// Names what belongs to it outside itself: another value after each erasure.
    pub generation: Bytes<8>,
    /// Revocations that the device had accepted at launch.
    pub epoch: u64,
}

/// An [`Identity`] that only the TrustBox TA of this device can have written. Not secret: it is worth something only to an
/// enclave of its UUID.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ticket {
    /// As what the enclave was launched.
    pub identity: Identity,
    /// Random.
    pub nonce: Bytes<12>,
    /// GMAC (NIST SP 800-38D, 3) over the encoded identity.
    pub tag: Bytes<16>,
}

/// Exactly one enclave, whatever device it is on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Enclave {
    /// The enclave.
    pub uuid: Uuid,
    /// SHA-256 of its signed image.
    pub digest: Bytes<32>,
    /// Its version.
    pub version: u32,
    /// The publisher that signed it.
    pub publisher: KeyId,
}

impl From<Identity> for Enclave {
    fn from(Identity { uuid, digest, version, publisher, .. }: Identity) -> Self {
        Self { uuid, digest, version, publisher }
    }
}

//! Signed statements: the one envelope for everything the TA is told to believe.
//!
//! A statement file is the postcard encoding of an [`Envelope`]. The signature is ECDSA P-256 with
//! SHA-256 (ES256, r‖s, RFC 7518 3.4) over [`DOMAIN`] followed by the payload. The payload is a
//! [`Header`] followed by the body of its kind, so that header and body cannot be parted.
//!
//! | kind | signed by | body | sequence |
//! | --- | --- | --- | --- |
//! | `PinRoot` | provisioning authority | [`PinRoot`] | 0; the nonce makes it single-use |
//! | `Publisher` | owner root | [`Publisher`] | rises |
//! | `Releaser` | owner root | [`Releaser`] | rises |
//! | `KeyBundle` | releaser | [`KeyBundle`] | equals the key version; the nonce makes it single-use |
//! | `Manifest` | publisher | [`crate::manifest::Manifest`] | equals the enclave version |

use heapless::Vec;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::bytes::Bytes;
use crate::key::{DeviceId, KeyId, KeyName, KeyRef, PublicKey, Uuid};
use crate::limits::{MAX_PUBLISHER_UUIDS, MAX_RELEASER_KEYS};
use crate::message::Nonce;

/// What every signature of a statement starts with, so that no other protocol's signature fits.
pub const DOMAIN: &[u8] = b"TrustBox statement\0";

/// Version of the encoding of header and bodies.
pub const FORMAT: u16 = 1;

/// A statement with its signature, as stored and sent.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Envelope<'a> {
    /// Header and body.
    #[serde(borrow)]
    pub payload: &'a [u8],
    /// The key that signed.
    pub signer: PublicKey,
    /// r‖s.
    pub signature: Bytes<64>,
}

/// What a statement is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Kind {
    /// Pins an owner root to one device.
    PinRoot,
    /// Authorises a publisher.
    Publisher,
    /// Authorises a releaser.
    Releaser,
    /// Hands a class key to one device.
    KeyBundle,
    /// Describes one version of an enclave.
    Manifest,
}

/// Which devices a statement is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Audience {
    /// This one.
    Device(DeviceId),
    /// All that are pinned to the owner root.
    Fleet,
}

/// The front of every payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Header {
    /// Kind of the body.
    pub kind: Kind,
    /// [`FORMAT`].
    pub format: u16,
    /// The owner root under which the statement is made.
    pub root: KeyId,
    /// Which devices it is for.
    pub audience: Audience,
    /// Orders the statements of one root and kind.
    pub sequence: u64,
}

/// Body of `PinRoot`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PinRoot {
    /// The nonce the device gave for provisioning.
    pub nonce: Nonce,
    /// The owner root; its id stands in the header.
    pub root: PublicKey,
}

/// Body of `Publisher`: replaces what was said of this key before.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Publisher {
    /// The publisher's key.
    pub key: PublicKey,
    /// The applications it may publish, by exact UUID.
    pub uuids: Vec<Uuid, MAX_PUBLISHER_UUIDS>,
}

/// Body of `Releaser`: replaces what was said of this key before.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Releaser {
    /// The releaser's key.
    pub key: PublicKey,
    /// The class keys it may release, by exact name.
    pub keys: Vec<KeyName, MAX_RELEASER_KEYS>,
}

/// Body of `KeyBundle`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KeyBundle<'a> {
    /// The nonce the device gave for key import.
    pub nonce: Nonce,
    /// The class key.
    pub key: KeyRef,
    /// RSAES-OAEP (SHA-256, MGF1-SHA-256, empty label) of the 32 key bytes to the device key.
    #[serde(borrow)]
    pub wrapped: &'a [u8],
}

/// What ES256 signs for a payload: SHA-256 over [`DOMAIN`] and the payload.
pub fn digest(payload: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(DOMAIN).chain_update(payload).finalize().into()
}

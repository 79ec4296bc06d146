//! Signed statements: the one envelope for everything the TA is told to believe.
//!
//! A statement file is the postcard encoding of an [`Envelope`]. The signature is ECDSA P-256 with
//! SHA-256 (ES256, r‖s, RFC 7518 3.4) over [`DOMAIN`] followed by the payload. The payload is a
//! [`Header`] followed by the body of its kind, so that header and body cannot be parted.
//!
//! Who signs which kind, for whom and in which order: [`Kind::signer`], [`Kind::audience`], [`Kind::sequence`].
//!
//! Where the sequence rises, the TA keeps the highest one of each kind with the digest of its statement: that very statement
//! is accepted again and changes nothing, every other one that is not higher is refused.

use arrayvec::ArrayVec;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::bytes::Bytes;
use crate::key::{DeviceId, KeyId, KeyName, KeyRef, PublicKey, Uuid};
use crate::limits::{
    MAX_ENCLAVES, MAX_LEGACY_UUIDS, MAX_PUBLISHER_UUIDS, MAX_RELEASER_KEYS, MAX_REVOCATION_ITEMS,
};
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
    /// Authorises a revoker.
    Revoker,
    /// Says what the owner allows.
    Policy,
    /// Revokes for ever.
    Revocation,
    /// Replaces the owner root of one device.
    RotateRoot,
    /// Ends the factory's part of one device's life.
    Lock,
    /// Ends one device's life.
    Decommission,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::PinRoot,
        Self::Publisher,
        Self::Releaser,
        Self::KeyBundle,
        Self::Manifest,
        Self::Revoker,
        Self::Policy,
        Self::Revocation,
        Self::RotateRoot,
        Self::Lock,
        Self::Decommission,
    ];

    /// As in files, logs and documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PinRoot => "pin-root",
            Self::Publisher => "publisher",
            Self::Releaser => "releaser",
            Self::KeyBundle => "key-bundle",
            Self::Manifest => "manifest",
            Self::Revoker => "revoker",
            Self::Policy => "policy",
            Self::Revocation => "revocation",
            Self::RotateRoot => "rotate-root",
            Self::Lock => "lock",
            Self::Decommission => "decommission",
        }
    }

    /// Who signs it.
    pub const fn signer(self) -> &'static str {
        match self {
            Self::PinRoot | Self::Lock => "provisioning authority",
            Self::Publisher | Self::Releaser | Self::Revoker | Self::Policy | Self::Decommission => {
                "owner root"
            }
            Self::RotateRoot => "owner root, the old one",
            Self::Revocation => "revoker or owner root",
            Self::KeyBundle => "releaser",
            Self::Manifest => "publisher",
        }
    }

    /// Which audience it may name.
    pub const fn audience(self) -> &'static str {
        if self.is_for_one_device() { "device" } else { "device, class or fleet" }
    }

    /// What its sequence is.
    pub const fn sequence(self) -> &'static str {
        match self {
            Self::PinRoot | Self::RotateRoot | Self::Lock | Self::Decommission => {
                "0, not checked; the nonce makes it single-use"
            }
            Self::Publisher | Self::Releaser | Self::Revoker | Self::Policy | Self::Revocation => "rises",
            Self::KeyBundle => "equals the key version; the nonce makes it single-use",
            Self::Manifest => "equals the enclave version",
        }
    }

    /// Whether a nonce alone makes statements of this kind single-use, so that their sequence is 0.
    pub const fn is_single_use(self) -> bool {
        matches!(self, Self::PinRoot | Self::RotateRoot | Self::Lock | Self::Decommission)
    }

    /// Whether statements of this kind are for one device only, never for a fleet.
    pub const fn is_for_one_device(self) -> bool {
        matches!(self, Self::PinRoot | Self::KeyBundle | Self::RotateRoot | Self::Lock | Self::Decommission)
    }
}

/// Which devices a statement is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Audience {
    /// This one.
    Device(DeviceId),
    /// All that are pinned to the owner root.
    Fleet,
    /// All of the owner's that hold a class key of this name.
    Class(KeyName),
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
    pub uuids: ArrayVec<Uuid, MAX_PUBLISHER_UUIDS>,
}

/// Body of `Releaser`: replaces what was said of this key before.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Releaser {
    /// The releaser's key.
    pub key: PublicKey,
    /// The class keys it may release, by exact name.
    pub keys: ArrayVec<KeyName, MAX_RELEASER_KEYS>,
}

/// Body of `Revoker`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Revoker {
    /// The revoker's key.
    pub key: PublicKey,
}

/// Body of `Policy`: replaces the policy before. A new device has [`Policy::default`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Policy {
    /// Applications whose packages may lack a trusted manifest, by exact UUID.
    pub legacy: ArrayVec<Uuid, MAX_LEGACY_UUIDS>,
    /// Enclaves installed at a time.
    pub max_enclaves: u8,
}

impl Default for Policy {
    fn default() -> Self {
        Self { legacy: ArrayVec::new(), max_enclaves: MAX_ENCLAVES as u8 }
    }
}

/// Body of `Revocation`. What was revoked stays so, whoever owns the device.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Revocation {
    /// What is revoked.
    pub items: ArrayVec<Revoked, MAX_REVOCATION_ITEMS>,
}

/// Something revoked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Revoked {
    /// A key of a publisher, releaser or revoker: nothing it signs is accepted again, and what it published runs no more.
    Key(KeyId),
    /// All versions of an enclave below the floor; `u32::MAX` for all there will ever be.
    Enclave {
        /// The enclave.
        uuid: Uuid,
        /// The lowest version that still runs.
        floor: u32,
    },
    /// All versions of a class key below the floor.
    ClassKey {
        /// Its name.
        name: KeyName,
        /// The lowest version that is still used.
        floor: u32,
    },
}

/// Body of `RotateRoot`. Roles end with the root that gave them; policy, enclaves, class keys and revocations stay.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RotateRoot {
    /// The nonce the device gave for it.
    pub nonce: Nonce,
    /// The new owner root.
    pub root: PublicKey,
}

/// Body of `Lock`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Lock {
    /// The nonce the device gave for it.
    pub nonce: Nonce,
}

/// Body of `Decommission`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Decommission {
    /// The nonce the device gave for it.
    pub nonce: Nonce,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        let mut names = Kind::ALL.map(Kind::name);
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }
}

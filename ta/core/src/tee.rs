//! The trait `Tee`: all that the decisions need from the world around them.
//!
//! On a device `trustbox-tee` implements it over OP-TEE; in tests [`crate::fake`] does. It stays
//! small: whatever can be decided above it is decided above it.

use core::ops::DerefMut;

use arrayvec::ArrayVec;
use trustbox_api::key::{KeyId, PublicKey, Uuid};
use trustbox_api::launch::Launch;
use trustbox_api::message::{Huk, Profile, RollbackProtection, Version};
use trustbox_api::{Bytes, Error, Secret};

/// What the firmware says of itself; fixed for a build.
#[derive(Clone, Copy, Debug)]
pub struct Platform {
    /// State of the hardware unique key.
    pub huk: Huk,
    /// State of the rollback protection.
    pub rollback_protection: RollbackProtection,
    /// Development or production.
    pub profile: Profile,
    /// Version of OP-TEE.
    pub optee_version: Version,
    /// Version of the TA.
    pub ta_version: Version,
    /// SHA-256 of the provisioning authority's SubjectPublicKeyInfo, compiled in.
    pub provisioning_authority: KeyId,
    /// Bytes of the largest image that there is secure memory for.
    pub max_image: u32,
    /// Name of the board.
    pub board: &'static str,
}

/// When it is, as far as the TEE knows without asking anybody.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Random, drawn anew by every boot.
    pub boot: Bytes<16>,
    /// Seconds since then.
    pub uptime: u32,
}

/// What OP-TEE holds under a UUID.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held {
    /// Version in the signed header it came with.
    pub version: u32,
    /// SHA-256 of what followed that header.
    pub contents: Bytes<32>,
}

/// A persistent object, replaced as a whole and atomically.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Record {
    /// Lifecycle, owner, delegations.
    Device,
    /// Class keys and the nonces under which they are imported.
    Keys,
    /// Enclaves: version floors, what is installed, open intents.
    Enclaves,
    /// The activity log.
    Log,
}

/// Something only one session may hold; freed by the TEE when the session dies.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Slot {
    /// Changing a record. Held for the length of one command.
    Writer,
    /// Launching, or changing what is installed: nothing launches while what it was launched as changes. Taken before
    /// [`Slot::Writer`].
    Enclaves,
    /// Installing. Held from begin to finish or abort.
    Install,
    /// Being one of the sessions from the normal world.
    Session(u8),
    /// Being one of the sessions from enclaves.
    EnclaveSession(u8),
}

/// The device's RSA public key, big-endian.
pub struct DevicePublicKey {
    /// Modulus, at most 4096 bits.
    pub modulus: ArrayVec<u8, 512>,
    /// Public exponent.
    pub exponent: ArrayVec<u8, 8>,
}

/// Bytes in memory that somebody else may change at any time: a claim, not data.
///
/// The only way in is one copy (INV-4); whoever copied must not copy again.
pub trait Untrusted {
    /// How many bytes it claims to be.
    fn len(&self) -> usize;

    /// Copies all of it into `to`, which must be exactly as long.
    fn copy_to(&self, to: &mut [u8]) -> Result<(), Error>;

    /// Whether it claims to be empty.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The trusted execution environment.
pub trait Tee {
    /// Memory mapped for a session, zero at first; wiped and unmapped when dropped.
    type Buffer: DerefMut<Target = [u8]>;
    /// An open session to an enclave; closed when dropped.
    type Enclave;

    /// What the firmware says of itself.
    fn platform(&self) -> Platform;
    /// A key for one purpose, derived from the hardware unique key for this TA alone.
    fn derive(&mut self, purpose: &[u8]) -> Result<Secret<32>, Error>;
    /// The trusted application that calls; `None` where the normal world does.
    fn caller(&mut self) -> Result<Option<Uuid>, Error>;
    /// SHA-256 of code and constants of OP-TEE's core and of this TA, as they are in memory.
    fn measure(&mut self) -> Result<(Bytes<32>, Bytes<32>), Error>;
    /// When it is.
    fn now(&mut self) -> Result<Moment, Error>;
    /// Times the record [`Record::Device`] was written since boot.
    fn changes(&mut self) -> Result<u64, Error>;
    /// Fills `out` from the hardware random generator.
    fn random(&mut self, out: &mut [u8]);

    /// Reads a record; `None` where there is none. `Error::StorageCorrupt` where it is longer than `out`.
    fn read(&mut self, record: Record, out: &mut [u8]) -> Result<Option<usize>, Error>;
    /// Creates or replaces a record: after a power cut it is the old or the new one.
    fn write(&mut self, record: Record, content: &[u8]) -> Result<(), Error>;
    /// Takes a slot, or `Error::Busy`.
    fn acquire(&mut self, slot: Slot) -> Result<(), Error>;
    /// Gives a slot back.
    fn release(&mut self, slot: Slot);

    /// Creates the device key and the attestation key where they are missing; their private halves never leave the TEE.
    fn create_keys(&mut self) -> Result<(), Error>;
    /// Destroys both; no error where they are gone already.
    fn destroy_keys(&mut self) -> Result<(), Error>;
    /// The public half of the device key; `Error::StorageCorrupt` where there is none.
    fn device_public_key(&mut self) -> Result<DevicePublicKey, Error>;
    /// The public half of the attestation key; `Error::StorageCorrupt` where there is none.
    fn attestation_public_key(&mut self) -> Result<PublicKey, Error>;
    /// ECDSA P-256 over a SHA-256 digest, by the attestation key.
    fn sign_es256(&mut self, digest: &[u8; 32]) -> Result<Bytes<64>, Error>;
    /// RSAES-OAEP with SHA-256 under the device key; `Error::Decryption` for whatever fails.
    fn unwrap_oaep(&mut self, wrapped: &[u8]) -> Result<Secret<32>, Error>;
    /// ECDSA P-256 over a SHA-256 digest; `Error::SignatureInvalid` for whatever fails.
    fn verify_es256(
        &mut self,
        key: &PublicKey,
        digest: &[u8; 32],
        signature: &Bytes<64>,
    ) -> Result<(), Error>;

    /// Maps `size` bytes.
    fn map(&mut self, size: usize) -> Result<Self::Buffer, Error>;
    /// Installs a signed OP-TEE image; `Error::ImageRefused` where OP-TEE refuses it.
    fn install(&mut self, image: &mut Self::Buffer) -> Result<(), Error>;
    /// What OP-TEE holds under a UUID.
    fn held(&mut self, uuid: &Uuid) -> Result<Option<Held>, Error>;
    /// Removes what OP-TEE holds under a UUID; no error where there is nothing.
    fn uninstall(&mut self, uuid: &Uuid) -> Result<(), Error>;
    /// Opens a session to an installed enclave.
    fn open_enclave(&mut self, uuid: &Uuid, launch: &Launch) -> Result<Self::Enclave, Error>;
}

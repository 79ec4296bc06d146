//! Requests and replies of the commands.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::command::Lifecycle;
use crate::key::{DeviceId, KeyId, KeyRef, Name, Uuid};
use crate::limits::{MAX_CLASS_KEYS, MAX_ENCLAVES};

/// What the hardware unique key is worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Huk {
    /// Unique to this device.
    Unique,
    /// A test key shared by all unfused parts.
    TestKey,
    /// A constant of the build.
    Stub,
}

/// What stops an attacker from replaying old secure storage.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum RollbackProtection {
    /// Nothing: storage is encrypted and authenticated, but an old copy of all of it is accepted.
    None,
    /// A replay-protected memory block.
    Rpmb,
}

/// What kind of firmware this is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Profile {
    /// Development: NOT-TRUSTED.
    Dev,
    /// Production.
    Production,
}

/// A version of three numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Version(pub u16, pub u16, pub u16);

/// Reply to `Info`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct InfoReply {
    /// Identity of the device.
    pub device_id: DeviceId,
    /// Lifecycle state.
    pub lifecycle: Lifecycle,
    /// State of the hardware unique key.
    pub huk: Huk,
    /// State of the rollback protection.
    pub rollback_protection: RollbackProtection,
    /// Firmware profile.
    pub profile: Profile,
    /// Version of the TrustBox TA.
    pub ta_version: Version,
    /// Version of OP-TEE.
    pub optee_version: Version,
    /// SHA-256 of the device key's SubjectPublicKeyInfo.
    pub device_key: KeyId,
    /// The pinned owner root.
    pub owner_root: Option<KeyId>,
    /// The provisioning authority compiled into the TA.
    pub provisioning_authority: KeyId,
    /// Class keys held.
    pub class_keys: Vec<KeyRef, MAX_CLASS_KEYS>,
}

/// What a nonce is for; it is good for nothing else.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Purpose {
    /// Pinning the owner root; one outstanding.
    Provision,
    /// Importing a class key; four outstanding.
    ImportKey,
}

/// Request of `Challenge`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ChallengeRequest {
    /// What the nonce is for.
    pub purpose: Purpose,
}

/// Reply to `Challenge`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ChallengeReply {
    /// The device that asks.
    pub device_id: DeviceId,
    /// The nonce, single-use.
    pub nonce: Nonce,
}

/// A nonce of the TA.
pub type Nonce = crate::Bytes<32>;

/// Request of `InstallChunk`; the bytes travel in the third parameter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct InstallChunkRequest {
    /// Where the chunk starts in the ciphertext.
    pub offset: u32,
}

/// Reply to `InstallFinish`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct InstallReply {
    /// The enclave.
    pub uuid: Uuid,
    /// The version now installed.
    pub version: u32,
}

/// One enclave in a [`ListReply`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EnclaveEntry {
    /// The enclave.
    pub uuid: Uuid,
    /// Its display name.
    pub name: Name,
    /// Version installed, if any.
    pub version: Option<u32>,
    /// No lower version will ever be accepted.
    pub floor: u32,
    /// An interrupted change waits to be finished; the enclave does not launch until then.
    pub pending: bool,
}

/// Reply to `List`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ListReply {
    /// The enclaves.
    pub enclaves: Vec<EnclaveEntry, MAX_ENCLAVES>,
}

/// Request of `OpenEnclave`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OpenRequest {
    /// The enclave.
    pub uuid: Uuid,
}

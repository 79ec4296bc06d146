//! Requests and replies of the commands.

use arrayvec::{ArrayString, ArrayVec};
use serde::{Deserialize, Serialize};

use crate::bytes::Secret;
use crate::command::Lifecycle;
use crate::key::{DeviceId, KeyId, KeyRef, Name, PublicKey, Uuid};
use crate::launch::Ticket;
use crate::limits::{MAX_CLASS_KEYS, MAX_ENCLAVES, MAX_LABEL, MAX_REPORT_DATA, MAX_TOKEN_NONCE};
use crate::log::{Channel, Note};
use crate::manifest::{NONCE_SIZE, TAG_SIZE};
use crate::statement::Policy;

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
    /// SHA-256 of the device key's SubjectPublicKeyInfo; `None` where it is destroyed.
    pub device_key: Option<KeyId>,
    /// The attestation key; `None` where it is destroyed.
    pub attestation_key: Option<PublicKey>,
    /// The pinned owner root.
    pub owner_root: Option<KeyId>,
    /// The provisioning authority compiled into the TA.
    pub provisioning_authority: KeyId,
    /// What the owner allows.
    pub policy: Policy,
    /// How many revocations were accepted; 0 on a device without an owner.
    pub epoch: u64,
    /// Class keys held.
    pub class_keys: ArrayVec<KeyRef, MAX_CLASS_KEYS>,
    /// Bytes of the largest image that an install has secure memory for.
    pub max_image: u32,
}

/// What a nonce is for; it is good for nothing else.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Purpose {
    /// Pinning the owner root; one outstanding.
    Provision,
    /// Importing a class key; four outstanding.
    ImportKey,
    /// Locking; one outstanding together with the two below.
    Lock,
    /// Replacing the owner root.
    RotateRoot,
    /// Decommissioning.
    Decommission,
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

/// Request of `InstallLegacy`: what a package of the original format says of its enclave. Nobody signed it: the owner's
/// policy vouches for the UUID, and OP-TEE's signature inside for the rest.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LegacyRequest {
    /// UUID of the enclave.
    pub uuid: Uuid,
    /// Display name.
    pub name: Name,
    /// Version in the OP-TEE header inside.
    pub version: u32,
    /// Bytes of the image.
    pub size: u32,
    /// SHA-256 of the plaintext, the signed OP-TEE image.
    pub plaintext_sha256: crate::Bytes<32>,
    /// Nonce of the image's AES-256-GCM.
    pub nonce: crate::Bytes<NONCE_SIZE>,
    /// Tag of the image's AES-256-GCM.
    pub tag: crate::Bytes<TAG_SIZE>,
    /// The class key that encrypts the image itself.
    pub class_key: KeyRef,
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
    pub enclaves: ArrayVec<EnclaveEntry, MAX_ENCLAVES>,
}

/// Request of `OpenEnclave`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OpenRequest {
    /// The enclave.
    pub uuid: Uuid,
}

/// Request of `Uninstall`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct UninstallRequest {
    /// The enclave.
    pub uuid: Uuid,
    /// Destroy its sealing key and counters too: sealed data is lost for ever.
    pub erase: bool,
}

/// Request of `DestroyKey`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DestroyKeyRequest {
    /// The class key.
    pub key: KeyRef,
}

/// Request of `Log`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LogRequest {
    /// The channel to read.
    pub channel: Channel,
}

/// Request of `Csr`; the reply is a DER CertificationRequest (RFC 2986).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CsrRequest {
    /// Ends up in the request, so that an old one is recognised.
    pub nonce: Nonce,
}

/// Request of `Attest`; the reply is the token, a COSE_Sign1: see [`crate::token`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AttestRequest {
    /// The verifier's nonce: 32, 48 or 64 bytes.
    pub nonce: ArrayVec<u8, MAX_TOKEN_NONCE>,
}

/// Request of `EnclaveReport`; the reply is a token about the enclave, a COSE_Sign1: see [`crate::token`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReportRequest {
    /// From the launch.
    pub ticket: Ticket,
    /// The verifier's nonce.
    pub nonce: Nonce,
    /// What the enclave vouches for.
    pub data: ReportData,
}

/// What an enclave vouches for in a report.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ReportData {
    /// What it likes.
    pub bytes: ArrayVec<u8, MAX_REPORT_DATA>,
    /// A key whose private half it holds, to which others may encrypt.
    pub transport_key: Option<PublicKey>,
}

/// Request of `EnclaveCounter`. Counters start at 0 and only rise; they end with the sealing key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CounterRequest {
    /// From the launch.
    pub ticket: Ticket,
    /// Which one.
    pub counter: u8,
    /// What to add; 0 to read.
    pub add: u64,
}

/// Reply to `EnclaveCounter`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CounterReply {
    /// The counter, after adding.
    pub value: u64,
}

/// Request of `EnclaveNote`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NoteRequest {
    /// From the launch.
    pub ticket: Ticket,
    /// What to write down.
    pub text: Note,
}

/// Request of `EnclaveKey`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KeyRequest {
    /// From the launch.
    pub ticket: Ticket,
    /// What the key is for; different labels give unrelated keys.
    pub label: ArrayString<MAX_LABEL>,
}

/// Reply to `EnclaveKey` and `DiskKey`.
#[derive(Clone, Serialize, Deserialize)]
pub struct KeyReply {
    /// The key.
    pub key: Secret<32>,
}

//! The attestation token: which claims it has, under which keys.
//!
//! A COSE_Sign1 (RFC 9052, 4.2; tag 18) signed with ES256 by the attestation key, over a map of claims in deterministic
//! encoding (RFC 8949, 4.2.1). Claims are those of the PSA attestation token (RFC 9783) on EAT (RFC 9711). It is a profile
//! of its own, [`PROFILE`], since the PSA security model is not met whole: firmware components name no signer, and what
//! anchors them is the factory's certificate for the attestation key. Claims of ours have keys for private use (RFC 8392, 9.1).

use crate::command::Lifecycle;
use crate::limits::MAX_TOKEN_NONCE;
use crate::message::{Huk, Profile, RollbackProtection};

/// Name of this profile; a UUID of its own.
pub const PROFILE: &str = "urn:uuid:6d1f6c8e-2a0b-4b7c-8f43-5e9d0c7a1b52";

/// The protected header, a map in CBOR: algorithm (1) ES256 (-7).
pub const PROTECTED: &[u8] = &[0xa1, 0x01, 0x26];
/// First element of what is signed (RFC 9052, 4.4).
pub const CONTEXT: &str = "Signature1";

/// Bytes that a verifier's nonce may have.
pub const NONCE_SIZES: [usize; 3] = [32, 48, MAX_TOKEN_NONCE];
/// First byte of an instance id: a random or hashed identifier (RFC 9711, 4.2.1.1).
pub const UEID_RANDOM: u8 = 0x01;
/// The client id of the normal world; it is negative there (RFC 9783, 4.1.2).
pub const NORMAL_WORLD: i32 = -1;
/// What the implementation id is the SHA-256 of, with the name of the board behind it.
pub const IMPLEMENTATION_DOMAIN: &[u8] = b"TrustBox implementation\0";

/// Keys of the claims, in the order in which they are encoded.
pub mod claim {
    /// bstr, 32, 48 or 64 bytes: the verifier's nonce.
    pub const NONCE: i32 = 10;
    /// bstr, 33 bytes: 0x01 and the SHA-256 of the attestation key's SubjectPublicKeyInfo.
    pub const INSTANCE_ID: i32 = 256;
    /// tstr: the profile.
    pub const PROFILE: i32 = 265;
    /// bstr, 16 bytes: random, drawn anew by every boot.
    pub const BOOT_SEED: i32 = 268;
    /// int: who asked.
    pub const CLIENT_ID: i32 = 2394;
    /// uint: where the device stands.
    pub const LIFECYCLE: i32 = 2395;
    /// bstr, 32 bytes: which kind of device it is.
    pub const IMPLEMENTATION_ID: i32 = 2396;
    /// array of maps: what runs on it.
    pub const SOFTWARE_COMPONENTS: i32 = 2399;
    /// bstr, 32 bytes: SHA-256 of the device key's SubjectPublicKeyInfo, to which keys are wrapped.
    pub const WRAPPING_KEY: i32 = -65_537;
    /// uint: 0 for none, 1 for replay-protected memory.
    pub const ROLLBACK_PROTECTION: i32 = -65_538;
    /// uint: 0 for a stub, 1 for a test key, 2 for one that is unique to the device.
    pub const HARDWARE_KEY: i32 = -65_539;
    /// uint: revocations accepted so far.
    pub const SECURITY_EPOCH: i32 = -65_540;
    /// bstr, 32 bytes: SHA-256 over number (8 bytes, big-endian) and head of each channel of the activity log.
    pub const LOG_HEAD: i32 = -65_541;
    /// bstr, 32 bytes: id of the owner root; absent without an owner.
    pub const OWNER_ROOT: i32 = -65_542;
}

/// Keys in the map of a software component (RFC 9783, 4.4.1).
pub mod component {
    /// tstr: [`super::OPTEE`], [`super::TRUSTBOX`], or the UUID of an enclave.
    pub const TYPE: i32 = 1;
    /// bstr, 32 bytes: SHA-256 of what runs; of an enclave, that of its signed image.
    pub const MEASUREMENT: i32 = 2;
    /// tstr: its version.
    pub const VERSION: i32 = 4;
    /// bstr, 32 bytes: of an enclave, its publisher's id; zeros where the policy let it in without one.
    pub const SIGNER_ID: i32 = 5;
}

/// Type of the component that is OP-TEE's core, as it is in memory.
pub const OPTEE: &str = "optee";
/// Type of the component that is the TrustBox TA, as it is in memory.
pub const TRUSTBOX: &str = "trustbox";

/// The lifecycle claim (RFC 9783, 4.3.1). Development firmware is never secured, whatever the factory said: it counts as a
/// device whose root of trust can be debugged.
pub const fn lifecycle(lifecycle: Lifecycle, profile: Profile) -> u16 {
    match (lifecycle, profile) {
        (Lifecycle::Blank, _) => 0x1000,
        (Lifecycle::Provisioned, _) => 0x2000,
        (Lifecycle::Locked, Profile::Production) => 0x3000,
        (Lifecycle::Locked, Profile::Dev) => 0x5000,
        (Lifecycle::Decommissioned, _) => 0x6000,
    }
}

/// The claim on rollback protection.
pub const fn rollback_protection(state: RollbackProtection) -> u8 {
    match state {
        RollbackProtection::None => 0,
        RollbackProtection::Rpmb => 1,
    }
}

/// The claim on the hardware unique key.
pub const fn hardware_key(state: Huk) -> u8 {
    match state {
        Huk::Stub => 0,
        Huk::TestKey => 1,
        Huk::Unique => 2,
    }
}

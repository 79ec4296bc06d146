//! Attestation tokens: which claims they have, under which keys, and how they are written.
//!
//! A COSE_Sign1 (RFC 9052, 4.2; tag 18) signed with ES256 by the attestation key, over a map of claims in deterministic
//! encoding (RFC 8949, 4.2.1). Claims are those of the PSA attestation token (RFC 9783) on EAT (RFC 9711). It is a profile
//! of its own, [`PROFILE`], since the PSA security model is not met whole: firmware components name no signer, and what
//! anchors them is the factory's certificate for the attestation key. Claims of ours have keys for private use (RFC 8392, 9.1).
//!
//! There are two kinds, told apart by the client id. The device's own lists every enclave that is installed. An enclave's
//! report lists the one that asked, as it was launched, and has what that enclave vouches for: its data, and where it holds
//! a transport key, that key as confirmation (RFC 8747).

use core::fmt::{Arguments, Write};

use arrayvec::ArrayString;
use sha2::{Digest, Sha256};

use crate::bytes::Bytes;
use crate::cbor::{Encoder, Full};
use crate::command::Lifecycle;
use crate::error::Error;
use crate::key::{KeyId, PublicKey};
use crate::launch::Enclave;
use crate::limits::MAX_TOKEN_NONCE;
use crate::message::{Huk, Profile, ReportData, RollbackProtection, Version};

/// Name of this profile: OBJECT IDENTIFIER 2.25.(UUID 6d1f6c8e-2a0b-4b7c-8f43-5e9d0c7a1b52) (ITU-T X.667), as BER encodes it
/// but for tag and length (RFC 9711, 4.3.2). As text it would have twice the bytes.
pub const PROFILE: &[u8] = &[
    0x69, 0x81, 0xda, 0x9f, 0xb6, 0xa3, 0xc5, 0xa0, 0xda, 0xad, 0xf9, 0x8f, 0xa1, 0xd7, 0xd3, 0xd0, 0xe3,
    0xe8, 0xb6, 0x52,
];

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
/// The client id of an enclave: positive, as of every caller in the secure world. Its component says which it is.
pub const ENCLAVE: i32 = 1;
/// What the implementation id is the SHA-256 of, with the name of the board behind it.
pub const IMPLEMENTATION_DOMAIN: &[u8] = b"TrustBox implementation\0";

/// Keys of the claims, in the order in which they are encoded.
pub mod claim {
    /// map: the transport key that an enclave holds, a COSE_Key under 1 (RFC 8747, 3.2); in reports only.
    pub const CONFIRMATION: i32 = 8;
    /// bstr, 32, 48 or 64 bytes: the verifier's nonce.
    pub const NONCE: i32 = 10;
    /// bstr, 33 bytes: 0x01 and the SHA-256 of the attestation key's SubjectPublicKeyInfo.
    pub const INSTANCE_ID: i32 = 256;
    /// bstr: the profile, an OBJECT IDENTIFIER.
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
    /// array: entries so far in each of the three channels of the activity log, and bstr, 32 bytes: SHA-256 over the heads
    /// of these.
    pub const LOG_HEAD: i32 = -65_541;
    /// bstr, 32 bytes: id of the owner root; absent without an owner.
    pub const OWNER_ROOT: i32 = -65_542;
    /// bstr, 64 bytes at most: what the enclave vouches for; in reports only.
    pub const ENCLAVE_DATA: i32 = -65_543;
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

/// Before the protected header: tag 18, array of 4, a byte string of 3 bytes.
const FRONT: [u8; 3] = [0xd2, 0x84, 0x43];
/// Before the claims: an empty map, and a byte string whose length has two bytes; claims always have more than 255.
const CLAIMS_FRONT: [u8; 2] = [0xa0, 0x59];
/// Where the claims begin.
const CLAIMS_AT: usize = FRONT.len() + PROTECTED.len() + CLAIMS_FRONT.len() + 2;
/// Before the signature: a byte string of 64 bytes.
const SIGNATURE_FRONT: [u8; 2] = [0x58, 64];
/// Claims that every token has.
const CLAIMS: usize = 13;

/// What a token says.
pub struct Claims<'a> {
    /// The verifier's nonce.
    pub nonce: &'a [u8],
    /// Id of the key that signs.
    pub attestation_key: KeyId,
    /// Random, drawn anew by every boot.
    pub boot: Bytes<16>,
    /// The lifecycle claim: see [`lifecycle`].
    pub lifecycle: u16,
    /// Name of the board.
    pub board: &'a str,
    /// OP-TEE's core, and the TrustBox TA: measurement and version of each.
    pub firmware: [(Bytes<32>, Version); 2],
    /// The enclaves that the token is about.
    pub enclaves: &'a [Enclave],
    /// Id of the device key.
    pub wrapping_key: KeyId,
    /// State of the rollback protection.
    pub rollback_protection: RollbackProtection,
    /// State of the hardware unique key.
    pub hardware_key: Huk,
    /// Revocations accepted so far.
    pub epoch: u64,
    /// Entries so far in each channel of the activity log, and [`log_head`] of its heads.
    pub log: ([u64; 3], Bytes<32>),
    /// Id of the owner root.
    pub owner_root: Option<KeyId>,
    /// What an enclave vouches for; it makes the token a report.
    pub report: Option<&'a ReportData>,
}

impl Claims<'_> {
    /// Writes the token into `out`; returns the bytes used. `sign` is ES256 over a digest.
    pub fn sign(
        &self,
        out: &mut [u8],
        sign: impl FnOnce(&[u8; 32]) -> Result<Bytes<64>, Error>,
    ) -> Result<usize, Error> {
        let (front, rest) = out.split_at_mut_checked(CLAIMS_AT).ok_or(Error::ShortBuffer)?;
        let length = self.encode(rest).map_err(|Full| Error::ShortBuffer)?;
        let (claims, rest) = rest.split_at_mut_checked(length).ok_or(Error::Internal)?;
        let size = u16::try_from(length).map_err(|_| Error::ShortBuffer)?.to_be_bytes();
        let signature = sign(&to_be_signed(size, claims))?;
        write(front, &[&FRONT, PROTECTED, &CLAIMS_FRONT, &size])?;
        write(rest, &[&SIGNATURE_FRONT, &signature.0])?;
        Ok(CLAIMS_AT + length + SIGNATURE_FRONT.len() + signature.0.len())
    }

    /// The claims, sorted by their encoded keys.
    fn encode(&self, out: &mut [u8]) -> Result<usize, Full> {
        let mut out = Encoder::new(out);
        let key = self.report.and_then(|report| report.transport_key.as_ref());
        let optional = [self.owner_root.is_some(), self.report.is_some(), key.is_some()];
        out.map(CLAIMS + optional.map(usize::from).iter().sum::<usize>())?;
        if let Some(key) = key {
            confirmation(key, &mut out)?;
        }
        self.standard(&mut out)?;
        self.components(&mut out)?;
        self.ours(&mut out)?;
        Ok(out.length())
    }

    /// Those of the PSA token but for the components.
    fn standard(&self, out: &mut Encoder<'_>) -> Result<(), Full> {
        let mut instance = [UEID_RANDOM; 33];
        let [_, id @ ..] = &mut instance;
        id.copy_from_slice(&self.attestation_key.0);
        let implementation = Sha256::new_with_prefix(IMPLEMENTATION_DOMAIN).chain_update(self.board);
        let client = if self.report.is_some() { ENCLAVE } else { NORMAL_WORLD };
        out.integer(claim::NONCE)?.bytes(self.nonce)?;
        out.integer(claim::INSTANCE_ID)?.bytes(&instance)?;
        out.integer(claim::PROFILE)?.bytes(PROFILE)?;
        out.integer(claim::BOOT_SEED)?.bytes(&self.boot.0)?;
        out.integer(claim::CLIENT_ID)?.integer(client)?;
        out.integer(claim::LIFECYCLE)?.integer(self.lifecycle)?;
        out.integer(claim::IMPLEMENTATION_ID)?.bytes(&implementation.finalize())?;
        Ok(())
    }

    fn components(&self, out: &mut Encoder<'_>) -> Result<(), Full> {
        out.integer(claim::SOFTWARE_COMPONENTS)?.array(self.firmware.len() + self.enclaves.len())?;
        for (kind, (measurement, Version(major, minor, patch))) in
            [OPTEE, TRUSTBOX].iter().zip(&self.firmware)
        {
            component(out, kind, measurement, format_args!("{major}.{minor}.{patch}"), None)?;
        }
        for Enclave { uuid, digest, version, publisher } in self.enclaves {
            let mut kind = ArrayString::<36>::new();
            write!(kind, "{uuid}").map_err(|_| Full)?;
            component(out, &kind, digest, format_args!("{version}"), Some(publisher))?;
        }
        Ok(())
    }

    /// Those for private use.
    fn ours(&self, out: &mut Encoder<'_>) -> Result<(), Full> {
        out.integer(claim::WRAPPING_KEY)?.bytes(&self.wrapping_key.0)?;
        out.integer(claim::ROLLBACK_PROTECTION)?.integer(rollback_protection(self.rollback_protection))?;
        out.integer(claim::HARDWARE_KEY)?.integer(hardware_key(self.hardware_key))?;
        out.integer(claim::SECURITY_EPOCH)?.integer(self.epoch)?;
        let ([authority, activity, enclaves], head) = &self.log;
        out.integer(claim::LOG_HEAD)?.array(4)?;
        out.integer(*authority)?.integer(*activity)?.integer(*enclaves)?.bytes(&head.0)?;
        if let Some(root) = &self.owner_root {
            out.integer(claim::OWNER_ROOT)?.bytes(&root.0)?;
        }
        if let Some(report) = self.report {
            out.integer(claim::ENCLAVE_DATA)?.bytes(&report.bytes)?;
        }
        Ok(())
    }
}

/// A P-256 key as COSE_Key (RFC 9053, 7.1.1): key type EC2, curve, x, y.
fn confirmation(key: &PublicKey, out: &mut Encoder<'_>) -> Result<(), Full> {
    let (x, y) = key.0.0.split_at(32);
    out.integer(claim::CONFIRMATION)?.map(1)?.integer(1)?.map(4)?;
    out.integer(1)?.integer(2)?.integer(-1)?.integer(1)?.integer(-2)?.bytes(x)?.integer(-3)?.bytes(y)?;
    Ok(())
}

fn component(
    out: &mut Encoder<'_>,
    kind: &str,
    measurement: &Bytes<32>,
    version: Arguments<'_>,
    signer: Option<&KeyId>,
) -> Result<(), Full> {
    let mut text = ArrayString::<20>::new();
    text.write_fmt(version).map_err(|_| Full)?;
    out.map(3 + usize::from(signer.is_some()))?;
    out.integer(component::TYPE)?.text(kind)?;
    out.integer(component::MEASUREMENT)?.bytes(&measurement.0)?;
    out.integer(component::VERSION)?.text(&text)?;
    if let Some(signer) = signer {
        out.integer(component::SIGNER_ID)?.bytes(&signer.0)?;
    }
    Ok(())
}

/// Digest of the `Sig_structure` (RFC 9052, 4.4): array of 4, context, protected header, no external data, claims.
fn to_be_signed(size: [u8; 2], claims: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new_with_prefix([0x84, 0x60 | CONTEXT.len() as u8]);
    hash.update(CONTEXT);
    hash.update([0x40 | PROTECTED.len() as u8]);
    hash.update(PROTECTED);
    hash.update([0x40, 0x59]);
    hash.update(size);
    hash.update(claims);
    hash.finalize().into()
}

/// Writes parts one behind the other, from the start of `out`.
fn write(out: &mut [u8], parts: &[&[u8]]) -> Result<(), Error> {
    let mut at = 0;
    for part in parts {
        out.get_mut(at..at + part.len()).ok_or(Error::ShortBuffer)?.copy_from_slice(part);
        at += part.len();
    }
    Ok(())
}

/// The claim's hash of the heads of the log's channels.
pub fn log_head(heads: &[Bytes<32>; 3]) -> Bytes<32> {
    Bytes(heads.iter().fold(Sha256::new(), |hash, head| hash.chain_update(head.0)).finalize().into())
}

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

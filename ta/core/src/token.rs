//! The attestation token: what the device runs and where it stands, as standard claims, signed over a verifier's nonce.
//!
//! Everything but the nonce is the TA's own knowledge: measured by OP-TEE now, or verified by the TA at install, and nobody
//! else can change it since (INV-8). Encoded straight into the reply.

use alloc::boxed::Box;
use core::fmt::Write;

use arrayvec::ArrayString;
use sha2::{Digest, Sha256};
use trustbox_api::message::{AttestRequest, LogHeadRequest, Nonce, Version};
use trustbox_api::token::{
    CONTEXT, IMPLEMENTATION_DOMAIN, NONCE_SIZES, NORMAL_WORLD, OPTEE, PROFILE, PROTECTED, TRUSTBOX,
    UEID_RANDOM, claim, component, hardware_key, lifecycle, rollback_protection,
};
use trustbox_api::{Bytes, Error};

use crate::cbor::{Encoder, Full};
use crate::records::{DeviceRecord, EnclaveRecord, EnclavesRecord, Installed, load};
use crate::tee::{Platform, Tee};
use crate::{info, log};

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

/// A token over the nonce of `request` into `reply`; returns the bytes used.
#[inline(never)]
pub fn attest<T: Tee>(
    tee: &mut T,
    device: &DeviceRecord,
    request: &AttestRequest,
    reply: &mut [u8],
) -> Result<usize, Error> {
    if !NONCE_SIZES.contains(&request.nonce.len()) {
        return Err(Error::BadMessage);
    }
    let facts = Facts::gather(tee, device)?;
    let (front, rest) = reply.split_at_mut_checked(CLAIMS_AT).ok_or(Error::ShortBuffer)?;
    let length = facts.encode(&request.nonce, rest).map_err(|Full| Error::ShortBuffer)?;
    let (claims, rest) = rest.split_at_mut_checked(length).ok_or(Error::Internal)?;
    let size = u16::try_from(length).map_err(|_| Error::ShortBuffer)?.to_be_bytes();
    let signature = tee.sign_es256(&to_be_signed(size, claims))?;
    write(front, &[&FRONT, PROTECTED, &CLAIMS_FRONT, &size])?;
    write(rest, &[&SIGNATURE_FRONT, &signature.0])?;
    Ok(CLAIMS_AT + length + SIGNATURE_FRONT.len() + signature.0.len())
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

/// What the token says, but for the nonce.
struct Facts<'a> {
    device: &'a DeviceRecord,
    platform: Platform,
    boot: Bytes<16>,
    attestation_key: Bytes<32>,
    wrapping_key: Bytes<32>,
    log_head: [u8; 32],
    optee: Bytes<32>,
    trustbox: Bytes<32>,
    enclaves: Box<EnclavesRecord>,
}

impl<'a> Facts<'a> {
    fn gather<T: Tee>(tee: &mut T, device: &'a DeviceRecord) -> Result<Self, Error> {
        // Makes the keys of a blank device.
        let wrapping_key = info::device_key(tee, device)?.id();
        let heads = log::head(tee, LogHeadRequest { nonce: Nonce::default() })?.heads;
        let mut log_head = Sha256::new();
        for (number, head) in heads {
            log_head.update(number.to_be_bytes());
            log_head.update(head.0);
        }
        let (optee, trustbox) = tee.measure()?;
        Ok(Self {
            device,
            platform: tee.platform(),
            boot: tee.now()?.boot,
            attestation_key: tee.attestation_public_key()?.id(),
            wrapping_key,
            log_head: log_head.finalize().into(),
            optee,
            trustbox,
            enclaves: load(tee)?,
        })
    }

    /// The claims, sorted by their encoded keys.
    fn encode(&self, nonce: &[u8], out: &mut [u8]) -> Result<usize, Full> {
        let mut out = Encoder::new(out);
        self.standard(nonce, &mut out)?;
        self.components(&mut out)?;
        self.ours(&mut out)?;
        Ok(out.length())
    }

    /// Those of the PSA token but for the components.
    fn standard(&self, nonce: &[u8], out: &mut Encoder<'_>) -> Result<(), Full> {
        let mut instance = [UEID_RANDOM; 33];
        let [_, id @ ..] = &mut instance;
        id.copy_from_slice(&self.attestation_key.0);
        let mut implementation = Sha256::new();
        implementation.update(IMPLEMENTATION_DOMAIN);
        implementation.update(self.platform.board);
        out.map(CLAIMS + usize::from(self.device.owner.is_some()))?;
        out.integer(claim::NONCE)?.bytes(nonce)?;
        out.integer(claim::INSTANCE_ID)?.bytes(&instance)?;
        out.integer(claim::PROFILE)?.text(PROFILE)?;
        out.integer(claim::BOOT_SEED)?.bytes(&self.boot.0)?;
        out.integer(claim::CLIENT_ID)?.integer(NORMAL_WORLD)?;
        out.integer(claim::LIFECYCLE)?.integer(lifecycle(self.device.lifecycle, self.platform.profile))?;
        out.integer(claim::IMPLEMENTATION_ID)?.bytes(&implementation.finalize())?;
        Ok(())
    }

    fn components(&self, out: &mut Encoder<'_>) -> Result<(), Full> {
        let installed = || self.enclaves.enclaves.iter().filter_map(|enclave| settled(enclave));
        out.integer(claim::SOFTWARE_COMPONENTS)?.array(2 + installed().count())?;
        for (kind, measurement, Version(major, minor, patch)) in [
            (OPTEE, &self.optee, self.platform.optee_version),
            (TRUSTBOX, &self.trustbox, self.platform.ta_version),
        ] {
            component(out, kind, measurement, format_args!("{major}.{minor}.{patch}"), None)?;
        }
        for (enclave, Installed { version, digest, publisher }) in installed() {
            let mut uuid = ArrayString::<36>::new();
            write!(uuid, "{}", enclave.uuid).map_err(|_| Full)?;
            component(out, &uuid, digest, format_args!("{version}"), Some(publisher))?;
        }
        Ok(())
    }

    /// Those for private use.
    fn ours(&self, out: &mut Encoder<'_>) -> Result<(), Full> {
        let owner = self.device.owner.as_deref();
        out.integer(claim::WRAPPING_KEY)?.bytes(&self.wrapping_key.0)?;
        let rollback = rollback_protection(self.platform.rollback_protection);
        out.integer(claim::ROLLBACK_PROTECTION)?.integer(rollback)?;
        out.integer(claim::HARDWARE_KEY)?.integer(hardware_key(self.platform.huk))?;
        out.integer(claim::SECURITY_EPOCH)?.integer(owner.map_or(0, |owner| owner.epoch))?;
        out.integer(claim::LOG_HEAD)?.bytes(&self.log_head)?;
        if let Some(owner) = owner {
            out.integer(claim::OWNER_ROOT)?.bytes(&owner.root.id().0)?;
        }
        Ok(())
    }
}

/// What is installed for certain; an interrupted change is settled by the next one that writes, and does not launch before.
fn settled(enclave: &EnclaveRecord) -> Option<(&EnclaveRecord, &Installed)> {
    let installed = enclave.installed.as_ref()?;
    enclave.intent.is_none().then_some((enclave, installed))
}

fn component(
    out: &mut Encoder<'_>,
    kind: &str,
    measurement: &Bytes<32>,
    version: core::fmt::Arguments<'_>,
    signer: Option<&Bytes<32>>,
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

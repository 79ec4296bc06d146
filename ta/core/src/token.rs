//! Attestation tokens: what the device runs and where it stands, or what one enclave vouches for, over a verifier's nonce.
//!
//! Everything but the nonce, and in a report the enclave's data, is the TA's own knowledge: measured by OP-TEE, or verified
//! by the TA at install, and nobody else can change it since (INV-8). A report is about what was launched: its ticket says
//! what that is, whatever is installed meanwhile.

use alloc::boxed::Box;

use arrayvec::ArrayVec;
use trustbox_api::Error;
use trustbox_api::launch::Enclave;
use trustbox_api::limits::MAX_ENCLAVES;
use trustbox_api::message::{AttestRequest, ReportData, ReportRequest};
use trustbox_api::token::{Claims, NONCE_SIZES, lifecycle};

use crate::records::{DeviceRecord, EnclaveRecord, EnclavesRecord, Installed, load};
use crate::tee::Tee;
use crate::{callbacks, info, log};

/// The device's token over the nonce of `request` into `reply`; returns the bytes used.
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
    let record: Box<EnclavesRecord> = load(tee)?;
    let installed: ArrayVec<Enclave, MAX_ENCLAVES> =
        record.enclaves.iter().filter_map(|enclave| settled(enclave)).collect();
    sign(tee, device, &request.nonce, &installed, None, reply)
}

/// The report of the enclave that asks, into `reply`; returns the bytes used.
#[inline(never)]
pub fn report<T: Tee>(
    tee: &mut T,
    device: &DeviceRecord,
    request: &ReportRequest,
    reply: &mut [u8],
) -> Result<usize, Error> {
    let enclave = callbacks::launched_as(tee, device, &request.ticket)?.into();
    sign(tee, device, &request.nonce.0, &[enclave], Some(&request.data), reply)
}

#[inline(never)]
fn sign<T: Tee>(
    tee: &mut T,
    device: &DeviceRecord,
    nonce: &[u8],
    enclaves: &[Enclave],
    report: Option<&ReportData>,
    reply: &mut [u8],
) -> Result<usize, Error> {
    let (platform, owner) = (tee.platform(), device.owner.as_deref());
    // Makes the keys of a blank device.
    let wrapping_key = info::device_key(tee, device)?.id();
    let (optee, trustbox) = tee.measure()?;
    let claims = Claims {
        nonce,
        attestation_key: tee.attestation_public_key()?.id(),
        boot: tee.now()?.boot,
        lifecycle: lifecycle(device.lifecycle, platform.profile),
        board: platform.board,
        firmware: [(optee, platform.optee_version), (trustbox, platform.ta_version)],
        enclaves,
        wrapping_key,
        rollback_protection: platform.rollback_protection,
        hardware_key: platform.huk,
        epoch: owner.map_or(0, |owner| owner.epoch),
        log: log::head(tee)?,
        owner_root: owner.map(|owner| owner.root.id()),
        report,
    };
    claims.sign(reply, |digest| tee.sign_es256(digest))
}

/// What is installed for certain; an interrupted change is settled by the next one that writes, and does not launch before.
fn settled(enclave: &EnclaveRecord) -> Option<Enclave> {
    let Installed { version, digest, publisher } = *enclave.installed.as_ref()?;
    enclave.intent.is_none().then_some(Enclave { uuid: enclave.uuid, digest, version, publisher })
}

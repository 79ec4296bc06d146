//! What the TrustBox TA answers an enclave on the device in memory: the same messages and limits, with keys that everybody
//! knows.

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use p256::ecdsa::signature::hazmat::PrehashSigner;
use p256::ecdsa::{Signature, SigningKey};
use sha2::{Digest, Sha256};
use trustbox_api::command::Lifecycle;
use trustbox_api::evidence::{self, Evidence, Report, SignedEvidence};
use trustbox_api::launch::{Identity, Ticket};
use trustbox_api::limits::MAX_REPLY;
use trustbox_api::message::{
    CounterReply, CounterRequest, KeyReply, KeyRequest, NoteRequest, Profile, ReportRequest,
};
use trustbox_api::{Bytes, Command, Error, PublicKey, Secret, wire};

use super::device::{self, Device, working};
use crate::EnclaveError;

pub(super) fn ticket() -> Ticket {
    let identity = Identity {
        uuid: super::UUID,
        digest: Bytes([0xd1; 32]),
        version: 1,
        publisher: Bytes([0xb1; 32]),
        generation: Bytes([1; 8]),
        epoch: 0,
    };
    Ticket { identity, nonce: Bytes([0; 12]), tag: Bytes([0; 16]) }
}

pub(super) fn attestation_key() -> PublicKey {
    let point = signing_key().verifying_key().to_sec1_point(false);
    PublicKey(point.as_bytes().get(1..).and_then(Bytes::from_slice).unwrap_or_default())
}

/// The reply comes with all its room, as from the TA.
pub(crate) fn ask(command: Command, request: &[u8]) -> Result<Vec<u8>, EnclaveError> {
    let mut out = vec![0; MAX_REPLY];
    device::with(|device| answer(device, command, request, &mut out)).map_err(EnclaveError::refused)?;
    Ok(out)
}

fn answer(device: &mut Device, command: Command, request: &[u8], out: &mut [u8]) -> Result<(), Error> {
    working(device)?;
    match command {
        Command::EnclaveReport => report(&wire::decode(request)?, out),
        Command::EnclaveCounter => count(device, &wire::decode(request)?, out),
        Command::EnclaveNote => {
            let request: NoteRequest = wire::decode(request)?;
            device.notes.push(request.text.to_string());
            Ok(())
        }
        Command::EnclaveKey => key(device, &wire::decode(request)?, out),
        _ => Err(Error::WrongCaller),
    }
}

fn count(device: &mut Device, request: &CounterRequest, out: &mut [u8]) -> Result<(), Error> {
    let counter = device.counters.get_mut(usize::from(request.counter)).ok_or(Error::BadMessage)?;
    *counter = counter.checked_add(request.add).ok_or(Error::LimitReached)?;
    wire::encode(&CounterReply { value: *counter }, out).map(drop)
}

fn key(device: &Device, request: &KeyRequest, out: &mut [u8]) -> Result<(), Error> {
    let derived = Sha256::new().chain_update(device.sealing_key).chain_update(request.label.as_bytes());
    wire::encode(&KeyReply { key: Secret::new(derived.finalize().into()) }, out).map(drop)
}

fn report(request: &ReportRequest, out: &mut [u8]) -> Result<(), Error> {
    let report = Report {
        device_id: Bytes([0xde; 32]),
        lifecycle: Lifecycle::Provisioned,
        profile: Profile::Dev,
        enclave: request.ticket.identity,
        nonce: request.nonce,
        data: request.data.clone(),
    };
    let mut payload = [0; 512];
    let payload = wire::encode(&Evidence::Report(report), &mut payload)?;
    let signature: Signature =
        signing_key().sign_prehash(&evidence::digest(payload)).map_err(|_| Error::Internal)?;
    let signature = Bytes::from_slice(&signature.to_bytes()).ok_or(Error::Internal)?;
    wire::encode(&SignedEvidence { payload, signer: attestation_key(), signature }, out).map(drop)
}

#[expect(clippy::expect_used, reason = "a constant that is a key")]
fn signing_key() -> SigningKey {
    SigningKey::from_slice(&[0x0a; 32]).expect("less than the order of the curve")
}

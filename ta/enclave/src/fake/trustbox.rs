//! What the TrustBox TA answers an enclave on the device in memory: the same messages and limits, with keys that everybody
//! knows.

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use p256::ecdsa::signature::hazmat::PrehashSigner;
use p256::ecdsa::{Signature, SigningKey};
use sha2::{Digest, Sha256};
use trustbox_api::command::Lifecycle;
use trustbox_api::launch::{Identity, Ticket};
use trustbox_api::limits::MAX_REPLY;
use trustbox_api::message::{
    CounterReply, CounterRequest, Huk, KeyReply, KeyRequest, NoteRequest, Profile, ReportRequest,
    RollbackProtection, Version,
};
use trustbox_api::token::{Claims, lifecycle, log_head};
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

pub(crate) fn ask(command: Command, request: &[u8]) -> Result<Vec<u8>, EnclaveError> {
    let mut out = vec![0; MAX_REPLY];
    let answered = device::with(|device| answer(device, command, request, &mut out));
    out.truncate(answered.map_err(EnclaveError::refused)?);
    Ok(out)
}

fn answer(device: &mut Device, command: Command, request: &[u8], out: &mut [u8]) -> Result<usize, Error> {
    working(device)?;
    match command {
        Command::EnclaveReport => report(&wire::decode(request)?, out),
        Command::EnclaveCounter => count(device, &wire::decode(request)?, out),
        Command::EnclaveNote => {
            let request: NoteRequest = wire::decode(request)?;
            device.notes.push(request.text.to_string());
            Ok(0)
        }
        Command::EnclaveKey => key(device, &wire::decode(request)?, out),
        _ => Err(Error::WrongCaller),
    }
}

fn count(device: &mut Device, request: &CounterRequest, out: &mut [u8]) -> Result<usize, Error> {
    let counter = device.counters.get_mut(usize::from(request.counter)).ok_or(Error::BadMessage)?;
    *counter = counter.checked_add(request.add).ok_or(Error::LimitReached)?;
    wire::encode(&CounterReply { value: *counter }, out).map(<[u8]>::len)
}

fn key(device: &Device, request: &KeyRequest, out: &mut [u8]) -> Result<usize, Error> {
    let derived = Sha256::new().chain_update(device.sealing_key).chain_update(request.label.as_bytes());
    wire::encode(&KeyReply { key: Secret::new(derived.finalize().into()) }, out).map(<[u8]>::len)
}

fn report(request: &ReportRequest, out: &mut [u8]) -> Result<usize, Error> {
    let claims = Claims {
        nonce: &request.nonce.0,
        attestation_key: attestation_key().id(),
        boot: Bytes([0xb0; 16]),
        lifecycle: lifecycle(Lifecycle::Provisioned, Profile::Dev),
        board: "fake",
        firmware: [(Bytes([0xc0; 32]), Version(4, 10, 0)), (Bytes([0x7a; 32]), Version(0, 1, 0))],
        enclaves: &[request.ticket.identity.into()],
        wrapping_key: Bytes([0xde; 32]),
        rollback_protection: RollbackProtection::None,
        hardware_key: Huk::Stub,
        epoch: 0,
        log: ([0; 3], log_head(&Default::default())),
        owner_root: None,
        report: Some(&request.data),
    };
    claims.sign(out, |digest| {
        let signature: Signature = signing_key().sign_prehash(digest).map_err(|_| Error::Internal)?;
        Bytes::from_slice(&signature.to_bytes()).ok_or(Error::Internal)
    })
}

#[expect(clippy::expect_used, reason = "a constant that is a key")]
fn signing_key() -> SigningKey {
    SigningKey::from_slice(&[0x0a; 32]).expect("less than the order of the curve")
}

//! The certification request of the device (PKCS#10, RFC 2986): signed by the attestation key, it names the device key too.

use core::fmt::Write;

use arrayvec::ArrayString;
use sha2::{Digest, Sha256};
use trustbox_api::message::CsrRequest;
use trustbox_api::{Bytes, Error};

use crate::der::{
    CONTEXT_0, Element, PRINTABLE_STRING, SEQUENCE, SET, UTF8_STRING, bit_string, element, integer,
};
use crate::records::DeviceRecord;
use crate::tee::Tee;
use crate::{identity, info};

/// INTEGER 0: version 1.
const VERSION: [u8; 3] = [0x02, 0x01, 0x00];
/// OBJECT IDENTIFIER 2.5.4.5, serialNumber.
const SERIAL_NUMBER: [u8; 5] = [0x06, 0x03, 0x55, 0x04, 0x05];
/// OBJECT IDENTIFIER 1.2.840.113549.1.9.7, challengePassword (RFC 2985, 5.4.1): the nonce in hexadecimal.
const CHALLENGE: [u8; 11] = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x07];
/// OBJECT IDENTIFIER 2.25.(UUID of the TrustBox TA).1 (ITU-T X.667): the device key's SubjectPublicKeyInfo.
const DEVICE_KEY: [u8; 23] = [
    0x06, 0x15, 0x69, 0x82, 0xf1, 0xa6, 0xf4, 0xf5, 0x87, 0xf0, 0xe2, 0xbd, 0xfd, 0x9a, 0xa9, 0xc7, 0xa5,
    0xc7, 0xf2, 0xc2, 0xe9, 0x41, 0x01,
];
/// AlgorithmIdentifier ecdsa-with-SHA256 (RFC 5758, 3.2).
const ECDSA_WITH_SHA256: [u8; 12] = [0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];

/// The request, DER.
#[inline(never)]
pub fn request<T: Tee>(tee: &mut T, device: &DeviceRecord, request: CsrRequest) -> Result<Element, Error> {
    let device_key = info::device_key(tee, device)?;
    let public = tee.attestation_public_key()?;
    let serial = element(PRINTABLE_STRING, &[hex(&identity::device_id(tee)?)?.as_bytes()])?;
    let name = sequence(&[&set(&[&sequence(&[&SERIAL_NUMBER, &serial])?])?])?;
    let nonce = element(UTF8_STRING, &[hex(&request.nonce)?.as_bytes()])?;
    let challenge = sequence(&[&CHALLENGE, &set(&[&nonce])?])?;
    let device_key = sequence(&[&DEVICE_KEY, &set(&[device_key.as_bytes()])?])?;
    let attributes = element(CONTEXT_0, &[&challenge, &device_key])?;
    let info = sequence(&[&VERSION, &name, &public.spki(), &attributes])?;
    let signature = tee.sign_es256(&Sha256::digest(&info).into())?;
    let (r, s) = signature.0.split_at(32);
    let signature = sequence(&[&integer(r)?, &integer(s)?])?;
    sequence(&[&info, &ECDSA_WITH_SHA256, &bit_string(&signature)?])
}

fn sequence(parts: &[&[u8]]) -> Result<Element, Error> {
    element(SEQUENCE, parts)
}

fn set(parts: &[&[u8]]) -> Result<Element, Error> {
    element(SET, parts)
}

fn hex(bytes: &Bytes<32>) -> Result<ArrayString<64>, Error> {
    let mut out = ArrayString::new();
    write!(out, "{bytes}").map_err(|_| Error::Internal)?;
    Ok(out)
}

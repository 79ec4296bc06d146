//! The keys of the device, generated in OP-TEE and kept there: RSA-3072 to receive secrets, P-256 to sign evidence.

use arrayvec::ArrayVec;
use optee_utee::{
    AttributeId, AttributeValue, GenericObject, ObjectHandle, TransientObject, TransientObjectType, UsageFlag,
};
use optee_utee_sys as sys;
use trustbox_api::key::PublicKey;
use trustbox_api::{Bytes, Error, Secret};
use trustbox_core::DevicePublicKey;

use crate::{operation, storage};

const DEVICE_KEY: &[u8] = b"device-key";
const DEVICE_KEY_BITS: usize = 3072;
const ATTESTATION_KEY: &[u8] = b"attestation-key";

/// Creates the keys where they are missing. Not extractable from the start, and never overwritten.
pub fn create() -> Result<(), Error> {
    create_one(DEVICE_KEY, || {
        let key = allocate(TransientObjectType::RsaKeypair, DEVICE_KEY_BITS, UsageFlag::DECRYPT)?;
        key.generate_key(DEVICE_KEY_BITS, &[]).map_err(|_| Error::Internal)?;
        Ok(key)
    })?;
    create_one(ATTESTATION_KEY, || {
        let key = allocate(TransientObjectType::EcdsaKeypair, 256, UsageFlag::SIGN)?;
        let curve = AttributeValue::from_value(AttributeId::EccCurve, sys::TEE_ECC_CURVE_NIST_P256, 0);
        key.generate_key(256, &[curve.into()]).map_err(|_| Error::Internal)?;
        Ok(key)
    })
}

/// Destroys both; what is gone already is no error.
pub fn destroy() -> Result<(), Error> {
    storage::delete(DEVICE_KEY)?;
    storage::delete(ATTESTATION_KEY)
}

/// The public half of the device key.
pub fn device_public() -> Result<DevicePublicKey, Error> {
    let key = open(DEVICE_KEY)?;
    Ok(DevicePublicKey {
        modulus: attribute(&key, AttributeId::RsaModulus)?,
        exponent: attribute(&key, AttributeId::RsaPublicExponent)?,
    })
}

/// RSAES-OAEP with SHA-256 under the device key; one error for whatever fails.
pub fn unwrap(wrapped: &[u8]) -> Result<Secret<32>, Error> {
    if wrapped.len() != DEVICE_KEY_BITS / 8 {
        return Err(Error::Decryption);
    }
    let key = open(DEVICE_KEY).map_err(|_| Error::Decryption)?;
    operation::decrypt_oaep(key, wrapped)
}

/// The public half of the attestation key.
pub fn attestation_public() -> Result<PublicKey, Error> {
    let key = open(ATTESTATION_KEY)?;
    let mut point = [0; 64];
    let (x, y) = point.split_at_mut(32);
    for (id, coordinate) in [(AttributeId::EccPublicValueX, x), (AttributeId::EccPublicValueY, y)] {
        let value: ArrayVec<u8, 32> = attribute(&key, id)?;
        // OP-TEE leaves leading zeros out.
        let skipped = 32 - value.len();
        coordinate.iter_mut().skip(skipped).zip(&value).for_each(|(to, from)| *to = *from);
    }
    Ok(PublicKey(Bytes(point)))
}

/// ECDSA P-256 over a SHA-256 digest, by the attestation key.
pub fn sign(digest: &[u8; 32]) -> Result<Bytes<64>, Error> {
    operation::sign_es256(open(ATTESTATION_KEY)?, digest)
}

fn create_one(id: &[u8], generate: impl FnOnce() -> Result<TransientObject, Error>) -> Result<(), Error> {
    if storage::open_shared(id)?.is_some() {
        return Ok(());
    }
    match storage::create_key(id, &generate()?) {
        // Another session was quicker.
        Err(Error::Busy) => Ok(()),
        result => result,
    }
}

fn allocate(kind: TransientObjectType, bits: usize, usage: UsageFlag) -> Result<TransientObject, Error> {
    let mut key = TransientObject::allocate(kind, bits).map_err(|_| Error::OutOfMemory)?;
    key.restrict_usage(usage).map_err(|_| Error::Internal)?;
    Ok(key)
}

/// Whoever asks for a key has a record that says it exists.
fn open(id: &[u8]) -> Result<ObjectHandle, Error> {
    storage::open_shared(id)?.ok_or(Error::StorageCorrupt)
}

fn attribute<const N: usize>(key: &ObjectHandle, id: AttributeId) -> Result<ArrayVec<u8, N>, Error> {
    let mut out = ArrayVec::from([0; N]);
    let size = key.ref_attribute(id, &mut out).map_err(|_| Error::StorageCorrupt)?;
    out.truncate(size);
    Ok(out)
}

//! The device key: RSA-3072, generated in OP-TEE and kept there.

use optee_utee::{AttributeId, GenericObject, ObjectHandle, TransientObject, TransientObjectType, UsageFlag};
use trustbox_api::{Error, Secret};
use trustbox_core::DevicePublicKey;

use crate::{operation, storage};

const ID: &[u8] = b"device-key";
const BITS: usize = 3072;

/// Creates the key if there is none. Not extractable from the start, and never overwritten.
pub fn create() -> Result<(), Error> {
    if storage::open_shared(ID)?.is_some() {
        return Ok(());
    }
    let mut key =
        TransientObject::allocate(TransientObjectType::RsaKeypair, BITS).map_err(|_| Error::OutOfMemory)?;
    key.restrict_usage(UsageFlag::DECRYPT).map_err(|_| Error::Internal)?;
    key.generate_key(BITS, &[]).map_err(|_| Error::Internal)?;
    match storage::create_key(ID, &key) {
        // Another session was quicker.
        Err(Error::Busy) => Ok(()),
        result => result,
    }
}

/// The public half.
pub fn public() -> Result<DevicePublicKey, Error> {
    let key = open()?;
    let mut public = DevicePublicKey { modulus: heapless::Vec::new(), exponent: heapless::Vec::new() };
    attribute(&key, AttributeId::RsaModulus, &mut public.modulus)?;
    attribute(&key, AttributeId::RsaPublicExponent, &mut public.exponent)?;
    Ok(public)
}

/// RSAES-OAEP with SHA-256; one error for whatever fails.
pub fn unwrap(wrapped: &[u8]) -> Result<Secret<32>, Error> {
    if wrapped.len() != BITS / 8 {
        return Err(Error::Decryption);
    }
    let key = open().map_err(|_| Error::Decryption)?;
    operation::decrypt_oaep(key, wrapped)
}

/// Whoever asks for the key has a record that says it exists.
fn open() -> Result<ObjectHandle, Error> {
    storage::open_shared(ID)?.ok_or(Error::StorageCorrupt)
}

fn attribute<const N: usize>(
    key: &ObjectHandle,
    id: AttributeId,
    out: &mut heapless::Vec<u8, N>,
) -> Result<(), Error> {
    out.resize_default(N).map_err(|_| Error::Internal)?;
    let size = key.ref_attribute(id, out).map_err(|_| Error::StorageCorrupt)?;
    out.truncate(size);
    Ok(())
}

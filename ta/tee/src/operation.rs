//! Public-key operations on input that an attacker chooses.
//!
//! System calls, not libutee's functions: those panic the TA where OP-TEE's crypto library fails in
//! a way they do not expect, and here every failure is one and the same number.

use core::ffi::c_ulong;
use core::{mem, ptr};

use optee_utee::{
    AttributeId, AttributeMemref, AttributeValue, GenericObject, TransientObject, TransientObjectType,
};
use optee_utee_sys as sys;
use trustbox_api::key::PublicKey;
use trustbox_api::{Bytes, Error, Secret};

use crate::storage::raw;

/// An operation with its key; OP-TEE frees both together.
struct Operation(u32);

/// ECDSA P-256 over a SHA-256 digest.
pub fn verify_es256(key: &PublicKey, digest: &[u8; 32], signature: &Bytes<64>) -> Result<(), Error> {
    let key = p256(key).ok_or(Error::SignatureInvalid)?;
    let operation = Operation::new(sys::TEE_ALG_ECDSA_P256, sys::TEE_OperationMode::TEE_MODE_VERIFY, key);
    let operation = operation.ok_or(Error::SignatureInvalid)?;
    if operation.verify(digest, &signature.0) { Ok(()) } else { Err(Error::SignatureInvalid) }
}

/// RSAES-OAEP with SHA-256 of exactly 32 bytes; `private` is closed by it.
pub fn decrypt_oaep(private: impl GenericObject, wrapped: &[u8]) -> Result<Secret<32>, Error> {
    let algorithm = sys::TEE_ALG_RSAES_PKCS1_OAEP_MGF1_SHA256;
    let operation = Operation::new(algorithm, sys::TEE_OperationMode::TEE_MODE_DECRYPT, private);
    let mut key = Secret::zero();
    match operation.and_then(|operation| operation.operate(wrapped, key.expose_mut())) {
        Some(32) => Ok(key),
        _ => Err(Error::Decryption),
    }
}

/// ECDSA P-256 over a SHA-256 digest, r‖s; `private` is closed by it.
pub fn sign_es256(private: impl GenericObject, digest: &[u8; 32]) -> Result<Bytes<64>, Error> {
    let operation = Operation::new(sys::TEE_ALG_ECDSA_P256, sys::TEE_OperationMode::TEE_MODE_SIGN, private);
    let mut signature = [0; 64];
    match operation.and_then(|operation| operation.operate(digest, &mut signature)) {
        Some(64) => Ok(Bytes(signature)),
        _ => Err(Error::Internal),
    }
}

fn p256(key: &PublicKey) -> Option<TransientObject> {
    let (x, y) = key.0.0.split_at(32);
    let mut object = TransientObject::allocate(TransientObjectType::EcdsaPublicKey, 256).ok()?;
    let attributes = [
        AttributeMemref::from_ref(AttributeId::EccPublicValueX, x).into(),
        AttributeMemref::from_ref(AttributeId::EccPublicValueY, y).into(),
        AttributeValue::from_value(AttributeId::EccCurve, sys::TEE_ECC_CURVE_NIST_P256, 0).into(),
    ];
    object.populate(&attributes).ok()?;
    Some(object)
}

impl Operation {
    fn new(algorithm: u32, mode: sys::TEE_OperationMode, key: impl GenericObject) -> Option<Self> {
        let mut state = 0;
        // SAFETY: `key` is open and `state` live for the call.
        let code = unsafe {
            sys::_utee_cryp_state_alloc(algorithm.into(), mode as c_ulong, raw(&key), 0, &mut state)
        };
        if code != sys::TEE_SUCCESS {
            return None;
        }
        // The operation owns the key from here on and closes it in `drop`.
        mem::forget(key);
        Some(Self(state))
    }

    fn verify(&self, digest: &[u8], signature: &[u8]) -> bool {
        let (digest, digest_size) = (digest.as_ptr().cast(), digest.len());
        let (signature, size) = (signature.as_ptr().cast(), signature.len());
        // SAFETY: both slices are live for the call; there are no attributes to read.
        let code = unsafe {
            sys::_utee_asymm_verify(self.0.into(), ptr::null(), 0, digest, digest_size, signature, size)
        };
        code == sys::TEE_SUCCESS
    }

    /// Decrypts or signs, as the operation was made for; the bytes of the result.
    fn operate(&self, input: &[u8], out: &mut [u8]) -> Option<u64> {
        let mut size = out.len() as u64;
        let (input, input_size) = (input.as_ptr().cast(), input.len());
        // SAFETY: `input` is readable and `out` writable for as long as they are; there are no attributes to read.
        let code = unsafe {
            let out = out.as_mut_ptr().cast();
            sys::_utee_asymm_operate(self.0.into(), ptr::null(), 0, input, input_size, out, &mut size)
        };
        (code == sys::TEE_SUCCESS).then_some(size)
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        // SAFETY: the operation came from a successful allocation and is freed here only. Its result does not matter.
        unsafe { sys::_utee_cryp_state_free(self.0.into()) };
    }
}

//! What the SDK needs of OP-TEE.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use trustbox_api::limits::MAX_REPLY;
use trustbox_api::{Command, Error, Secret, TRUSTBOX_UUID};
use trustbox_tee::mapping::Mapping;
use trustbox_tee::optee_utee::{
    AE, AlgorithmId, AttributeId, AttributeMemref, OperationMode, Time, TransientObject, TransientObjectType,
};
use trustbox_tee::parameters::Parameters;
use trustbox_tee::session::{Failure, TaSession};
use trustbox_tee::{cancellation, storage};

pub use trustbox_tee::storage::Lock;

use crate::EnclaveError;

/// Bytes of an AES-GCM tag.
pub(crate) const TAG_SIZE: usize = 16;

/// AES-256-GCM failed, or the tag is not the text's.
pub(crate) struct CipherFailed;

pub(crate) fn should_stop() -> bool {
    cancellation::requested()
}

pub(crate) fn random(out: &mut [u8]) {
    trustbox_tee::random::fill(out);
}

pub(crate) fn since_boot() -> Duration {
    let mut time = Time::new();
    time.system_time();
    duration(&time)
}

pub(crate) fn claimed_by_linux() -> Duration {
    let mut time = Time::new();
    time.ree_time();
    duration(&time)
}

fn duration(time: &Time) -> Duration {
    Duration::from_secs(time.seconds.into()) + Duration::from_millis(time.millis.into())
}

pub(crate) fn read(id: &[u8], out: &mut [u8]) -> Result<Option<usize>, Error> {
    storage::read(id, out)
}

pub(crate) fn write(id: &[u8], content: &[u8]) -> Result<(), Error> {
    storage::write(id, content)
}

pub(crate) fn delete(id: &[u8]) -> Result<(), Error> {
    storage::delete(id)
}

pub(crate) fn lock(id: &[u8]) -> Result<Lock, Error> {
    storage::lock(id)
}

/// One request in a session of its own. The reply is in memory that is wiped when dropped.
pub(crate) fn ask(command: Command, request: &[u8]) -> Result<Mapping, EnclaveError> {
    let mut trustbox = TaSession::open(&TRUSTBOX_UUID, &Parameters::NONE).map_err(refused)?;
    trustbox.exchange(command as u32, request, MAX_REPLY).map_err(refused)
}

fn refused(failure: Failure) -> EnclaveError {
    match Error::from_code(failure.code) {
        Some(error) if failure.from_callee => EnclaveError::refused(error),
        _ => EnclaveError::NO_ANSWER,
    }
}

/// Ciphertext and tag.
pub(crate) fn encrypt(
    key: &Secret<32>,
    nonce: &[u8],
    context: &[u8],
    text: &[u8],
) -> Result<(Vec<u8>, [u8; TAG_SIZE]), CipherFailed> {
    let (mut tag, mut ciphertext) = ([0; TAG_SIZE], vec![0; text.len()]);
    let cipher = cipher(OperationMode::Encrypt, key, nonce, context, text.len())?;
    cipher.encrypt_final(text, &mut ciphertext, &mut tag).map_err(|_| CipherFailed)?;
    Ok((ciphertext, tag))
}

/// The text; nothing of it where the tag is wrong.
pub(crate) fn decrypt(
    key: &Secret<32>,
    nonce: &[u8],
    context: &[u8],
    tag: &[u8],
    ciphertext: &[u8],
) -> Result<Vec<u8>, CipherFailed> {
    let mut text = vec![0; ciphertext.len()];
    let cipher = cipher(OperationMode::Decrypt, key, nonce, context, ciphertext.len())?;
    cipher.decrypt_final(ciphertext, &mut text, tag).map_err(|_| CipherFailed)?;
    Ok(text)
}

fn cipher(
    mode: OperationMode,
    key: &Secret<32>,
    nonce: &[u8],
    context: &[u8],
    size: usize,
) -> Result<AE, CipherFailed> {
    let failed = |_| CipherFailed;
    let mut object = TransientObject::allocate(TransientObjectType::Aes, 256).map_err(failed)?;
    let secret = AttributeMemref::from_ref(AttributeId::SecretValue, key.expose());
    object.populate(&[secret.into()]).map_err(failed)?;
    let cipher = AE::allocate(AlgorithmId::AesGcm, mode, 256).map_err(failed)?;
    cipher.set_key(&object).map_err(failed)?;
    cipher.init(nonce, 8 * TAG_SIZE, context.len(), size).map_err(failed)?;
    cipher.update_aad(context);
    Ok(cipher)
}

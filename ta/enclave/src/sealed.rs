//! Sealed storage: entries under names, each encrypted and authenticated with the launch's key.
//!
//! AES-256-GCM in OP-TEE, a fresh random nonce for every write, the UUID and the name as additional
//! data, so that no entry passes for another. Entries lie in `TEE_STORAGE_PRIVATE` and are replaced
//! as a whole. The object's name holds a mark of the key: after an uninstall the key is another one,
//! and what an earlier installation left is not found rather than found damaged.

use alloc::vec;
use alloc::vec::Vec;

use sha2::{Digest, Sha256};
use trustbox_api::key::Uuid;
use trustbox_api::{Error, Secret};
use trustbox_tee::optee_utee::{
    AE, AlgorithmId, AttributeId, AttributeMemref, OperationMode, TransientObject, TransientObjectType,
};
use trustbox_tee::random;
use trustbox_tee::storage::{self, Lock};

/// Bytes of an entry at most.
const MAX_ENTRY: usize = 4096;
/// Bytes of a name at most; with the mark it fits the 64 bytes of GlobalPlatform's object names.
const MAX_NAME: usize = 32;
const NONCE_SIZE: usize = 12;
const TAG_SIZE: usize = 16;
const MARK_DOMAIN: &[u8] = b"TrustBox sealed storage\0";

/// Why sealed storage failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StorageError {
    /// It cannot be read or written.
    Failed,
    /// What is stored was not sealed by this enclave under this name.
    Tampered,
    /// Another launch of this enclave holds it.
    Busy,
    /// An entry or its name is longer than the limit.
    TooLong,
}

/// The storage of one installation of an enclave.
pub struct Sealed {
    uuid: Uuid,
    key: Secret<32>,
    mark: [u8; 16],
}

impl Sealed {
    pub(crate) fn new(uuid: Uuid, key: Secret<32>) -> Self {
        let digest = Sha256::new().chain_update(MARK_DOMAIN).chain_update(key.expose()).finalize();
        let mut mark = [0; 16];
        mark.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        Self { uuid, key, mark }
    }

    /// Keeps other launches of this enclave away from changes, until dropped; for reading, changing and writing back.
    pub fn lock(&self) -> Result<Lock, StorageError> {
        Ok(storage::lock(b"sealed.lock")?)
    }

    /// Reads an entry of exactly `N` bytes, or `None` where there is none.
    pub fn get<const N: usize>(&self, name: &str) -> Result<Option<[u8; N]>, StorageError> {
        let mut sealed = vec![0; NONCE_SIZE + TAG_SIZE + N];
        let Some(length) = storage::read(&self.object(name)?, &mut sealed)? else { return Ok(None) };
        let mut content = [0; N];
        match (sealed.split_at_checked(NONCE_SIZE), length == sealed.len()) {
            (Some((nonce, rest)), true) => self.open(name, nonce, rest, &mut content).map(|()| Some(content)),
            _ => Err(StorageError::Tampered),
        }
    }

    /// Writes an entry: after a power cut it is the old or the new one.
    pub fn put(&mut self, name: &str, content: &[u8]) -> Result<(), StorageError> {
        let object = self.object(name)?;
        if content.len() > MAX_ENTRY {
            return Err(StorageError::TooLong);
        }
        storage::write(&object, &self.seal(name, content)?)?;
        Ok(())
    }

    fn object(&self, name: &str) -> Result<Vec<u8>, StorageError> {
        if name.len() > MAX_NAME {
            return Err(StorageError::TooLong);
        }
        Ok([b"sealed.", &self.mark[..], b".", name.as_bytes()].concat())
    }

    fn seal(&self, name: &str, content: &[u8]) -> Result<Vec<u8>, StorageError> {
        let (mut nonce, mut tag, mut ciphertext) = ([0; NONCE_SIZE], [0; TAG_SIZE], vec![0; content.len()]);
        random::fill(&mut nonce);
        let cipher = self.cipher(OperationMode::Encrypt, name, &nonce, content.len())?;
        cipher.encrypt_final(content, &mut ciphertext, &mut tag).map_err(|_| StorageError::Failed)?;
        Ok([&nonce[..], &tag, &ciphertext].concat())
    }

    fn open(&self, name: &str, nonce: &[u8], rest: &[u8], content: &mut [u8]) -> Result<(), StorageError> {
        let (tag, ciphertext) = rest.split_at_checked(TAG_SIZE).ok_or(StorageError::Tampered)?;
        let cipher = self.cipher(OperationMode::Decrypt, name, nonce, ciphertext.len())?;
        cipher.decrypt_final(ciphertext, content, tag).map(drop).map_err(|_| StorageError::Tampered)
    }

    fn cipher(&self, mode: OperationMode, name: &str, nonce: &[u8], size: usize) -> Result<AE, StorageError> {
        let failed = |_| StorageError::Failed;
        let mut key = TransientObject::allocate(TransientObjectType::Aes, 256).map_err(failed)?;
        let secret = AttributeMemref::from_ref(AttributeId::SecretValue, self.key.expose());
        key.populate(&[secret.into()]).map_err(failed)?;
        let cipher = AE::allocate(AlgorithmId::AesGcm, mode, 256).map_err(failed)?;
        cipher.set_key(&key).map_err(failed)?;
        let context = [&self.uuid.0.0[..], name.as_bytes()].concat();
        cipher.init(nonce, 8 * TAG_SIZE, context.len(), size).map_err(failed)?;
        cipher.update_aad(&context);
        Ok(cipher)
    }
}

impl From<Error> for StorageError {
    fn from(error: Error) -> Self {
        match error {
            Error::Busy => Self::Busy,
            Error::StorageCorrupt => Self::Tampered,
            _ => Self::Failed,
        }
    }
}

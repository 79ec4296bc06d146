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
use trustbox_interface::private::{decode, encode};
use trustbox_interface::serde::Serialize;
use trustbox_interface::serde::de::DeserializeOwned;
use zeroize::Zeroize;

use crate::platform::{self, CipherFailed, Lock, TAG_SIZE};
use crate::{EnclaveError, random};

/// Bytes of an entry at most.
const MAX_ENTRY: usize = 4096;
/// Bytes of a name at most; with the mark it fits the 64 bytes of GlobalPlatform's object names.
const MAX_NAME: usize = 32;
const NONCE_SIZE: usize = 12;
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

/// The storage of one installation of an enclave: names of 32 bytes at most, entries of 4096.
///
/// Linux keeps the entries, encrypted. It cannot read, change or exchange them unnoticed; whether it can put back all of
/// storage as it was before is a question of the device, see `rollback_protection` of `trustbox info`, and counters
/// ([`crate::TrustBox::counter`]) help no further, since they lie there too.
///
/// ```
/// use trustbox_enclave::{Launched, StorageError, fake};
///
/// let Launched { mut storage, .. } = fake::launched();
/// storage.put("key", b"0123").unwrap();
/// assert_eq!(storage.get("key"), Ok(Some(*b"0123")));
/// fake::tamper("key");
/// assert_eq!(storage.get::<4>("key"), Err(StorageError::Tampered));
/// storage.remove("key").unwrap();
/// assert_eq!(storage.get::<4>("key"), Ok(None));
/// ```
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
    ///
    /// ```
    /// let storage = trustbox_enclave::fake::launched().storage;
    /// let held = storage.lock().unwrap();
    /// assert!(storage.lock().is_err());
    /// drop(held);
    /// assert!(storage.lock().is_ok());
    /// ```
    pub fn lock(&self) -> Result<Lock, StorageError> {
        Ok(platform::lock(b"sealed.lock")?)
    }

    /// Reads an entry of exactly `N` bytes, or `None` where there is none.
    pub fn get<const N: usize>(&self, name: &str) -> Result<Option<[u8; N]>, StorageError> {
        let Some(mut content) = self.read(name, N)? else { return Ok(None) };
        let found = content.as_slice().try_into().map(Some).map_err(|_| StorageError::Tampered);
        content.as_mut_slice().zeroize();
        found
    }

    /// Writes an entry: after a power cut it is the old or the new one.
    pub fn put(&mut self, name: &str, content: &[u8]) -> Result<(), StorageError> {
        let object = self.object(name)?;
        if content.len() > MAX_ENTRY {
            return Err(StorageError::TooLong);
        }
        platform::write(&object, &self.seal(name, content)?)?;
        Ok(())
    }

    /// Reads a value that [`Sealed::save`] wrote, or `None` where there is none.
    ///
    /// ```
    /// let mut storage = trustbox_enclave::fake::launched().storage;
    /// storage.save("readings", &vec![3_u64, 4]).unwrap();
    /// assert_eq!(storage.load("readings").unwrap(), Some(vec![3_u64, 4]));
    /// assert_eq!(storage.load::<u8>("other").unwrap(), None);
    /// ```
    pub fn load<V: DeserializeOwned>(&self, name: &str) -> Result<Option<V>, EnclaveError> {
        let Some(mut content) = self.read(name, MAX_ENTRY)? else { return Ok(None) };
        let found = decode(&content).map(Some).map_err(|_| EnclaveError::TAMPERED);
        content.as_mut_slice().zeroize();
        found
    }

    /// Writes a value as postcard: after a power cut it is the old or the new one.
    pub fn save<V: Serialize>(&mut self, name: &str, value: &V) -> Result<(), EnclaveError> {
        let mut content = encode(value, MAX_ENTRY).map_err(|_| EnclaveError::ENTRY_TOO_LONG)?;
        let written = self.put(name, &content);
        content.as_mut_slice().zeroize();
        Ok(written?)
    }

    /// Removes an entry; no error where there is none.
    pub fn remove(&mut self, name: &str) -> Result<(), StorageError> {
        Ok(platform::delete(&self.object(name)?)?)
    }

    /// The content of an entry of `most` bytes at most.
    fn read(&self, name: &str, most: usize) -> Result<Option<Vec<u8>>, StorageError> {
        let mut sealed = vec![0; NONCE_SIZE + TAG_SIZE + most];
        let Some(length) = platform::read(&self.object(name)?, &mut sealed)? else { return Ok(None) };
        let sealed = sealed.get(..length).ok_or(StorageError::Tampered)?;
        let (nonce, rest) = sealed.split_at_checked(NONCE_SIZE).ok_or(StorageError::Tampered)?;
        let (tag, ciphertext) = rest.split_at_checked(TAG_SIZE).ok_or(StorageError::Tampered)?;
        let text = platform::decrypt(&self.key, nonce, &self.context(name), tag, ciphertext);
        text.map(Some).map_err(|CipherFailed| StorageError::Tampered)
    }

    fn seal(&self, name: &str, content: &[u8]) -> Result<Vec<u8>, StorageError> {
        let nonce = random::bytes::<NONCE_SIZE>();
        let (ciphertext, tag) = platform::encrypt(&self.key, &nonce, &self.context(name), content)
            .map_err(|CipherFailed| StorageError::Failed)?;
        Ok([&nonce[..], &tag, &ciphertext].concat())
    }

    fn context(&self, name: &str) -> Vec<u8> {
        [&self.uuid.0.0[..], name.as_bytes()].concat()
    }

    fn object(&self, name: &str) -> Result<Vec<u8>, StorageError> {
        if name.len() > MAX_NAME {
            return Err(StorageError::TooLong);
        }
        Ok([b"sealed.", &self.mark[..], b".", name.as_bytes()].concat())
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

impl From<StorageError> for EnclaveError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Failed => Self::STORAGE,
            StorageError::Tampered => Self::TAMPERED,
            StorageError::Busy => Self::BUSY,
            StorageError::TooLong => Self::ENTRY_TOO_LONG,
        }
    }
}

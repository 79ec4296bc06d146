//! The fake with signatures and wrapping that cost a hash: a fuzzer tries millions, and shall get past them.
//!
//! Whoever knows a public key here can sign for it, which is what a target wants. What the TA decides stays as it is; the
//! real algorithms have tests of their own.

use std::cell::Cell;
use std::rc::Rc;

use sha2::{Digest, Sha256};
use trustbox_api::key::{PublicKey, Uuid};
use trustbox_api::launch::Launch;
use trustbox_api::{Bytes, Error, Secret};
use trustbox_core::fake::{Device, FakeBuffer, FakeEnclave, FakeTee};
use trustbox_core::{DevicePublicKey, Held, Moment, Platform, Record, Slot, Tee};

/// The view of one session.
pub struct QuickTee {
    inner: FakeTee,
    device: Device,
    random: Random,
}

/// What stands for the random generator, shared by the sessions of a device. A target sets it back, so that an input does the
/// same every time.
pub type Random = Rc<Cell<u64>>;

/// What passes as a signature.
pub fn sign(key: &PublicKey, digest: &[u8; 32]) -> Bytes<64> {
    let half = Sha256::new().chain_update(key.0).chain_update(digest).finalize();
    let mut out = [0; 64];
    out.chunks_exact_mut(32).for_each(|part| part.copy_from_slice(&half));
    Bytes(out)
}

/// What passes as wrapped for the device.
pub fn wrap(secret: &[u8; 32]) -> Vec<u8> {
    [&secret[..], &Sha256::digest(secret)].concat()
}

/// The key of a number.
pub fn key(number: u8) -> PublicKey {
    PublicKey(Bytes([number; 64]))
}

impl QuickTee {
    /// A session of the normal world, or of an enclave.
    pub fn new(device: &Device, random: &Random, caller: Option<Uuid>) -> Self {
        let inner = caller.map_or_else(|| device.tee(), |enclave| device.tee_of(enclave));
        Self { inner, device: device.clone(), random: random.clone() }
    }

    fn require_keys(&self) -> Result<(), Error> {
        if self.device.get().keys { Ok(()) } else { Err(Error::StorageCorrupt) }
    }
}

impl Tee for QuickTee {
    type Buffer = FakeBuffer;
    type Enclave = FakeEnclave;

    fn device_public_key(&mut self) -> Result<DevicePublicKey, Error> {
        self.require_keys()?;
        let (modulus, exponent) = ([0xc5; 256].into_iter().collect(), [1, 0, 1].into_iter().collect());
        Ok(DevicePublicKey { modulus, exponent })
    }

    fn attestation_public_key(&mut self) -> Result<PublicKey, Error> {
        self.require_keys().map(|()| key(200))
    }

    fn sign_es256(&mut self, digest: &[u8; 32]) -> Result<Bytes<64>, Error> {
        self.require_keys().map(|()| sign(&key(200), digest))
    }

    fn unwrap_oaep(&mut self, wrapped: &[u8]) -> Result<Secret<32>, Error> {
        let (secret, check) = wrapped.split_at_checked(32).ok_or(Error::Decryption)?;
        let secret: [u8; 32] = secret.try_into().map_err(|_| Error::Decryption)?;
        if Sha256::digest(secret)[..] == *check { Ok(Secret::new(secret)) } else { Err(Error::Decryption) }
    }

    fn verify_es256(
        &mut self,
        key: &PublicKey,
        digest: &[u8; 32],
        signature: &Bytes<64>,
    ) -> Result<(), Error> {
        if sign(key, digest) == *signature { Ok(()) } else { Err(Error::SignatureInvalid) }
    }

    fn platform(&self) -> Platform {
        self.inner.platform()
    }

    fn derive(&mut self, purpose: &[u8]) -> Result<Secret<32>, Error> {
        self.inner.derive(purpose)
    }

    fn caller(&mut self) -> Result<Option<Uuid>, Error> {
        self.inner.caller()
    }

    fn measure(&mut self) -> Result<(Bytes<32>, Bytes<32>), Error> {
        self.inner.measure()
    }

    fn now(&mut self) -> Result<Moment, Error> {
        self.inner.now()
    }

    fn changes(&mut self) -> Result<u64, Error> {
        self.inner.changes()
    }

    fn random(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(32) {
            self.random.set(self.random.get() + 1);
            let block = Sha256::digest(self.random.get().to_le_bytes());
            chunk.iter_mut().zip(block).for_each(|(to, from)| *to = from);
        }
    }

    fn read(&mut self, record: Record, out: &mut [u8]) -> Result<Option<usize>, Error> {
        self.inner.read(record, out)
    }

    fn write(&mut self, record: Record, content: &[u8]) -> Result<(), Error> {
        self.inner.write(record, content)
    }

    fn acquire(&mut self, slot: Slot) -> Result<(), Error> {
        self.inner.acquire(slot)
    }

    fn release(&mut self, slot: Slot) {
        self.inner.release(slot);
    }

    fn create_keys(&mut self) -> Result<(), Error> {
        self.inner.create_keys()
    }

    fn destroy_keys(&mut self) -> Result<(), Error> {
        self.inner.destroy_keys()
    }

    fn map(&mut self, size: usize) -> Result<FakeBuffer, Error> {
        self.inner.map(size)
    }

    fn install(&mut self, image: &mut FakeBuffer) -> Result<(), Error> {
        self.inner.install(image)
    }

    fn held(&mut self, uuid: &Uuid) -> Result<Option<Held>, Error> {
        self.inner.held(uuid)
    }

    fn uninstall(&mut self, uuid: &Uuid) -> Result<(), Error> {
        self.inner.uninstall(uuid)
    }

    fn open_enclave(&mut self, uuid: &Uuid, launch: &Launch) -> Result<FakeEnclave, Error> {
        self.inner.open_enclave(uuid, launch)
    }
}

//! A deterministic TEE in memory, for unit tests and fuzzing only.
//!
//! It models both stores (records and OP-TEE's TA database), slots, power cuts after each storage
//! operation, and nothing else. It is no simulator: no demo and no claim rests on it.

use std::boxed::Box;
use std::cell::{Ref, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::OnceLock;
use std::vec::Vec;

use arrayvec::ArrayVec;
use core::convert::Infallible;
use core::ops::{Deref, DerefMut};
use p256::ecdsa::signature::hazmat::{PrehashSigner, PrehashVerifier};
use p256::ecdsa::{Signature, SigningKey, VerifyingKey};
use rand_core::{TryCryptoRng, TryRng};
use rsa::traits::PublicKeyParts;
use rsa::{Oaep, RsaPrivateKey};
use sha2::{Digest, Sha256};
use trustbox_api::key::{PublicKey, Uuid};
use trustbox_api::launch::Launch;
use trustbox_api::message::{Huk, Profile, RollbackProtection, Version};
use trustbox_api::{Bytes, Error, Secret};

use crate::tee::{DevicePublicKey, Held, Moment, Platform, Record, Slot, Tee, Untrusted};

/// A device; clones are handles to the same one.
#[derive(Clone)]
pub struct Device(Rc<RefCell<World>>);

/// All that a device is.
pub struct World {
    /// What the firmware says of itself.
    pub platform: Platform,
    /// Records as stored.
    pub records: BTreeMap<Record, Vec<u8>>,
    /// OP-TEE's TA database.
    pub tadb: BTreeMap<Uuid, Vec<u8>>,
    /// Whether the device's keys exist.
    pub keys: bool,
    /// Times the device has started.
    pub boots: u64,
    changes: u64,
    /// Storage operations that still succeed before the power goes; `None` for all.
    pub operations_left: Option<usize>,
    /// Bytes that can still be mapped.
    pub memory: usize,
    /// Private-key operations made so far.
    pub unwraps: usize,
    slots: BTreeSet<Slot>,
    random: CountingRandom,
    number: u8,
}

/// One session's view of the device.
pub struct FakeTee {
    device: Device,
    caller: Option<Uuid>,
    held: Vec<Slot>,
}

/// Mapped memory.
pub struct FakeBuffer(Box<[u8]>, Device);

/// An open session to an enclave; keeps what it was launched with.
pub struct FakeEnclave {
    /// What the TA handed over.
    pub launch: Launch,
    /// The image that runs.
    pub image: Vec<u8>,
}

impl Device {
    /// A blank device; different numbers are different devices.
    pub fn new(number: u8, provisioning_authority: &PublicKey) -> Self {
        let platform = Platform {
            huk: Huk::Stub,
            rollback_protection: RollbackProtection::None,
            profile: Profile::Dev,
            optee_version: Version(4, 10, 0),
            ta_version: Version(0, 1, 0),
            provisioning_authority: provisioning_authority.id(),
            max_image: 12 << 20,
            board: "fake",
        };
        Self(Rc::new(RefCell::new(World {
            platform,
            records: BTreeMap::new(),
            tadb: BTreeMap::new(),
            keys: false,
            boots: 1,
            changes: 0,
            operations_left: None,
            memory: 12 << 20,
            unwraps: 0,
            slots: BTreeSet::new(),
            random: CountingRandom(u64::from(number) << 32),
            number,
        })))
    }

    /// The view of a session from the normal world.
    pub fn tee(&self) -> FakeTee {
        self.tee_of_caller(None)
    }

    /// The view of a session from an enclave.
    pub fn tee_of(&self, enclave: Uuid) -> FakeTee {
        self.tee_of_caller(Some(enclave))
    }

    fn tee_of_caller(&self, caller: Option<Uuid>) -> FakeTee {
        FakeTee { device: self.clone(), caller, held: Vec::new() }
    }

    /// Changes the device from outside.
    pub fn set<A>(&self, change: impl FnOnce(&mut World) -> A) -> A {
        change(&mut self.0.borrow_mut())
    }

    /// Looks at the device from outside.
    pub fn get(&self) -> Ref<'_, World> {
        self.0.borrow()
    }

    fn require_keys(&self) -> Result<(), Error> {
        if self.get().keys { Ok(()) } else { Err(Error::StorageCorrupt) }
    }

    fn attestation_key(&self) -> Result<SigningKey, Error> {
        let seed = Sha256::digest([self.get().number, 1]);
        SigningKey::from_slice(&seed).map_err(|_| Error::Internal)
    }

    fn storage_operation(&self) -> Result<(), Error> {
        self.set(|world| match &mut world.operations_left {
            None => Ok(()),
            Some(0) => Err(Error::Storage),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        })
    }
}

impl Tee for FakeTee {
    type Buffer = FakeBuffer;
    type Enclave = FakeEnclave;

    fn platform(&self) -> Platform {
        self.device.get().platform
    }

    fn derive(&mut self, purpose: &[u8]) -> Result<Secret<32>, Error> {
        Ok(Secret::new(Sha256::digest([&[self.device.get().number], purpose].concat()).into()))
    }

    fn caller(&mut self) -> Result<Option<Uuid>, Error> {
        Ok(self.caller)
    }

    fn measure(&mut self) -> Result<(Bytes<32>, Bytes<32>), Error> {
        Ok((Bytes([0xc0; 32]), Bytes([0x7a; 32])))
    }

    fn now(&mut self) -> Result<Moment, Error> {
        let world = self.device.get();
        let boot = Sha256::digest(world.boots.to_le_bytes());
        let boot = boot.get(..16).and_then(Bytes::from_slice).ok_or(Error::Internal)?;
        Ok(Moment { boot, uptime: 1 })
    }

    fn changes(&mut self) -> Result<u64, Error> {
        Ok(self.device.get().changes)
    }

    fn random(&mut self, out: &mut [u8]) {
        self.device.set(|world| world.random.fill(out));
    }

    fn read(&mut self, record: Record, out: &mut [u8]) -> Result<Option<usize>, Error> {
        let world = self.device.get();
        let Some(content) = world.records.get(&record) else { return Ok(None) };
        out.get_mut(..content.len()).ok_or(Error::StorageCorrupt)?.copy_from_slice(content);
        Ok(Some(content.len()))
    }

    fn write(&mut self, record: Record, content: &[u8]) -> Result<(), Error> {
        self.device.storage_operation()?;
        self.device.set(|world| {
            world.changes += u64::from(record == Record::Device);
            world.records.insert(record, content.to_vec())
        });
        Ok(())
    }

    fn acquire(&mut self, slot: Slot) -> Result<(), Error> {
        if !self.device.set(|world| world.slots.insert(slot)) {
            return Err(Error::Busy);
        }
        self.held.push(slot);
        Ok(())
    }

    fn release(&mut self, slot: Slot) {
        self.held.retain(|held| *held != slot);
        self.device.set(|world| world.slots.remove(&slot));
    }

    fn create_keys(&mut self) -> Result<(), Error> {
        if !self.device.get().keys {
            self.device.storage_operation()?;
            self.device.set(|world| world.keys = true);
        }
        Ok(())
    }

    fn destroy_keys(&mut self) -> Result<(), Error> {
        self.device.storage_operation()?;
        self.device.set(|world| world.keys = false);
        Ok(())
    }

    fn device_public_key(&mut self) -> Result<DevicePublicKey, Error> {
        self.device.require_keys()?;
        let digits = |number: Box<[u8]>| number.into_vec();
        Ok(DevicePublicKey {
            modulus: ArrayVec::from_iter(digits(rsa_key().n().to_be_bytes())),
            exponent: ArrayVec::from_iter(digits(rsa_key().e().to_be_bytes())),
        })
    }

    fn attestation_public_key(&mut self) -> Result<PublicKey, Error> {
        self.device.require_keys()?;
        let point = self.device.attestation_key()?.verifying_key().to_sec1_point(false);
        point.as_bytes().get(1..).and_then(Bytes::from_slice).map(PublicKey).ok_or(Error::Internal)
    }

    fn sign_es256(&mut self, digest: &[u8; 32]) -> Result<Bytes<64>, Error> {
        self.device.require_keys()?;
        let signature: Signature =
            self.device.attestation_key()?.sign_prehash(digest).map_err(|_| Error::Internal)?;
        Bytes::from_slice(&signature.to_bytes()).ok_or(Error::Internal)
    }

    fn unwrap_oaep(&mut self, wrapped: &[u8]) -> Result<Secret<32>, Error> {
        self.device.set(|world| world.unwraps += 1);
        let key = rsa_key().decrypt(Oaep::<Sha256>::new(), wrapped).map_err(|_| Error::Decryption)?;
        key.try_into().map(Secret::new).map_err(|_| Error::Decryption)
    }

    fn verify_es256(
        &mut self,
        key: &PublicKey,
        digest: &[u8; 32],
        signature: &Bytes<64>,
    ) -> Result<(), Error> {
        let mut point = std::vec![4];
        point.extend_from_slice(key.0.as_ref());
        let key = VerifyingKey::from_sec1_bytes(&point).map_err(|_| Error::SignatureInvalid)?;
        let signature = Signature::from_slice(signature.as_ref()).map_err(|_| Error::SignatureInvalid)?;
        key.verify_prehash(digest, &signature).map_err(|_| Error::SignatureInvalid)
    }

    fn map(&mut self, size: usize) -> Result<FakeBuffer, Error> {
        self.device.set(|world| {
            world.memory.checked_sub(size).map(|left| world.memory = left).ok_or(Error::OutOfMemory)
        })?;
        Ok(FakeBuffer(std::vec![0; size].into(), self.device.clone()))
    }

    fn install(&mut self, image: &mut FakeBuffer) -> Result<(), Error> {
        self.device.storage_operation()?;
        let end = contents(image).ok_or(Error::ImageRefused)?;
        let uuid = image.get(end - 20..end - 4).and_then(Bytes::from_slice).map(Uuid);
        let uuid = uuid.ok_or(Error::ImageRefused)?;
        self.device.set(|world| world.tadb.insert(uuid, image.to_vec()));
        Ok(())
    }

    fn held(&mut self, uuid: &Uuid) -> Result<Option<Held>, Error> {
        let world = self.device.get();
        let Some(image) = world.tadb.get(uuid) else { return Ok(None) };
        let (header, contents) =
            contents(image).and_then(|at| image.split_at_checked(at)).ok_or(Error::Internal)?;
        let version = *header.last_chunk().ok_or(Error::Internal)?;
        let (version, contents) = (u32::from_le_bytes(version), Bytes(Sha256::digest(contents).into()));
        Ok(Some(Held { version, contents }))
    }

    fn uninstall(&mut self, uuid: &Uuid) -> Result<(), Error> {
        self.device.storage_operation()?;
        self.device.set(|world| world.tadb.remove(uuid));
        Ok(())
    }

    fn open_enclave(&mut self, uuid: &Uuid, launch: &Launch) -> Result<FakeEnclave, Error> {
        let image = self.device.get().tadb.get(uuid).cloned().ok_or(Error::NotInstalled)?;
        Ok(FakeEnclave { launch: launch.clone(), image })
    }
}

impl Drop for FakeTee {
    fn drop(&mut self) {
        let held = core::mem::take(&mut self.held);
        self.device.set(|world| world.slots.retain(|slot| !held.contains(slot)));
    }
}

impl Deref for FakeBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for FakeBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Drop for FakeBuffer {
    fn drop(&mut self) {
        let size = self.0.len();
        self.1.set(|world| world.memory += size);
    }
}

impl Untrusted for &[u8] {
    fn len(&self) -> usize {
        <[u8]>::len(self)
    }

    fn copy_to(&self, to: &mut [u8]) -> Result<(), Error> {
        if to.len() != <[u8]>::len(self) {
            return Err(Error::Internal);
        }
        to.copy_from_slice(self);
        Ok(())
    }
}

/// Where the contents of a signed image start, behind its UUID and version.
fn contents(image: &[u8]) -> Option<usize> {
    let size = |at: usize| Some(usize::from(u16::from_le_bytes(image.get(at..at + 2)?.try_into().ok()?)));
    let end = 20 + size(16)? + size(18)? + 20;
    (end <= image.len()).then_some(end)
}

/// One RSA key for all devices of a process: making one takes long.
fn rsa_key() -> &'static RsaPrivateKey {
    static KEY: OnceLock<RsaPrivateKey> = OnceLock::new();
    #[expect(clippy::expect_used, reason = "tests only: without a key there is nothing to test")]
    KEY.get_or_init(|| RsaPrivateKey::new(&mut CountingRandom(7), 2048).expect("2048 is a valid size"))
}

/// SHA-256 of a counter.
struct CountingRandom(u64);

impl CountingRandom {
    fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(32) {
            self.0 += 1;
            let block = Sha256::digest(self.0.to_le_bytes());
            chunk.iter_mut().zip(block).for_each(|(to, from)| *to = from);
        }
    }
}

impl TryRng for CountingRandom {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.try_next_u64().map(|value| value as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.fill(out);
        Ok(())
    }
}

impl TryCryptoRng for CountingRandom {}

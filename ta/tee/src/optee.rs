//! The trait `Tee` on OP-TEE.

use arrayvec::ArrayVec;
use trustbox_api::key::{PublicKey, Uuid};
use trustbox_api::launch::Launch;
use trustbox_api::{Bytes, Error, Secret};
use trustbox_core::{DevicePublicKey, Held, Moment, Platform, Record, Slot, Tee, Untrusted};

use crate::enclave::Enclave;
use crate::mapping::Mapping;
use crate::parameters::Claim;
use crate::secstor::Boot;
use crate::storage::Lock;
use crate::{device_keys, identity, measurement, operation, platform, random, secstor, storage};

/// OP-TEE, as one session uses it.
#[derive(Default)]
pub struct OpTee {
    /// A session is one `Slot::Session`, and one each of the others at most.
    held: ArrayVec<(Slot, Lock), 4>,
    boot: Option<Boot>,
}

impl OpTee {
    fn boot(&mut self) -> Result<&mut Boot, Error> {
        let open = match self.boot.take() {
            None => Boot::open()?,
            Some(open) => open,
        };
        Ok(self.boot.insert(open))
    }
}

impl Tee for OpTee {
    type Buffer = Mapping;
    type Enclave = Enclave;

    fn platform(&self) -> Platform {
        platform::platform()
    }

    fn derive(&mut self, purpose: &[u8]) -> Result<Secret<32>, Error> {
        platform::derive(purpose)
    }

    fn caller(&mut self) -> Result<Option<Uuid>, Error> {
        identity::calling_application()
    }

    fn measure(&mut self) -> Result<(Bytes<32>, Bytes<32>), Error> {
        measurement::measure()
    }

    fn now(&mut self) -> Result<Moment, Error> {
        let mut time = optee_utee::Time::new();
        time.system_time();
        Ok(Moment { boot: self.boot()?.id()?, uptime: time.seconds })
    }

    fn changes(&mut self) -> Result<u64, Error> {
        self.boot()?.changes()
    }

    fn random(&mut self, out: &mut [u8]) {
        random::fill(out);
    }

    fn read(&mut self, record: Record, out: &mut [u8]) -> Result<Option<usize>, Error> {
        storage::read(record_id(record), out)
    }

    fn write(&mut self, record: Record, content: &[u8]) -> Result<(), Error> {
        if record != Record::Device {
            return storage::write(record_id(record), content);
        }
        // Opened first: a record that is written and not counted would go unnoticed by running sessions.
        let mut counter = secstor::ChangeCounter::open()?;
        storage::write(record_id(record), content)?;
        counter.count()
    }

    fn acquire(&mut self, slot: Slot) -> Result<(), Error> {
        let lock = match slot {
            Slot::Writer => storage::lock(b"lock.writer"),
            Slot::Enclaves => storage::lock(b"lock.enclaves"),
            Slot::Install => storage::try_lock(b"lock.install"),
            Slot::Session(number) => storage::try_lock(&[b"lock.session.", &[number][..]].concat()),
            Slot::EnclaveSession(number) => storage::try_lock(&[b"lock.enclave.", &[number][..]].concat()),
        }?;
        self.held.try_push((slot, lock)).map_err(|_| Error::LimitReached)
    }

    fn release(&mut self, slot: Slot) {
        self.held.retain(|(held, _)| *held != slot);
    }

    fn create_keys(&mut self) -> Result<(), Error> {
        device_keys::create()
    }

    fn destroy_keys(&mut self) -> Result<(), Error> {
        device_keys::destroy()
    }

    fn device_public_key(&mut self) -> Result<DevicePublicKey, Error> {
        device_keys::device_public()
    }

    fn attestation_public_key(&mut self) -> Result<PublicKey, Error> {
        device_keys::attestation_public()
    }

    fn sign_es256(&mut self, digest: &[u8; 32]) -> Result<Bytes<64>, Error> {
        device_keys::sign(digest)
    }

    fn unwrap_oaep(&mut self, wrapped: &[u8]) -> Result<Secret<32>, Error> {
        device_keys::unwrap(wrapped)
    }

    fn verify_es256(
        &mut self,
        key: &PublicKey,
        digest: &[u8; 32],
        signature: &Bytes<64>,
    ) -> Result<(), Error> {
        operation::verify_es256(key, digest, signature)
    }

    fn map(&mut self, size: usize) -> Result<Mapping, Error> {
        Mapping::new(size)
    }

    fn install(&mut self, image: &mut Mapping) -> Result<(), Error> {
        secstor::install(image)
    }

    fn held(&mut self, uuid: &Uuid) -> Result<Option<Held>, Error> {
        secstor::held(uuid)
    }

    fn uninstall(&mut self, uuid: &Uuid) -> Result<(), Error> {
        secstor::uninstall(uuid)
    }

    fn open_enclave(&mut self, uuid: &Uuid, launch: &Launch) -> Result<Enclave, Error> {
        Enclave::open(uuid, launch)
    }
}

impl Untrusted for Claim<'_> {
    fn len(&self) -> usize {
        self.room()
    }

    fn copy_to(&self, to: &mut [u8]) -> Result<(), Error> {
        if to.len() == self.room() { self.copy_in(to).map(|_| ()) } else { Err(Error::Internal) }
    }
}

fn record_id(record: Record) -> &'static [u8] {
    match record {
        Record::Device => b"record.device",
        Record::Keys => b"record.keys",
        Record::Enclaves => b"record.enclaves",
        Record::Log => b"record.log",
    }
}

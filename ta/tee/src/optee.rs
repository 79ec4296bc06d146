//! The trait `Tee` on OP-TEE.

use optee_utee_sys as sys;
use trustbox_api::command::Caller;
use trustbox_api::key::{DeviceId, PublicKey, Uuid};
use trustbox_api::launch::Launch;
use trustbox_api::{Bytes, Error, Secret};
use trustbox_core::{DevicePublicKey, Platform, Record, Slot, Tee, Untrusted};

use crate::enclave::Enclave;
use crate::mapping::Mapping;
use crate::parameters::{Claim, Parameter, Parameters};
use crate::session::{Failure, TaSession};
use crate::storage::Lock;
use crate::{device_key, identity, operation, platform, random, storage};

/// The pseudo-TA that installs trusted applications, 6e256cba-fc4d-4941-ad09-2ca1860342dd.
const SECSTOR: Uuid = Uuid(Bytes([
    0x6e, 0x25, 0x6c, 0xba, 0xfc, 0x4d, 0x49, 0x41, 0xad, 0x09, 0x2c, 0xa1, 0x86, 0x03, 0x42, 0xdd,
]));
/// `PTA_SECSTOR_TA_MGMT_BOOTSTRAP`.
const BOOTSTRAP: u32 = 0;

/// OP-TEE, as one session uses it.
#[derive(Default)]
pub struct OpTee {
    /// A session is one `Slot::Session`, and one each of the others at most.
    held: heapless::Vec<(Slot, Lock), 3>,
}

impl Tee for OpTee {
    type Buffer = Mapping;
    type Enclave = Enclave;

    fn platform(&self) -> Platform {
        platform::platform()
    }

    fn device_id(&mut self) -> Result<DeviceId, Error> {
        platform::device_id()
    }

    fn caller(&mut self) -> Result<Caller, Error> {
        let application = identity::calling_application()?;
        Ok(if application.is_some() { Caller::Enclave } else { Caller::NormalWorld })
    }

    fn random(&mut self, out: &mut [u8]) {
        random::fill(out);
    }

    fn read(&mut self, record: Record, out: &mut [u8]) -> Result<Option<usize>, Error> {
        storage::read(record_id(record), out)
    }

    fn write(&mut self, record: Record, content: &[u8]) -> Result<(), Error> {
        storage::write(record_id(record), content)
    }

    fn acquire(&mut self, slot: Slot) -> Result<(), Error> {
        let lock = match slot {
            Slot::Writer => storage::lock(b"lock.writer"),
            Slot::Install => storage::try_lock(b"lock.install"),
            Slot::Session(number) => storage::try_lock(&[b"lock.session.", &[number][..]].concat()),
        }?;
        self.held.push((slot, lock)).map_err(|_| Error::LimitReached)
    }

    fn release(&mut self, slot: Slot) {
        self.held.retain(|(held, _)| *held != slot);
    }

    fn create_device_key(&mut self) -> Result<(), Error> {
        device_key::create()
    }

    fn device_public_key(&mut self) -> Result<DevicePublicKey, Error> {
        device_key::public()
    }

    fn unwrap_oaep(&mut self, wrapped: &[u8]) -> Result<Secret<32>, Error> {
        device_key::unwrap(wrapped)
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
        let mut secstor = TaSession::open(&SECSTOR, &Parameters::NONE).map_err(|_| Error::Internal)?;
        let parameters = [Parameter::input(image), Parameter::None, Parameter::None, Parameter::None];
        secstor.invoke(BOOTSTRAP, &mut Parameters(parameters)).map_err(install_error)
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
    }
}

fn install_error(failure: Failure) -> Error {
    match failure.code {
        sys::TEE_ERROR_SECURITY
        | sys::TEE_ERROR_ACCESS_CONFLICT
        | sys::TEE_ERROR_BAD_FORMAT
        | sys::TEE_ERROR_BAD_PARAMETERS
        | sys::TEE_ERROR_NOT_SUPPORTED
        | sys::TEE_ERROR_ACCESS_DENIED => Error::ImageRefused,
        sys::TEE_ERROR_OUT_OF_MEMORY => Error::OutOfMemory,
        _ => Error::Storage,
    }
}

//! The pseudo-TA that installs and removes trusted applications; our patches to OP-TEE let nobody else in and add the
//! commands other than the first.

use optee_utee_sys as sys;
use trustbox_api::key::Uuid;
use trustbox_api::{Bytes, Error};
use trustbox_core::Held;

use crate::mapping::Mapping;
use crate::parameters::{Direction, Parameter, Parameters};
use crate::session::{Failure, TaSession};

/// 6e256cba-fc4d-4941-ad09-2ca1860342dd.
const SECSTOR: Uuid = Uuid(Bytes([
    0x6e, 0x25, 0x6c, 0xba, 0xfc, 0x4d, 0x49, 0x41, 0xad, 0x09, 0x2c, 0xa1, 0x86, 0x03, 0x42, 0xdd,
]));
/// `PTA_SECSTOR_TA_MGMT_BOOTSTRAP` and ours.
const BOOTSTRAP: u32 = 0;
const DELETE: u32 = 1;
const QUERY: u32 = 2;
const BOOT_ID: u32 = 3;
const COUNT_CHANGE: u32 = 4;
const CHANGES: u32 = 5;

/// Installs a signed image.
pub fn install(image: &Mapping) -> Result<(), Error> {
    let parameters = [Parameter::input(image), Parameter::None, Parameter::None, Parameter::None];
    invoke(BOOTSTRAP, &mut Parameters(parameters)).map_err(|failure| match failure.code {
        sys::TEE_ERROR_SECURITY
        | sys::TEE_ERROR_ACCESS_CONFLICT
        | sys::TEE_ERROR_BAD_FORMAT
        | sys::TEE_ERROR_BAD_PARAMETERS
        | sys::TEE_ERROR_NOT_SUPPORTED
        | sys::TEE_ERROR_ACCESS_DENIED => Error::ImageRefused,
        _ => storage_error(failure),
    })
}

/// Removes what is installed under a UUID; no error where nothing is.
pub fn uninstall(uuid: &Uuid) -> Result<(), Error> {
    let uuid = octets(uuid)?;
    let parameters = [Parameter::input(&uuid), Parameter::None, Parameter::None, Parameter::None];
    match invoke(DELETE, &mut Parameters(parameters)) {
        Err(Failure { code: sys::TEE_ERROR_ITEM_NOT_FOUND, .. }) => Ok(()),
        result => result.map_err(storage_error),
    }
}

/// What is installed under a UUID.
pub fn held(uuid: &Uuid) -> Result<Option<Held>, Error> {
    let uuid = octets(uuid)?;
    let mut digest = Mapping::new(32)?;
    let version = Parameter::Value(Direction::Output, 0, 0);
    let mut parameters =
        Parameters([Parameter::input(&uuid), version, Parameter::output(&mut digest), Parameter::None]);
    match invoke(QUERY, &mut parameters) {
        Err(Failure { code: sys::TEE_ERROR_ITEM_NOT_FOUND, .. }) => return Ok(None),
        result => result.map_err(storage_error)?,
    }
    let [_, Parameter::Value(_, version, _), ..] = parameters.0 else { return Err(Error::Internal) };
    let contents = Bytes::from_slice(&digest).ok_or(Error::Internal)?;
    Ok(Some(Held { version, contents }))
}

/// What OP-TEE knows of this boot. Asked before each call of an enclave, so the session is made once.
pub struct Boot(TaSession);

impl Boot {
    /// Opens it.
    pub fn open() -> Result<Self, Error> {
        TaSession::open(&SECSTOR, &Parameters::NONE).map(Self).map_err(|_| Error::Internal)
    }

    /// Identifier of this boot.
    pub fn id(&mut self) -> Result<Bytes<16>, Error> {
        let mut id = Mapping::new(16)?;
        let parameters = [Parameter::output(&mut id), Parameter::None, Parameter::None, Parameter::None];
        self.0.invoke(BOOT_ID, &mut Parameters(parameters)).map_err(|_| Error::Internal)?;
        Bytes::from_slice(&id).ok_or(Error::Internal)
    }

    /// Changes counted since.
    pub fn changes(&mut self) -> Result<u64, Error> {
        let changes = Parameter::Value(Direction::Output, 0, 0);
        let mut parameters = Parameters([changes, Parameter::None, Parameter::None, Parameter::None]);
        self.0.invoke(CHANGES, &mut parameters).map_err(|_| Error::Internal)?;
        let [Parameter::Value(_, high, low), ..] = parameters.0 else { return Err(Error::Internal) };
        Ok(u64::from(high) << 32 | u64::from(low))
    }
}

/// Counts changes since boot.
pub struct ChangeCounter(TaSession);

impl ChangeCounter {
    /// Opens it; what could fail fails here.
    pub fn open() -> Result<Self, Error> {
        TaSession::open(&SECSTOR, &Parameters::NONE).map(Self).map_err(|_| Error::OutOfMemory)
    }

    /// Counts one change more.
    pub fn count(&mut self) -> Result<(), Error> {
        self.0.invoke(COUNT_CHANGE, &mut Parameters([Parameter::None; 4])).map_err(|_| Error::Internal)
    }
}

fn octets(uuid: &Uuid) -> Result<Mapping, Error> {
    let mut octets = Mapping::new(uuid.0.0.len())?;
    octets.copy_from_slice(&uuid.0.0);
    Ok(octets)
}

fn invoke(command: u32, parameters: &mut Parameters<'_>) -> Result<(), Failure> {
    TaSession::open(&SECSTOR, &Parameters::NONE)?.invoke(command, parameters)
}

fn storage_error(failure: Failure) -> Error {
    match failure.code {
        sys::TEE_ERROR_OUT_OF_MEMORY => Error::OutOfMemory,
        sys::TEE_ERROR_CORRUPT_OBJECT | sys::TEE_ERROR_MAC_INVALID => Error::StorageCorrupt,
        _ => Error::Storage,
    }
}

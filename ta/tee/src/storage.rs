//! Persistent objects in `TEE_STORAGE_PRIVATE`.
//!
//! These are system calls, not libutee's functions, because libutee panics the TA on results that a
//! hostile or absent tee-supplicant can bring about. An object is replaced as a whole, which OP-TEE
//! commits atomically; all openings share reading and writing, and a lock shares nothing.

use core::ffi::{c_ulong, c_void};
use core::ptr;

use optee_utee::{GenericObject, ObjectHandle, Time};
use optee_utee_sys as sys;
use trustbox_api::Error;

const PRIVATE: c_ulong = sys::TEE_STORAGE_PRIVATE as c_ulong;
const SHARED: u32 =
    sys::TEE_DATA_FLAG_ACCESS_READ | sys::TEE_DATA_FLAG_SHARE_READ | sys::TEE_DATA_FLAG_SHARE_WRITE;
const EXCLUSIVE: u32 = sys::TEE_DATA_FLAG_ACCESS_WRITE;

/// How often something that another session holds is tried again, and how long in between.
const TRIES: u32 = 25;
const PAUSE_MILLISECONDS: u32 = 20;

/// Something one holder at a time can have; OP-TEE frees it when the holder's instance dies.
pub struct Lock {
    _object: ObjectHandle,
}

/// Reads an object; `None` where there is none, `Error::StorageCorrupt` where it is longer than `out`.
pub fn read(id: &[u8], out: &mut [u8]) -> Result<Option<usize>, Error> {
    let Some(object) = open_shared(id)? else { return Ok(None) };
    let found = read_some(&object, out).and_then(|length| Ok((length, read_some(&object, &mut [0])?)));
    if found == Err(sys::TEE_ERROR_CORRUPT_OBJECT) {
        // OP-TEE closed it for that; to close it again would panic the TA.
        core::mem::forget(object);
    }
    match found.map_err(error)? {
        (length, 0) => Ok(Some(length)),
        _ => Err(Error::StorageCorrupt),
    }
}

/// Creates or replaces an object.
pub fn write(id: &[u8], content: &[u8]) -> Result<(), Error> {
    let flags = SHARED | sys::TEE_DATA_FLAG_ACCESS_WRITE | sys::TEE_DATA_FLAG_OVERWRITE;
    retry(|| create(id, flags, None, content)).map(drop).map_err(error)
}

/// Takes a lock, waiting half a second for it at most; then `Error::Busy`.
pub fn lock(id: &[u8]) -> Result<Lock, Error> {
    retry(|| take(id)).map(|object| Lock { _object: object }).map_err(error)
}

/// Takes a lock if nobody has it, or `Error::Busy`.
pub fn try_lock(id: &[u8]) -> Result<Lock, Error> {
    take(id).map(|object| Lock { _object: object }).map_err(error)
}

/// Opens an object to read.
pub(crate) fn open_shared(id: &[u8]) -> Result<Option<ObjectHandle>, Error> {
    match retry(|| open(id, SHARED)) {
        Err(sys::TEE_ERROR_ITEM_NOT_FOUND) => Ok(None),
        result => result.map(Some).map_err(error),
    }
}

/// Creates an object from a key; `Error::Busy` where there is one already.
#[cfg(feature = "trusted-application")]
pub(crate) fn create_key(id: &[u8], key: &impl GenericObject) -> Result<(), Error> {
    create(id, SHARED, Some(raw(key)), &[]).map(drop).map_err(error)
}

/// Deletes an object; no error where there is none.
pub fn delete(id: &[u8]) -> Result<(), Error> {
    let object = match open(id, sys::TEE_DATA_FLAG_ACCESS_WRITE_META) {
        Err(sys::TEE_ERROR_ITEM_NOT_FOUND) => return Ok(()),
        result => result.map_err(error)?,
    };
    // SAFETY: the object is open. The call closes it, whatever comes out, so `object` must not be closed again.
    let code = unsafe { sys::_utee_storage_obj_del(raw(&object)) };
    core::mem::forget(object);
    check(code).map_err(error)
}

fn take(id: &[u8]) -> Result<ObjectHandle, u32> {
    match open(id, EXCLUSIVE) {
        Err(sys::TEE_ERROR_ITEM_NOT_FOUND) => create(id, EXCLUSIVE, None, &[]),
        // A lock has no content that could be lost.
        Err(sys::TEE_ERROR_CORRUPT_OBJECT) => create(id, EXCLUSIVE | sys::TEE_DATA_FLAG_OVERWRITE, None, &[]),
        result => result,
    }
}

fn retry<T>(mut f: impl FnMut() -> Result<T, u32>) -> Result<T, u32> {
    for _ in 1..TRIES {
        match f() {
            Err(sys::TEE_ERROR_ACCESS_CONFLICT) => {}
            result => return result,
        }
        // Only a cancelled wait fails, and it has waited long enough.
        let _ = Time::wait(PAUSE_MILLISECONDS);
    }
    f()
}

fn open(id: &[u8], flags: u32) -> Result<ObjectHandle, u32> {
    let mut object = 0;
    // SAFETY: `id` and `object` are live for the call, and OP-TEE checks both against the TA's mappings.
    check(unsafe {
        sys::_utee_storage_obj_open(PRIVATE, id.as_ptr().cast(), id.len(), flags.into(), &mut object)
    })?;
    owned(object)
}

fn create(id: &[u8], flags: u32, key: Option<c_ulong>, content: &[u8]) -> Result<ObjectHandle, u32> {
    let (id, id_size) = (id.as_ptr().cast(), id.len());
    let (content, size) = (content.as_ptr().cast::<c_void>(), content.len());
    let key = key.unwrap_or_default();
    let mut object = 0;
    // SAFETY: both slices and `object` are live for the call, and OP-TEE checks them against the TA's mappings. `key`
    // is nothing or the handle of a live object.
    check(unsafe {
        sys::_utee_storage_obj_create(PRIVATE, id, id_size, flags.into(), key, content, size, &mut object)
    })?;
    owned(object)
}

fn read_some(object: &ObjectHandle, out: &mut [u8]) -> Result<usize, u32> {
    let mut count = 0;
    // SAFETY: `out` is writable for as long as it is, the object is open.
    check(unsafe {
        sys::_utee_storage_obj_read(raw(object), out.as_mut_ptr().cast(), out.len(), &mut count)
    })?;
    usize::try_from(count).ok().filter(|count| *count <= out.len()).ok_or(sys::TEE_ERROR_GENERIC)
}

/// The number by which system calls know an object.
pub(crate) fn raw(object: &impl GenericObject) -> c_ulong {
    // SAFETY: the handle is copied as a number and used while the object is borrowed or owned by the caller.
    unsafe { object.as_raw_ref() }.addr() as c_ulong
}

fn owned(object: u32) -> Result<ObjectHandle, u32> {
    ObjectHandle::from_raw(ptr::without_provenance_mut(object as usize)).map_err(|_| sys::TEE_ERROR_GENERIC)
}

fn check(code: u32) -> Result<(), u32> {
    if code == sys::TEE_SUCCESS { Ok(()) } else { Err(code) }
}

fn error(code: u32) -> Error {
    match code {
        sys::TEE_ERROR_ACCESS_CONFLICT => Error::Busy,
        sys::TEE_ERROR_OUT_OF_MEMORY => Error::OutOfMemory,
        sys::TEE_ERROR_CORRUPT_OBJECT
        | sys::TEE_ERROR_CORRUPT_OBJECT_2
        | sys::TEE_ERROR_SECURITY
        | sys::TEE_ERROR_MAC_INVALID
        | sys::TEE_ERROR_BAD_FORMAT => Error::StorageCorrupt,
        _ => Error::Storage,
    }
}

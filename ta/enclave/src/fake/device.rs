//! The state of the device in memory.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::thread_local;

use sha2::{Digest, Sha256};
use trustbox_api::Error;

/// One device.
pub(super) struct Device {
    pub(super) objects: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) sealing_key: [u8; 32],
    pub(super) counters: [u64; 4],
    pub(super) notes: Vec<String>,
    pub(super) time: Duration,
    pub(super) stop: bool,
    pub(super) fail: bool,
    locked: bool,
}

thread_local! {
    static DEVICE: RefCell<Device> = const {
        RefCell::new(Device {
            objects: BTreeMap::new(),
            sealing_key: [0x5e; 32],
            counters: [0; 4],
            notes: Vec::new(),
            time: Duration::ZERO,
            stop: false,
            fail: false,
            locked: false,
        })
    };
    static DRAWN: Cell<u64> = const { Cell::new(0) };
}

pub(super) fn with<T>(f: impl FnOnce(&mut Device) -> T) -> T {
    DEVICE.with_borrow_mut(f)
}

/// The storage of one launch, held until dropped.
pub struct Lock(());

impl Drop for Lock {
    fn drop(&mut self) {
        // At the end of a thread its device may be gone already.
        let _ = DEVICE.try_with(|device| device.borrow_mut().locked = false);
    }
}

pub(crate) fn read(id: &[u8], out: &mut [u8]) -> Result<Option<usize>, Error> {
    with(|device| {
        working(device)?;
        let Some(content) = device.objects.get(id) else { return Ok(None) };
        out.get_mut(..content.len()).ok_or(Error::StorageCorrupt)?.copy_from_slice(content);
        Ok(Some(content.len()))
    })
}

pub(crate) fn write(id: &[u8], content: &[u8]) -> Result<(), Error> {
    with(|device| {
        working(device)?;
        device.objects.insert(id.to_vec(), content.to_vec());
        Ok(())
    })
}

pub(crate) fn delete(id: &[u8]) -> Result<(), Error> {
    with(|device| {
        working(device)?;
        device.objects.remove(id);
        Ok(())
    })
}

pub(crate) fn lock(_: &[u8]) -> Result<Lock, Error> {
    with(|device| {
        working(device)?;
        if core::mem::replace(&mut device.locked, true) { Err(Error::Busy) } else { Ok(Lock(())) }
    })
}

pub(crate) fn stops() -> bool {
    with(|device| device.stop)
}

pub(crate) fn since_boot() -> Duration {
    with(|device| device.time)
}

/// A sequence that looks random and is the same in every test.
pub(crate) fn random(out: &mut [u8]) {
    for chunk in out.chunks_mut(32) {
        let drawn = DRAWN.get();
        DRAWN.set(drawn + 1);
        let block = Sha256::digest(drawn.to_be_bytes());
        chunk.iter_mut().zip(block).for_each(|(to, from)| *to = from);
    }
}

pub(super) fn working(device: &Device) -> Result<(), Error> {
    if device.fail { Err(Error::Storage) } else { Ok(()) }
}

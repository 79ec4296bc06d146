//! Memory outside the heap: zero at first, shareable with other trusted applications, wiped when dropped.
//!
//! Shareable, because OP-TEE refuses private memory in calls between trusted applications and libutee
//! would copy it into mappings of its own, which nobody wipes.

use core::ffi::c_void;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;
use core::slice;

use optee_utee_sys as sys;
use trustbox_api::Error;

unsafe extern "C" {
    /// libutee's way to `PTA_SYSTEM_MAP_ZI`; null where that fails.
    fn tee_map_zi(size: usize, flags: u32) -> *mut c_void;
    /// libutee's way to `PTA_SYSTEM_UNMAP`.
    fn tee_unmap(address: *mut c_void, size: usize) -> sys::TEE_Result;
}

/// `TEE_MEMORY_ACCESS_ANY_OWNER`: `tee_map_zi` takes it for `PTA_SYSTEM_MAP_FLAG_SHAREABLE`.
const SHAREABLE: u32 = 4;

/// Mapped memory, whole pages of which the owner sees as many bytes as were asked for, or fewer.
pub struct Mapping {
    address: NonNull<u8>,
    size: usize,
    mapped: usize,
}

impl Mapping {
    /// Maps `size` bytes.
    pub fn new(size: usize) -> Result<Self, Error> {
        // SAFETY: takes numbers only, and maps where nothing else is.
        let address = unsafe { tee_map_zi(size, SHAREABLE) };
        let address = NonNull::new(address.cast()).ok_or(Error::OutOfMemory)?;
        Ok(Self { address, size, mapped: size })
    }

    /// Shows the owner the first `size` bytes only.
    pub(crate) fn shorten(&mut self, size: usize) {
        self.size = self.size.min(size);
    }

    pub(crate) fn raw_parts(&self) -> (NonNull<c_void>, usize) {
        (self.address.cast(), self.size)
    }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the mapping is `size` initialised bytes or more, ours alone until `drop`. Others see it only during a call
        // that borrows it (`Parameter::input`, `Parameter::output`), and such calls are synchronous.
        unsafe { slice::from_raw_parts(self.address.as_ptr(), self.size) }
    }
}

impl DerefMut for Mapping {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`; `&mut self` excludes every other reference.
        unsafe { slice::from_raw_parts_mut(self.address.as_ptr(), self.size) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let address = self.address.as_ptr().cast();
        // SAFETY: the mapping is ours and nothing refers to it any more. The compiler cannot see into the C function,
        // so the wiping stays. Address and size are those of `tee_map_zi`; should unmapping fail, it stays mapped and wiped.
        unsafe {
            sys::TEE_MemFill(address, 0, self.mapped);
            tee_unmap(address, self.mapped);
        }
    }
}

//! What libutee asks for and the TrustBox TA never uses, answered here so that it stays out.
//!
//! Together 45 KiB of code and 14 KiB of memory per session. Enclaves are free to use all of libutee, so only the
//! TrustBox TA has these.

use core::ffi::c_int;

/// Called at the start of an instance to set up GlobalPlatform's big-number arithmetic, which nothing here uses.
#[unsafe(no_mangle)]
extern "C" fn _TEE_MathAPI_Init() {}

/// Called only by the self-test of libutils' allocator, which nothing calls; libutee's own brings all of its crypto along.
#[unsafe(no_mangle)]
extern "C" fn rand() -> c_int {
    0
}

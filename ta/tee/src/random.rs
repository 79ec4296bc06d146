//! OP-TEE's random generator.

use optee_utee_sys as sys;

/// Fills `out`. There is no going on without randomness: a failure ends the TA, as libutee's own function would.
pub fn fill(out: &mut [u8]) {
    // SAFETY: `out` is writable for as long as it is.
    let code = unsafe { sys::_utee_cryp_random_number_generate(out.as_mut_ptr().cast(), out.len()) };
    if code != sys::TEE_SUCCESS {
        // SAFETY: ends the TA; touches no memory of ours.
        unsafe { sys::TEE_Panic(code) };
    }
}

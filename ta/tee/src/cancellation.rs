//! Whether the caller still waits (TEE Internal Core API 1.3.1, 4.10).
//!
//! A call is cancelled when the time limit that its caller set has passed, see
//! [`crate::session::TaSession::invoke_within`], or when a client in the normal world asks for it with
//! `TEEC_RequestCancellation`: our patch to OP-TEE lets that reach the TA at the end of nested calls. It stays hidden until
//! the callee unmasks it, and OP-TEE masks it again at the end of every call (user_ta.c, `user_ta_enter`).

use optee_utee_sys as sys;

/// Lets the call under way learn of its cancellation; also ends its waits early.
pub fn unmask() {
    // SAFETY: takes and keeps no memory.
    unsafe { sys::TEE_UnmaskCancellation() };
}

/// Whether the call under way is cancelled; `false` as long as that is masked.
pub fn requested() -> bool {
    // SAFETY: takes and keeps no memory.
    unsafe { sys::TEE_GetCancellationFlag() }
}

//! `TEE_Result`, as entry points return it.

use optee_utee_sys as sys;
use trustbox_api::Error;

/// A `TEE_Result` other than success.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status(pub u32);

impl Status {
    /// The caller may not do this.
    pub const ACCESS_DENIED: Self = Self(sys::TEE_ERROR_ACCESS_DENIED);
    /// Parameters do not fit the command.
    pub const BAD_PARAMETERS: Self = Self(sys::TEE_ERROR_BAD_PARAMETERS);
    /// A buffer is longer than its limit.
    pub const EXCESS_DATA: Self = Self(sys::TEE_ERROR_EXCESS_DATA);
    /// The reply does not fit the buffer given.
    pub const SHORT_BUFFER: Self = Self(sys::TEE_ERROR_SHORT_BUFFER);

    /// The number for OP-TEE.
    pub fn code(result: Result<(), Self>) -> u32 {
        match result {
            Ok(()) => sys::TEE_SUCCESS,
            Err(Self(code)) => code,
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        Self(error.code())
    }
}

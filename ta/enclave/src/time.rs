//! Time: since the device was switched on, which Linux cannot change, and the time of day, which is what Linux says.

use core::time::Duration;

use crate::platform;

/// OP-TEE's system time: only rises, and starts anew with every boot (TEE Internal Core API 1.3.1, 7.2.1).
///
/// ```
/// use core::time::Duration;
/// use trustbox_enclave::{fake, time};
///
/// let start = time::since_boot();
/// fake::advance_time(Duration::from_secs(5));
/// assert_eq!(time::since_boot() - start, Duration::from_secs(5));
/// ```
pub fn since_boot() -> Duration {
    platform::since_boot()
}

/// Linux's time of day, since 1970. It is only what Linux claims: good to show, not to decide by.
///
/// ```
/// assert!(trustbox_enclave::time::claimed_by_linux().as_secs() > 0);
/// ```
pub fn claimed_by_linux() -> Duration {
    platform::claimed_by_linux()
}

//! Random numbers of OP-TEE's generator; where there is none, the enclave ends rather than goes on without.

use crate::platform;

/// Fills `out`.
///
/// ```
/// let mut salt = [0; 16];
/// trustbox_enclave::random::fill(&mut salt);
/// assert_ne!(salt, [0; 16]);
/// ```
pub fn fill(out: &mut [u8]) {
    platform::random(out);
}

/// `N` random bytes.
///
/// ```
/// let (one, other): ([u8; 16], [u8; 16]) = (trustbox_enclave::random::bytes(), trustbox_enclave::random::bytes());
/// assert_ne!(one, other);
/// ```
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    fill(&mut out);
    out
}

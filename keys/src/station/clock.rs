//! A station's clock is in certificates, vouchers and reports: where it is wrong, nothing is made.

use anyhow::Result;

use crate::service::now;

/// How much two clocks may differ, in seconds.
const APART: u64 = 300;

/// This host's clock is wrong, or another one.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("this station's clock says {own}, {whose} {other}, in seconds since 1970")]
pub(super) struct Wrong {
    own: u64,
    other: u64,
    whose: &'static str,
}

/// Another clock says about the same.
pub(super) fn agrees(other: u64, whose: &'static str) -> Result<(), Wrong> {
    check(now(), other, whose)
}

/// What was written then lies behind us.
pub(super) fn is_after(other: u64, whose: &'static str) -> Result<(), Wrong> {
    let own = now();
    if other > own { check(own, other, whose) } else { Ok(()) }
}

fn check(own: u64, other: u64, whose: &'static str) -> Result<(), Wrong> {
    if own.abs_diff(other) <= APART { Ok(()) } else { Err(Wrong { own, other, whose }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_may_differ_by_minutes() {
        assert!(check(1000, 1300, "it").is_ok() && check(1300, 1000, "it").is_ok());
        assert!(check(1000, 1301, "it").unwrap_err().to_string().contains("1301"));
        assert!(check(1301, 1000, "it").is_err());
        assert!(is_after(0, "it").is_ok() && is_after(u64::MAX, "it").is_err());
    }
}

//! All cases, in the order they run.

pub(crate) mod attestation;
mod authority;
mod class_keys;
mod concurrency;
mod core;
mod enclaves;
mod life;
mod lifecycle;
mod limits;
mod log;
mod packages;
mod probe;
mod removal;
mod revocation;
mod storage;
mod table;
mod vectors;

use crate::case::Case;

/// Every case, by number. Cases of family 21xx want a blank device, so they come first of their
/// kind; everything after them provisions the device if it is blank.
pub fn all() -> Vec<&'static Case> {
    let families = [
        core::CASES,
        lifecycle::CASES,
        authority::CASES,
        life::CASES,
        class_keys::CASES,
        packages::CASES,
        attestation::CASES,
        removal::CASES,
        enclaves::CASES,
        probe::CASES,
        vectors::CASES,
        revocation::CASES,
        log::CASES,
        concurrency::CASES,
        storage::CASES,
        limits::CASES,
        life::LAST,
    ];
    families.iter().flat_map(|family| family.iter()).collect()
}

/// The cases whose number or name contains one of `wanted`; all of them where `wanted` is empty.
pub fn select(wanted: &[String]) -> Vec<&'static Case> {
    let fits = |case: &Case| {
        wanted.is_empty()
            || wanted.iter().any(|w| case.id.to_string().contains(w) || case.name.contains(w.as_str()))
    };
    all().into_iter().filter(|case| fits(case)).collect()
}

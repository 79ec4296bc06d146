//! What OP-TEE's attestation pseudo-TA measures of a firmware, from its ELF files: of OP-TEE's core, and of the TrustBox TA.
//!
//! Both are SHA-256 over what is read-only in memory, so no address that is only known at run time is in it
//! (`core/pta/attestation.c`, `hash_tee_memory` and `hash_regions`). Whatever would make that untrue is refused here.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use crate::elf::{self, Segment};

/// OP-TEE maps in pages.
const PAGE: usize = 4096;

/// Measurements of OP-TEE's core and of the TA inside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Measurements {
    pub(crate) optee: [u8; 32],
    pub(crate) trustbox: [u8; 32],
}

impl Measurements {
    /// From `tee.elf` and the TA as it was built in.
    pub(crate) fn of(optee: &Path, trustbox: &Path) -> Result<Self> {
        let measured = |path: &Path, measure: fn(&[u8]) -> Result<[u8; 32]>| {
            let elf = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            measure(&elf).with_context(|| format!("cannot measure {}", path.display()))
        };
        Ok(Self { optee: measured(optee, core)?, trustbox: measured(trustbox, application)? })
    }
}

/// Code but for the few words that the first instructions write to, then constants.
fn core(elf: &[u8]) -> Result<[u8; 32]> {
    ensure!(elf::symbol(elf, "__text_init_start").is_err(), "OP-TEE with a pager measures more than this");
    let segments = elf::segments(elf)?;
    let mut hash = Sha256::new();
    for (start, end) in [
        ("__text_start", "__text_data_start"),
        ("__text_data_end", "__text_end"),
        ("__rodata_start", "__rodata_end"),
    ] {
        let (start, end) = (elf::symbol(elf, start)?.0, elf::symbol(elf, end)?.0);
        ensure!(
            !elf::relocated(elf)?.any(|at| (start..end).contains(&at)),
            "relocations in what is measured"
        );
        hash.update(between(&segments, start, end)?);
    }
    Ok(hash.finalize().into())
}

/// What is in memory from one address to another.
fn between<'a>(segments: &[Segment<'a>], start: u64, end: u64) -> Result<&'a [u8]> {
    let inside = segments.iter().find_map(|segment| {
        let offset = usize::try_from(start.checked_sub(segment.address)?).ok()?;
        segment.content.get(offset..offset.checked_add(usize::try_from(end.checked_sub(start)?).ok()?)?)
    });
    inside.with_context(|| format!("nothing is loaded from {start:#x} to {end:#x}"))
}

/// Each read-only region, in whole pages, smaller ones first. The page with the ELF header is one: ldelf maps it to read it, and
/// leaves it there.
fn application(elf: &[u8]) -> Result<[u8; 32]> {
    let segments = elf::segments(elf)?;
    let mut regions = vec![elf.get(..PAGE).context("it has no page")?.to_vec()];
    for segment in segments.iter().filter(|segment| !segment.writable) {
        let range = segment.address..segment.address + segment.content.len() as u64;
        ensure!(segment.address % PAGE as u64 == 0, "a read-only segment does not begin with a page");
        ensure!(!segment.content.starts_with(b"\x7fELF"), "the ELF header is in a segment");
        ensure!(!elf::relocated(elf)?.any(|at| range.contains(&at)), "relocations in what is measured");
        let mut region = segment.content.to_vec();
        region.resize(region.len().next_multiple_of(PAGE), 0);
        regions.push(region);
    }
    ensure!(regions.len() > 1, "nothing is read-only");
    regions.sort_by(|one, two| one.len().cmp(&two.len()).then_with(|| one.cmp(two)));
    Ok(regions.iter().fold(Sha256::new(), |hash, region| hash.chain_update(region)).finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::tests::{relocating, with_segments};

    const CODE: &[u8] = &[1; 5000];
    const DATA: &[u8] = &[2; 100];

    fn padded(content: &[u8], size: usize) -> Vec<u8> {
        let mut region = content.to_vec();
        region.resize(size, 0);
        region
    }

    #[test]
    fn a_trusted_application_is_its_read_only_pages_smaller_ones_first() {
        let elf = with_segments(&[(0, CODE, false), (0x2000, DATA, false), (0x3000, &[3; 8], true)]);
        // The page with the header begins with another octet than that of the data, which decides between the two.
        let want = Sha256::new().chain_update(padded(DATA, PAGE)).chain_update(&elf[..PAGE]);
        let want = want.chain_update(padded(CODE, 2 * PAGE));
        assert_eq!(application(&elf).unwrap(), <[u8; 32]>::from(want.finalize()));
        let other = with_segments(&[(0, CODE, false), (0x2000, DATA, false), (0x3000, &[4; 8], true)]);
        assert_eq!(application(&other).unwrap(), application(&elf).unwrap());
        assert!(application(&with_segments(&[(0, CODE, false), (0, &elf, false)])).is_err());
        assert!(application(&with_segments(&[(0, CODE, true)])).is_err());
        assert!(application(&with_segments(&[(8, CODE, false)])).is_err());
    }

    #[test]
    fn what_is_relocated_is_not_measured() {
        let segments = [(0, CODE, false), (0x3000, DATA, true)];
        assert!(application(&relocating(&segments, 0x3008)).is_ok());
        let error = application(&relocating(&segments, 0x1000)).unwrap_err();
        assert_eq!(error.to_string(), "relocations in what is measured");
    }

    #[test]
    fn memory_is_found_in_the_segment_that_holds_it() {
        let elf = with_segments(&[(0x1000, CODE, false)]);
        let segments = elf::segments(&elf).unwrap();
        assert_eq!(between(&segments, 0x1001, 0x1003).unwrap(), [1; 2]);
        for (start, end) in [(0xfff, 0x1003), (0x1000, 0x1000 + 5001), (0x1003, 0x1001)] {
            assert!(between(&segments, start, end).is_err(), "{start:#x} {end:#x}");
        }
    }
}

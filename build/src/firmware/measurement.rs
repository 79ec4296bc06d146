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

/// Each read-only region, in whole pages, smaller ones first.
fn application(elf: &[u8]) -> Result<[u8; 32]> {
    let segments = elf::segments(elf)?;
    let mut regions = Vec::new();
    for segment in segments.iter().filter(|segment| !segment.writable) {
        let range = segment.address..segment.address + segment.content.len() as u64;
        ensure!(segment.address % PAGE as u64 == 0, "a read-only segment does not begin with a page");
        ensure!(!elf::relocated(elf)?.any(|at| range.contains(&at)), "relocations in what is measured");
        let mut region = segment.content.to_vec();
        region.resize(region.len().next_multiple_of(PAGE), 0);
        regions.push(region);
    }
    ensure!(!regions.is_empty(), "nothing is read-only");
    regions.sort_by(|one, two| one.len().cmp(&two.len()).then_with(|| one.cmp(two)));
    Ok(regions.iter().fold(Sha256::new(), |hash, region| hash.chain_update(region)).finalize().into())
}

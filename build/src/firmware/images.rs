//! Puts a real board's parts together: the PBL, the FIP and the boot region of each medium, every size checked.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use trustbox_boot_image::fip::{Fip, Kind};
use trustbox_boot_image::pbl::boot_image;
use trustbox_boot_image::secure::prepare;

use crate::board::layout::{Extent, FlashRegion};
use crate::board::soc::{Hardware, MediumKind};
use crate::boot::certificates::{Counters, Signed};
use crate::boot::keys::Keys;
use crate::boot::root_keys::RootKeys;
use crate::elf;
use crate::firmware::boards::Part;

/// The files that make the images of one medium.
pub(crate) struct Inputs<'a> {
    /// Folder with `bl2.bin`, `bl2.elf`, `bl31.bin` and `bl31.elf`.
    pub(crate) tfa: &'a Path,
    /// Folder with `tee-raw.bin` and `tee.elf`.
    pub(crate) optee: &'a Path,
    /// `u-boot.bin`.
    pub(crate) u_boot: &'a Path,
}

/// Who signs what the boot ROM and BL2 verify, and the counters that devices must not be beyond.
pub(crate) struct Signatures<'a> {
    pub(crate) root: &'a RootKeys,
    pub(crate) keys: &'a Keys,
    pub(crate) counters: Counters,
}

/// One medium's images.
pub(crate) struct Images {
    /// RCW and PBI commands, as the vendor's tool would make them; a signed PBL has more commands.
    pub(crate) rcw: Vec<u8>,
    /// What the boot ROM reads: RCW, PBI commands, BL2.
    pub(crate) pbl: Vec<u8>,
    /// What BL2 reads.
    pub(crate) fip: Vec<u8>,
    /// Everything from where the PBL is on the medium.
    pub(crate) boot: Vec<u8>,
    /// Where that is.
    pub(crate) boot_offset: u64,
    /// Octets between BL2 with all of its data and the end of its memory.
    pub(crate) bl2_margin: u64,
}

impl Images {
    /// What is flashed.
    pub(crate) fn signed_files(&self) -> [(Part, &[u8]); 3] {
        [(Part::Pbl, &self.pbl), (Part::Fip, &self.fip), (Part::Boot, &self.boot)]
    }

    /// The same, and what other tools are compared with.
    pub(crate) fn files(&self) -> [(Part, &[u8]); 4] {
        let [pbl, fip, boot] = self.signed_files();
        [(Part::Rcw, &self.rcw), pbl, fip, boot]
    }
}

/// Makes the images of one medium, signed or not.
pub(crate) fn assemble(
    hardware: &Hardware<'_>,
    kind: MediumKind,
    inputs: &Inputs<'_>,
    signatures: Option<&Signatures<'_>>,
) -> Result<Images> {
    let medium =
        hardware.media.get(&kind).with_context(|| format!("the board has no medium {}", kind.name()))?;
    let place = hardware.placement(kind).context("the board has no room for BL2")?;
    let board = hardware.pbl(kind)?;
    let bl2_margin = in_region(hardware, "bl2", &inputs.tfa.join("bl2.elf"))?;
    in_region(hardware, "bl31", &inputs.tfa.join("bl31.elf"))?;
    in_region(hardware, "optee", &inputs.optee.join("tee.elf"))?;
    let bl2 = read(&inputs.tfa.join("bl2.bin"))?;
    let (bl31, optee) = (inputs.tfa.join("bl31.bin"), inputs.optee.join("tee-raw.bin"));
    let (pbl, fip) = match signatures {
        Some(Signatures { root, keys, counters }) => {
            let prepared = prepare(&board, &bl2, &place, &root.signing)?;
            let optee = std::slice::from_ref(&optee);
            let signed = Signed { bl2: None, bl31: &bl31, optee, u_boot: inputs.u_boot };
            (root.sign(prepared)?, signed.fip(keys, *counters)?)
        }
        None => {
            let parts = [(Kind::Bl31, &*bl31), (Kind::Bl32, &optee), (Kind::Bl33, inputs.u_boot)];
            let parts = parts.into_iter().map(|(kind, path)| Ok((kind, read(path)?)));
            (boot_image(&board, &bl2, &place)?, Fip::of(parts.collect::<Result<Vec<_>>>()?))
        }
    };
    let fip = fip.encode();
    let region = |name: &str| medium.region(name).with_context(|| format!("no region {name}"));
    let (pbl_region, fip_region) = (region("pbl")?, region("fip")?);
    let boot = boot_region([(pbl_region, &pbl), (fip_region, &fip)])?;
    Ok(Images { rcw: board.encode()?, pbl, fip, boot, boot_offset: pbl_region.start, bl2_margin })
}

/// The first part's region and the second's, with zeros between.
fn boot_region(parts: [(&FlashRegion, &Vec<u8>); 2]) -> Result<Vec<u8>> {
    let start = parts[0].0.start;
    let mut image = Vec::new();
    for (region, content) in parts {
        fits(region, content.len() as u64)?;
        let at = region.start.checked_sub(start).context("regions of a medium are not in order")?;
        image.resize(usize::try_from(at)?, 0);
        image.extend(content);
    }
    Ok(image)
}

fn fits(region: &FlashRegion, size: u64) -> Result<()> {
    ensure!(
        size <= region.size,
        "{} has {size} octets, its region {} has {}\nhelp: make the part smaller, or the region larger in board.toml",
        region.name,
        region.shown(),
        region.size
    );
    Ok(())
}

/// Octets left in a memory region behind a program; an error if it is not inside.
fn in_region(hardware: &Hardware<'_>, name: &str, program: &Path) -> Result<u64> {
    let region = hardware.memory.region(name).with_context(|| format!("no memory region {name}"))?;
    let memory = elf::memory(&read(program)?).with_context(|| program.display().to_string())?;
    if memory.start < region.start || memory.end > region.end() {
        bail!(
            "{} is in memory from 0x{:x} to 0x{:x}, which is not inside region {}\nhelp: correct the memory map in board.toml",
            program.display(),
            memory.start,
            memory.end,
            region.shown()
        );
    }
    Ok(region.end() - memory.end)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(name: &str, start: u64, size: u64) -> FlashRegion {
        FlashRegion { name: name.to_owned(), start, size }
    }

    #[test]
    fn parts_are_where_their_regions_are() {
        let (first, second) = (region("pbl", 0x1000, 0x1000), region("fip", 0x3000, 0x1000));
        let image = boot_region([(&first, &vec![1; 3]), (&second, &vec![2; 4])]).unwrap();
        assert_eq!((image.len(), image[2], image[3], image[0x2000]), (0x2004, 1, 0, 2));
    }

    #[test]
    fn a_part_beyond_its_region_is_named_with_both_sizes() {
        let (first, second) = (region("pbl", 0, 0x200), region("fip", 0x200, 0x200));
        let error = boot_region([(&first, &vec![1; 3]), (&second, &vec![2; 0x201])]).unwrap_err().to_string();
        assert!(
            error.starts_with("fip has 513 octets, its region fip 0x200..0x400 has 512\nhelp: "),
            "{error}"
        );
    }
}

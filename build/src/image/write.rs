//! Writes an image: what a plan says, where it says it, and nothing in between. The file is there whole or not at all.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// Octets that are left out where they are all zero.
const BLOCK: usize = 4096;

/// A named range of the medium and what is in it.
pub(crate) struct Region {
    pub(crate) name: String,
    pub(crate) start: u64,
    pub(crate) content: Vec<u8>,
}

impl Region {
    pub(crate) fn new(name: &str, start: u64, content: Vec<u8>) -> Self {
        Self { name: name.to_owned(), start, content }
    }

    pub(crate) fn end(&self) -> u64 {
        self.start + self.content.len() as u64
    }
}

/// Two regions that disturb each other, or one behind the end, are an error that names both.
pub(crate) fn check(regions: &[Region], size: u64) -> Result<()> {
    let shown = |region: &Region| format!("{} 0x{:x}..0x{:x}", region.name, region.start, region.end());
    for (number, region) in regions.iter().enumerate() {
        ensure!(region.end() <= size, "{} ends behind the medium's 0x{size:x} octets", shown(region));
        let overlap = |other: &&Region| other.start < region.end() && region.start < other.end();
        if let Some(other) = regions.iter().take(number).find(overlap) {
            anyhow::bail!("{} overlaps {}", shown(region), shown(other));
        }
    }
    Ok(())
}

/// Makes the file.
pub(crate) fn write(file: &Path, regions: &[Region], size: u64) -> Result<()> {
    check(regions, size)?;
    let name = file.file_name().context("an image needs a name")?.to_string_lossy().into_owned();
    let part = file.with_file_name(format!("{name}.unfinished"));
    let written = write_to(&part, regions, size);
    if let Err(error) = written {
        let _ = fs::remove_file(&part);
        return Err(error.context(format!("cannot write {}", file.display())));
    }
    fs::rename(&part, file).with_context(|| format!("cannot finish {}", file.display()))
}

fn write_to(part: &Path, regions: &[Region], size: u64) -> Result<()> {
    let mut out = File::create(part)?;
    out.set_len(size)?;
    for region in regions {
        for (number, block) in region.content.chunks(BLOCK).enumerate() {
            if block.iter().any(|octet| *octet != 0) {
                out.seek(SeekFrom::Start(region.start + (number * BLOCK) as u64))?;
                out.write_all(block)?;
            }
        }
    }
    Ok(out.sync_all()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_apart_and_inside() {
        let region = |name: &str, start, length| Region::new(name, start, vec![1; length]);
        let said = |regions: &[Region]| check(regions, 8192).map_err(|error| error.to_string());
        assert!(said(&[region("a", 0, 4096), region("b", 4096, 4096)]).is_ok());
        assert_eq!(
            said(&[region("a", 0, 4097), region("b", 4096, 1)]).unwrap_err(),
            "b 0x1000..0x1001 overlaps a 0x0..0x1001"
        );
        assert!(
            said(&[region("a", 4096, 4097)]).unwrap_err().contains("ends behind the medium's 0x2000 octets")
        );
    }

    #[test]
    fn a_full_disk_leaves_no_half_image() {
        let folder = Path::new("/dev/full");
        if folder.exists() {
            // The device takes no octet, as a disk without room.
            let error = write_to(folder, &[Region::new("a", 0, vec![1])], 4096);
            assert!(error.is_err());
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.img");
        assert!(write(&file, &[Region::new("a", 0, vec![1; 2])], 1).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        write(&file, &[Region::new("a", 4096, vec![7; 3])], 8192).unwrap();
        let found = fs::read(&file).unwrap();
        assert_eq!((found.len(), &found[4095..4100]), (8192, &[0, 7, 7, 7, 0][..]));
    }
}

//! Writes an image: what a plan says, where it says it, and nothing in between. The file is there whole or not at all.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::image::bmap::Bmap;

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

/// Makes the file; the map of what a medium must get, which is computed while the disk writes.
pub(crate) fn write(file: &Path, regions: &[Region], size: u64, extents: &[(u64, u64)]) -> Result<Bmap> {
    check(regions, size)?;
    let name = file.file_name().context("an image needs a name")?.to_string_lossy().into_owned();
    let part = file.with_file_name(format!("{name}.unfinished"));
    let written = write_to(&part, regions, size).and_then(|out| {
        let (synced, map) = rayon::join(|| out.sync_all(), || Bmap::of(&out, size, extents));
        synced?;
        fs::rename(&part, file)?;
        map
    });
    if written.is_err() {
        let _ = fs::remove_file(&part);
    }
    written.with_context(|| format!("cannot write {}", file.display()))
}

fn write_to(part: &Path, regions: &[Region], size: u64) -> Result<File> {
    let out = File::options().create(true).truncate(true).read(true).write(true).open(part)?;
    out.set_len(size)?;
    for region in regions {
        let blocks: Vec<_> = region.content.chunks(BLOCK).collect();
        let mut at = 0;
        for run in blocks.chunk_by(|one, next| zero(one) == zero(next)) {
            let end = at + run.iter().map(|block| block.len()).sum::<usize>();
            if !zero(&region.content[at..end]) {
                out.write_all_at(&region.content[at..end], region.start + at as u64)?;
            }
            at = end;
        }
    }
    Ok(out)
}

fn zero(block: &[u8]) -> bool {
    block.iter().all(|octet| *octet == 0)
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
        assert!(write(&file, &[Region::new("a", 0, vec![1; 2])], 1, &[]).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let content = [vec![7; 4096], vec![0; 2 * 4096], vec![0; 9], vec![8; 3]].concat();
        let map = write(&file, &[Region::new("a", 4096, content)], 6 * 4096, &[(4096, 4097)]).unwrap();
        let found = fs::read(&file).unwrap();
        assert_eq!(
            (found.len(), &found[4095..4098], &found[8190..8193]),
            (6 * 4096, &[0, 7, 7][..], &[7, 7, 0][..])
        );
        assert_eq!(&found[4 * 4096 + 8..4 * 4096 + 13], [0, 8, 8, 8, 0]);
        assert_eq!((map.size, map.octets()), (6 * 4096, 4096));
    }
}

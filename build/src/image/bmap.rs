//! Which blocks of an image hold something, as bmaptool describes it (format 2.0): ranges, each with its SHA-256. What is not listed
//! need not be written.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use rayon::prelude::*;

use crate::hash::sha256_hex;

/// Octets of a block.
pub(crate) const BLOCK: u64 = 4096;
/// Octets of a range at most, so that progress and differences have a place.
const MOST: u64 = 4 << 20;
const ZEROS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Blocks that are written, and their digest.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Range {
    pub(crate) start: u64,
    pub(crate) size: u64,
    pub(crate) sha256: String,
}

/// All ranges of an image of this many octets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Bmap {
    pub(crate) size: u64,
    pub(crate) ranges: Vec<Range>,
}

impl Bmap {
    /// Where an image's map is.
    pub(crate) fn beside(image: &Path) -> PathBuf {
        let mut name = image.file_name().unwrap_or_default().to_owned();
        name.push(".bmap");
        image.with_file_name(name)
    }

    /// Octets in all ranges.
    pub(crate) fn octets(&self) -> u64 {
        self.ranges.iter().map(|range| range.size).sum()
    }

    /// The map of these extents of a file, which are ordered and apart.
    pub(crate) fn of(file: &File, size: u64, extents: &[(u64, u64)]) -> Result<Self> {
        let mut blocks: Vec<(u64, u64)> = Vec::new();
        for (start, end) in
            extents.iter().map(|(start, end)| (start / BLOCK * BLOCK, end.next_multiple_of(BLOCK).min(size)))
        {
            match blocks.last_mut() {
                Some(last) if last.1 >= start => last.1 = last.1.max(end),
                _ => blocks.push((start, end)),
            }
        }
        let pieces = blocks.into_iter().flat_map(|(start, end)| {
            (start..end).step_by(MOST as usize).map(move |at| (at, MOST.min(end - at)))
        });
        let range = |(start, size)| -> Result<Range> {
            Ok(Range { start, size, sha256: sha256_hex(&read(file, start, size)?) })
        };
        let ranges = pieces.collect::<Vec<_>>().into_par_iter().map(range).collect::<Result<_>>()?;
        Ok(Self { size, ranges })
    }

    /// As bmaptool reads it.
    pub(crate) fn xml(&self) -> String {
        let blocks = |octets: u64| octets.div_ceil(BLOCK);
        let line = |range: &Range| {
            let (first, last) = (range.start / BLOCK, (range.start + range.size - 1) / BLOCK);
            format!("        <Range chksum=\"{}\">{first}-{last}</Range>\n", range.sha256)
        };
        let ranges: String = self.ranges.iter().map(line).collect();
        let text = format!(
            "<?xml version=\"1.0\" ?>\n<bmap version=\"2.0\">\n    <ImageSize>{}</ImageSize>\n    <BlockSize>{BLOCK}</BlockSize>\n    \
             <BlocksCount>{}</BlocksCount>\n    <MappedBlocksCount>{}</MappedBlocksCount>\n    <ChecksumType>sha256</ChecksumType>\n    \
             <BmapFileChecksum>{ZEROS}</BmapFileChecksum>\n    <BlockMap>\n{ranges}    </BlockMap>\n</bmap>\n",
            self.size,
            blocks(self.size),
            blocks(self.octets()),
        );
        text.replace(ZEROS, &sha256_hex(text.as_bytes()))
    }

    /// Reads what [`Bmap::xml`] writes: its own checksum, then each field.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let sum = field(text, "BmapFileChecksum")?;
        ensure!(sha256_hex(text.replace(sum, ZEROS).as_bytes()) == sum, "its own checksum is wrong");
        ensure!(
            field(text, "BlockSize")? == BLOCK.to_string() && field(text, "ChecksumType")? == "sha256",
            "blocks or checksums are of another kind"
        );
        let size: u64 = field(text, "ImageSize")?.parse()?;
        let ranges = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("<Range chksum=\""))
            .map(|line| range(line, size));
        let map = Self { size, ranges: ranges.collect::<Result<_>>()? };
        let apart = map.ranges.windows(2).all(|pair| pair[0].start + pair[0].size <= pair[1].start);
        ensure!(apart && !map.ranges.is_empty(), "its ranges are not in order");
        Ok(map)
    }
}

fn field<'a>(text: &'a str, name: &str) -> Result<&'a str> {
    let rest = text.split_once(&format!("<{name}>")).with_context(|| format!("no {name}"))?.1;
    Ok(rest.split_once('<').with_context(|| format!("no end of {name}"))?.0.trim())
}

fn range(line: &str, size: u64) -> Result<Range> {
    let parts = line.split_once("\">").and_then(|(sum, rest)| Some((sum, rest.split_once('<')?.0)));
    let Some((sha256, blocks)) = parts else { bail!("a range is none: {line}") };
    let (first, last) = blocks.split_once('-').unwrap_or((blocks, blocks));
    let (first, last): (u64, u64) = (first.trim().parse()?, last.trim().parse()?);
    let start = first.checked_mul(BLOCK).context("a range is behind everything")?;
    let end = last
        .checked_add(1)
        .and_then(|blocks| blocks.checked_mul(BLOCK))
        .context("a range is behind everything")?
        .min(size);
    ensure!(start < end && sha256.len() == 64 && end - start <= MOST, "a range is none: {line}");
    Ok(Range { start, size: end - start, sha256: sha256.to_owned() })
}

/// A range of a file.
pub(crate) fn read(file: &File, start: u64, size: u64) -> Result<Vec<u8>> {
    let mut content = vec![0; usize::try_from(size)?];
    file.read_exact_at(&mut content, start)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Bmap {
        let file = tempfile::tempfile().unwrap();
        file.set_len(10 * BLOCK + 5).unwrap();
        file.write_all_at(b"x", BLOCK).unwrap();
        Bmap::of(
            &file,
            10 * BLOCK + 5,
            &[(BLOCK + 3, BLOCK + 4), (2 * BLOCK, 3 * BLOCK), (10 * BLOCK, 10 * BLOCK + 1)],
        )
        .unwrap()
    }

    #[test]
    fn neighbours_are_one_range_and_the_last_block_may_be_short() {
        let places: Vec<_> = sample().ranges.iter().map(|range| (range.start, range.size)).collect();
        assert_eq!(places, [(BLOCK, 2 * BLOCK), (10 * BLOCK, 5)]);
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let (map, text) = (sample(), sample().xml());
        assert_eq!(Bmap::parse(&text).unwrap(), map);
        for (from, to) in [("1-2<", "1-3<"), ("<ImageSize>", "<Other>"), ("sha256", "md5")] {
            assert!(Bmap::parse(&text.replacen(from, to, 1)).is_err(), "{to}");
        }
        assert!(Bmap::parse("").is_err());
    }
}

//! `tb flash`: writes an image to a medium, only what its map lists, and reads it back.
//!
//! A medium that is in use, that this host runs from, or that is too small is refused, with the reason. A medium is written only
//! with `--yes`, after its model and size were shown. The partition table is written last: interrupted, the medium is none, and
//! writing starts again. On a medium larger than the image, the last partition takes what is left, and the second table is at the end.

mod target;

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use rayon::prelude::*;

use crate::hash::sha256_hex;
use crate::image::bmap::{BLOCK, Bmap, Range, read};
use crate::image::gpt::{self, ENTRIES_SIZE, Pieces};
use crate::image::verify::Medium;
use crate::ui;
use crate::usage::Usage;
pub(crate) use target::EXCLUSIVE;
use target::{System, Target};

/// A medium with this much more than the image is a larger one.
const LARGER: u64 = 1 << 20;
/// Who read back at once: more than there are cores, as some wait for the medium.
const READERS: usize = 4;

/// Writes an image to a medium or a file.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Image that `tb image` made
    image: PathBuf,
    /// Device, or file, to write to
    target: PathBuf,
    /// Write; everything on the medium is lost
    #[arg(long)]
    yes: bool,
}

/// Runs `tb flash`.
pub(crate) fn run(args: &Args) -> Result<()> {
    let map = map_of(&args.image)?;
    let target = Target::examine(&args.target, map.size, &System::here())?;
    let source = Source::new(&args.image, map, target.size())?;
    let map = &source.written;
    eprintln!("{}\n{} of {} MiB will be written", target.shown(), map.octets() >> 20, map.size >> 20);
    if !args.yes && target.holds_something() {
        bail!(Usage(format!(
            "{} is not written without --yes\nhelp: everything on it would be lost",
            args.target.display()
        )));
    }
    let out = target.open()?;
    let began = Instant::now();
    ui::step("write", || source.write(&out))?;
    let wrote = began.elapsed();
    // The kernel forgets what is on a device once nobody has it open.
    drop(out);
    ui::step("read back", || verify(&args.target, map))?;
    println!(
        "{}: {} octets written in {:.1} s, read back and equal",
        args.target.display(),
        map.octets(),
        wrote.as_secs_f32()
    );
    Ok(())
}

/// The map beside an image.
pub(crate) fn map_of(image: &Path) -> Result<Bmap> {
    let path = Bmap::beside(image);
    let text = fs::read_to_string(&path).with_context(|| {
        format!("cannot read {}\nhelp: `build/tb image` writes it beside the image", path.display())
    })?;
    let map = Bmap::parse(&text).with_context(|| path.display().to_string())?;
    let size = fs::metadata(image).with_context(|| format!("cannot read {}", image.display()))?.len();
    ensure!(
        size == map.size,
        "{} has {size} octets, its map says {}\nhelp: one of them is of another image",
        image.display(),
        map.size
    );
    Ok(map)
}

/// An image, and what is another thing on this medium.
pub(crate) struct Source {
    image: File,
    map: Bmap,
    /// Tables for another size.
    tables: Pieces,
    /// The map of what is written.
    written: Bmap,
}

impl Source {
    /// An image with its map, for a medium of this size.
    pub(crate) fn new(image: &Path, map: Bmap, size: u64) -> Result<Self> {
        let tables =
            if size >= map.size + LARGER { tables_for(image, map.size, size)? } else { Pieces::new() };
        let image = File::open(image).with_context(|| format!("cannot read {}", image.display()))?;
        let mut source = Self { image, written: map.clone(), map, tables };
        if !source.tables.is_empty() {
            source.written = source.map_with_tables(size)?;
        }
        Ok(source)
    }

    /// The image's ranges, those of them with a table in them anew, and the tables behind its end.
    fn map_with_tables(&self, size: u64) -> Result<Bmap> {
        let mut ranges = Vec::new();
        for range in &self.map.ranges {
            let touched = self.tables.iter().any(|piece| overlap(range.start, range.size, piece));
            ranges.push(if touched { range_of(range.start, &self.content(range)?) } else { range.clone() });
        }
        let behind = self.tables.iter().filter(|(at, _)| *at >= self.map.size);
        ranges.extend(behind.map(|(at, octets)| range_of(*at, octets)));
        Ok(Bmap { size, ranges })
    }

    /// What is written in a range.
    fn content(&self, range: &Range) -> Result<Vec<u8>> {
        let mut content = read(&self.image, range.start, range.size)?;
        ensure!(
            sha256_hex(&content) == range.sha256,
            "the image differs from its map in octets 0x{:x} to 0x{:x}",
            range.start,
            range.start + range.size
        );
        for piece in self.tables.iter().filter(|piece| overlap(range.start, range.size, piece)) {
            put(&mut content, range.start, piece);
        }
        Ok(content)
    }

    /// First the partition table's block is erased, then everything else is written, then that block.
    pub(crate) fn write(&self, out: &File) -> Result<()> {
        out.write_all_at(&vec![0; usize::try_from(BLOCK)?], 0).context("cannot write")?;
        out.sync_all()?;
        for (at, octets) in self.tables.iter().filter(|(at, _)| *at >= self.map.size) {
            write_at(out, *at, octets)?;
        }
        let (first, rest): (Vec<&Range>, Vec<&Range>) =
            self.map.ranges.iter().partition(|range| range.start == 0);
        for range in rest.into_iter().chain(first) {
            let content = self.content(range)?;
            if range.start == 0 {
                out.sync_all()?;
            }
            write_at(out, range.start, &content)?;
        }
        Ok(out.sync_all()?)
    }
}

/// The tables for a medium of this size; those at the image's end go away.
fn tables_for(image: &Path, image_size: u64, size: u64) -> Result<Pieces> {
    let [header, entries] = Medium::open(image)?.first_table()?;
    let old = gpt::resized(&header, &entries, image_size)?;
    let gone = old.into_iter().filter(|(at, _)| *at >= image_size - ENTRIES_SIZE - gpt::BLOCK);
    let gone = gone.map(|(at, octets)| (at, vec![0; octets.len()]));
    Ok(gone.chain(gpt::resized(&header, &entries, size)?).collect())
}

fn range_of(start: u64, content: &[u8]) -> Range {
    Range { start, size: content.len() as u64, sha256: sha256_hex(content) }
}

fn overlap(start: u64, size: u64, (at, octets): &(u64, Vec<u8>)) -> bool {
    *at < start + size && start < at + octets.len() as u64
}

/// The part of a piece that lies in content that starts there.
fn put(content: &mut [u8], start: u64, (at, octets): &(u64, Vec<u8>)) {
    for (number, octet) in octets.iter().enumerate() {
        let place = (at + number as u64).checked_sub(start).and_then(|place| content.get_mut(place as usize));
        if let Some(place) = place {
            *place = *octet;
        }
    }
}

fn write_at(out: &File, at: u64, content: &[u8]) -> Result<()> {
    out.write_all_at(content, at)
        .with_context(|| format!("cannot write octets 0x{at:x} to 0x{:x}", at + content.len() as u64))
}

/// Reads what was written: while some ranges are read, others' digests are computed. Says which of them is the first that differs.
pub(crate) fn verify(target: &Path, map: &Bmap) -> Result<()> {
    let file = OpenOptions::new().read(true).open(target)?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(READERS).build()?;
    let ranges = map.ranges.par_iter().with_max_len(1);
    let wrong = pool.install(|| ranges.map(|range| same(&file, range, target)).find_first(Result::is_err));
    wrong.unwrap_or(Ok(()))
}

fn same(file: &File, range: &Range, target: &Path) -> Result<()> {
    let content = read(file, range.start, range.size)?;
    ensure!(
        sha256_hex(&content) == range.sha256,
        "{} differs from what was written in octets 0x{:x} to 0x{:x}\nhelp: the medium is damaged, or smaller than it says",
        target.display(),
        range.start,
        range.start + range.size
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(folder: &Path) -> (PathBuf, Bmap) {
        let path = folder.join("a.img");
        let file = File::options().create_new(true).read(true).write(true).open(&path).unwrap();
        file.set_len(64 * BLOCK).unwrap();
        for (at, text) in [(0, b"table"), (20 * BLOCK, b"parts")] {
            file.write_all_at(text, at).unwrap();
        }
        let map =
            Bmap::of(&file, 64 * BLOCK, &[(0, 5), (20 * BLOCK, 20 * BLOCK + 5), (40 * BLOCK, 41 * BLOCK)])
                .unwrap();
        fs::write(Bmap::beside(&path), map.xml()).unwrap();
        (path, map)
    }

    #[test]
    fn what_is_listed_is_written_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let (image, map) = sample(folder.path());
        let target = folder.path().join("medium");
        fs::write(&target, vec![7; 64 * BLOCK as usize]).unwrap();
        let args = |yes| Args { image: image.clone(), target: target.clone(), yes };
        assert!(run(&args(false)).unwrap_err().is::<Usage>());
        run(&args(true)).unwrap();
        let found = fs::read(&target).unwrap();
        let block = BLOCK as usize;
        assert_eq!(
            (&found[..5], found[block], &found[20 * block..20 * block + 5], found[40 * block]),
            (&b"table"[..], 7, &b"parts"[..], 0)
        );
        fs::write(&target, vec![7; 64 * block]).unwrap();
        assert!(verify(&target, &map).unwrap_err().to_string().contains("in octets 0x0 to 0x1000"));
    }

    #[test]
    fn an_interrupted_write_leaves_no_partition_table() {
        let folder = tempfile::tempdir().unwrap();
        let (image, map) = sample(folder.path());
        let source = Source::new(&image, map.clone(), map.size).unwrap();
        // The image changes while it is written: that stops it, as pulling the card would.
        let file = File::options().read(true).write(true).open(&image).unwrap();
        file.write_all_at(b"other", 20 * BLOCK).unwrap();
        let target = folder.path().join("medium");
        fs::write(&target, vec![7; 64 * BLOCK as usize]).unwrap();
        let out = File::options().write(true).open(&target).unwrap();
        let error = source.write(&out).unwrap_err().to_string();
        assert!(error.contains("differs from its map in octets 0x14000 to"), "{error}");
        assert_eq!(fs::read(&target).unwrap()[..8], [0; 8]);
    }

    #[test]
    fn a_map_of_another_image_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (image, _) = sample(folder.path());
        File::options().write(true).open(&image).unwrap().set_len(65 * BLOCK).unwrap();
        assert!(map_of(&image).unwrap_err().to_string().contains("its map says 262144"));
        fs::remove_file(Bmap::beside(&image)).unwrap();
        assert!(map_of(&image).unwrap_err().to_string().contains("help: "));
    }
}

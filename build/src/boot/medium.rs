//! A small medium for trials of U-Boot: two slots, and room for the records of the boot state in front of them.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use crate::tool::{Tool, find_program};

/// Names of the partitions.
pub(crate) const SLOTS: [&str; 2] = ["boot-a", "boot-b"];
/// Where the first slot starts on the emulated medium, and the octets of each.
pub(crate) const FIRST_SLOT: u64 = 16 << 20;
pub(crate) const SLOT_SIZE: u64 = 64 << 20;
const BLOCK: u64 = 512;

/// Where a slot starts.
pub(crate) fn slot_offset(slot: usize) -> u64 {
    FIRST_SLOT + SLOT_SIZE * slot as u64
}

/// Makes a medium with both slots; a slot without an image is empty.
pub(crate) fn make(file: &Path, images: [Option<&Path>; 2]) -> Result<()> {
    let out = File::create(file).with_context(|| format!("cannot make {}", file.display()))?;
    out.set_len(slot_offset(SLOTS.len()) + (1 << 20))?;
    drop(out);
    partition(file)?;
    for (slot, image) in images.iter().enumerate() {
        let Some(image) = image else { continue };
        let content = fs::read(image).with_context(|| format!("cannot read {}", image.display()))?;
        ensure!(
            content.len() as u64 <= SLOT_SIZE,
            "{} has {} octets, a slot has {SLOT_SIZE}",
            image.display(),
            content.len()
        );
        write_at(file, slot_offset(slot), &content)?;
    }
    Ok(())
}

/// Changes octets of a medium.
pub(crate) fn write_at(file: &Path, offset: u64, content: &[u8]) -> Result<()> {
    let mut out = OpenOptions::new().write(true).open(file)?;
    out.seek(SeekFrom::Start(offset))?;
    out.write_all(content).with_context(|| format!("cannot write {}", file.display()))
}

/// `sfdisk` takes its script from standard input only.
fn partition(file: &Path) -> Result<()> {
    let script = SLOTS.iter().enumerate().map(|(slot, name)| {
        format!("start={}, size={}, name={name}, type=linux\n", slot_offset(slot) / BLOCK, SLOT_SIZE / BLOCK)
    });
    let script = format!("label: gpt\n{}", script.collect::<String>());
    let program = find_program("sfdisk").context("sfdisk is missing\nhelp: install Debian package fdisk")?;
    let mut command = Tool::new(program).args(["--quiet", "--no-tell-kernel"]).arg(file).command();
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    child.stdin.take().context("no standard input of sfdisk")?.write_all(script.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "sfdisk: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

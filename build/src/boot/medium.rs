//! The medium that U-Boot boots from: two slots, and two records of which comes first and how often it may still be tried.
//!
//! U-Boot reads the newer record that is whole and writes the other one, so that a power cut leaves one of them. They are not
//! signed: whoever writes them chooses between signed images.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use crate::tool::{Tool, find_program};

const MAGIC: u32 = 0x5342_4254;
const FORMAT: u32 = 1;
/// Octets of a record.
pub(crate) const RECORD: usize = 512;
/// From one record to the other.
pub(crate) const STRIDE: u64 = 0x800;
const CRC: usize = RECORD - 4;
/// A slot that was found to be good is tried as often as it takes.
pub(crate) const GOOD: u8 = 0xff;
/// Names of the partitions.
pub(crate) const SLOTS: [&str; 2] = ["boot-a", "boot-b"];
/// Where the first slot starts on the emulated medium, and the octets of each.
pub(crate) const FIRST_SLOT: u64 = 16 << 20;
pub(crate) const SLOT_SIZE: u64 = 64 << 20;
const BLOCK: u64 = 512;

/// One record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct BootState {
    pub(crate) generation: u64,
    /// Slots, the first one first.
    pub(crate) order: [u8; 2],
    /// Tries left of slot a and of slot b; [`GOOD`] has no end.
    pub(crate) tries: [u8; 2],
}

impl BootState {
    pub(crate) fn encode(&self) -> [u8; RECORD] {
        let mut record = [0; RECORD];
        let head = [
            &MAGIC.to_le_bytes()[..],
            &FORMAT.to_le_bytes(),
            &self.generation.to_le_bytes(),
            &self.order,
            &self.tries,
        ];
        let head = head.concat();
        record[..head.len()].copy_from_slice(&head);
        let crc = crc32(&record[..CRC]);
        record[CRC..].copy_from_slice(&crc.to_le_bytes());
        record
    }

    /// `None` where U-Boot would not believe it.
    pub(crate) fn decode(record: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_le_bytes(record.get(at..at + 4)?.try_into().ok()?));
        let whole = word(0)? == MAGIC && word(4)? == FORMAT && word(CRC)? == crc32(record.get(..CRC)?);
        let generation = u64::from_le_bytes(record.get(8..16)?.try_into().ok()?);
        let [a, b, first, second] = record.get(16..20)?.try_into().ok()?;
        let order = [a, b];
        (whole && (order == [0, 1] || order == [1, 0])).then_some(Self {
            generation,
            order,
            tries: [first, second],
        })
    }
}

/// CRC-32 of IEEE 802.3.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, octet| {
        (0..8).fold(crc ^ u32::from(*octet), |crc, _| crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 })
    })
}

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

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: BootState = BootState { generation: 7, order: [1, 0], tries: [GOOD, 3] };

    #[test]
    fn records_are_whole_or_none() {
        let record = STATE.encode();
        assert_eq!(BootState::decode(&record), Some(STATE));
        assert_eq!(&record[..4], b"TBBS");
        for bit in 0..RECORD * 8 {
            let mut flipped = record;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(BootState::decode(&flipped), None, "bit {bit}");
        }
        assert!((0..RECORD).all(|length| BootState::decode(&record[..length]).is_none()));
    }

    #[test]
    fn an_order_has_both_slots() {
        for order in [[0, 0], [1, 1], [0, 2]] {
            assert_eq!(BootState::decode(&BootState { order, ..STATE }.encode()), None);
        }
    }
}

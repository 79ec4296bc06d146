//! The GUID partition table (UEFI specification, clause 5): its header where it always is, its entries where a plan puts them,
//! behind the boot region. Read as what it is: two copies that must agree.

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};
use trustbox_boot_image::words::crc32;

use crate::image::layout::{Placed, Plan};

/// Octets of a block.
pub(crate) const BLOCK: u64 = 512;
const ENTRIES: u64 = 128;
const ENTRY: u64 = 128;
/// Octets of all entries.
pub(crate) const ENTRIES_SIZE: u64 = ENTRIES * ENTRY;
const SIGNATURE: &[u8; 8] = b"EFI PART";
const REVISION: u32 = 0x0001_0000;
const HEADER_SIZE: usize = 92;
const NAME_UNITS: usize = 36;

/// Octets and where they are.
pub(crate) type Pieces = Vec<(u64, Vec<u8>)>;

/// Both tables of a plan; `seed` makes the GUIDs, so that the same image has the same ones.
pub(crate) fn tables(plan: &Plan, seed: &str) -> Result<Pieces> {
    let entries = entries(plan, seed)?;
    let last = plan.size / BLOCK - 1;
    let behind = last * BLOCK - ENTRIES_SIZE;
    let first = Header { this: 1, other: last, entries: plan.boot_region / BLOCK };
    let second = Header { this: last, other: 1, entries: behind / BLOCK };
    let header = |header: &Header| header.encode(plan, &guid(seed, "disk"), &entries);
    Ok(vec![
        (0, protective(plan.size)),
        (BLOCK, header(&first)),
        (plan.boot_region, entries.clone()),
        (behind, entries.clone()),
        (last * BLOCK, header(&second)),
    ])
}

struct Header {
    this: u64,
    other: u64,
    /// First block of the entries.
    entries: u64,
}

impl Header {
    fn encode(&self, plan: &Plan, disk: &[u8; 16], entries: &[u8]) -> Vec<u8> {
        let first = plan.partitions.first().map_or(plan.size, |part| part.start) / BLOCK;
        let last_usable = (plan.size - ENTRIES_SIZE) / BLOCK - 2;
        let mut header = Vec::with_capacity(BLOCK as usize);
        header.extend(SIGNATURE);
        for word in [REVISION, HEADER_SIZE as u32, 0, 0] {
            header.extend(word.to_le_bytes());
        }
        for block in [self.this, self.other, first, last_usable] {
            header.extend(block.to_le_bytes());
        }
        header.extend(disk);
        header.extend(self.entries.to_le_bytes());
        for word in [ENTRIES as u32, ENTRY as u32, crc32(entries)] {
            header.extend(word.to_le_bytes());
        }
        let crc = crc32(&header);
        header[16..20].copy_from_slice(&crc.to_le_bytes());
        header.resize(BLOCK as usize, 0);
        header
    }
}

/// For whoever knows no GPT: one partition over everything.
fn protective(size: u64) -> Vec<u8> {
    let blocks = u32::try_from(size / BLOCK - 1).unwrap_or(u32::MAX);
    let mut sector = vec![0; BLOCK as usize];
    sector[446..462].copy_from_slice(&[0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0, 0, 0, 0]);
    sector[458..462].copy_from_slice(&blocks.to_le_bytes());
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

fn entries(plan: &Plan, seed: &str) -> Result<Vec<u8>> {
    ensure!(plan.partitions.len() as u64 <= ENTRIES, "a table has at most {ENTRIES} partitions");
    let mut out = Vec::with_capacity(ENTRIES_SIZE as usize);
    for part in &plan.partitions {
        out.extend(
            parse_guid(&part.kind)
                .with_context(|| format!("partition {}: {} is no GUID", part.name, part.kind))?,
        );
        out.extend(guid(seed, &part.name));
        for block in [part.start / BLOCK, (part.start + part.size) / BLOCK - 1, 0] {
            out.extend(block.to_le_bytes());
        }
        let mut name: Vec<u16> = part.name.encode_utf16().collect();
        ensure!(
            name.len() < NAME_UNITS,
            "partition {} has a name of more than {NAME_UNITS} characters",
            part.name
        );
        name.resize(NAME_UNITS, 0);
        out.extend(name.iter().flat_map(|unit| unit.to_le_bytes()));
    }
    out.resize(ENTRIES_SIZE as usize, 0);
    Ok(out)
}

/// A GUID that depends on nothing but words (RFC 9562, version 8).
fn guid(seed: &str, name: &str) -> [u8; 16] {
    let digest = Sha256::new()
        .chain_update("trustbox guid\0")
        .chain_update(seed)
        .chain_update([0])
        .chain_update(name)
        .finalize();
    let mut guid = [0; 16];
    guid.copy_from_slice(&digest[..16]);
    guid[7] = guid[7] & 0x0f | 0x80;
    guid[8] = guid[8] & 0x3f | 0x80;
    guid
}

/// The first three fields are little endian on the medium.
fn parse_guid(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    let right =
        text.len() == 36 && digits.len() == 32 && digits.bytes().all(|octet| octet.is_ascii_hexdigit());
    let number = right.then(|| u128::from_str_radix(&digits, 16).ok())??;
    let mut guid = number.to_be_bytes();
    guid[..4].reverse();
    guid[4..6].reverse();
    guid[6..8].reverse();
    Some(guid)
}

/// A header as it was found, its own checksum right.
#[derive(Debug)]
pub(crate) struct Found {
    /// Where its entries are, in octets.
    pub(crate) entries: u64,
    /// Where the other header is, in octets.
    pub(crate) other: u64,
    entries_crc: u32,
}

impl Found {
    /// Reads the header that is said to be at this octet.
    pub(crate) fn decode(header: &[u8], at: u64) -> Result<Self> {
        let number = |offset: usize, size: usize| {
            let octets = header.get(offset..offset + size).context("the header is cut off")?;
            Ok::<_, anyhow::Error>(octets.iter().rev().fold(0u64, |sum, octet| sum << 8 | u64::from(*octet)))
        };
        ensure!(header.starts_with(SIGNATURE), "no partition table at octet 0x{at:x}");
        let mut copy = header.get(..HEADER_SIZE).context("the header is cut off")?.to_vec();
        copy[16..20].fill(0);
        ensure!(
            u64::from(crc32(&copy)) == number(16, 4)?,
            "the checksum of the partition table at octet 0x{at:x} is wrong"
        );
        ensure!(
            number(24, 8)? == at / BLOCK,
            "the partition table at octet 0x{at:x} says that it is elsewhere"
        );
        ensure!(
            (number(80, 4)?, number(84, 4)?) == (ENTRIES, ENTRY),
            "the partition table has entries of another size"
        );
        let octets =
            |blocks: u64| blocks.checked_mul(BLOCK).context("the partition table points behind everything");
        Ok(Self {
            other: octets(number(32, 8)?)?,
            entries: octets(number(72, 8)?)?,
            entries_crc: number(88, 4)? as u32,
        })
    }

    /// The partitions in these entries.
    pub(crate) fn partitions(&self, entries: &[u8]) -> Result<Vec<Placed>> {
        ensure!(
            crc32(entries) == self.entries_crc,
            "the checksum of the partition table's entries at octet 0x{:x} is wrong",
            self.entries
        );
        let used = entries.chunks_exact(ENTRY as usize).filter(|entry| entry.iter().any(|octet| *octet != 0));
        used.map(decode_entry).collect()
    }
}

fn decode_entry(entry: &[u8]) -> Result<Placed> {
    let block =
        |at: usize| entry[at..at + 8].iter().rev().fold(0u64, |sum, octet| sum << 8 | u64::from(*octet));
    let (first, last) = (block(32), block(40));
    let units: Vec<u16> = entry[56..]
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        .take_while(|unit| *unit != 0)
        .collect();
    let size = last
        .checked_sub(first)
        .and_then(|blocks| (blocks + 1).checked_mul(BLOCK))
        .context("a partition ends before it starts")?;
    let start = first.checked_mul(BLOCK).context("a partition starts behind everything")?;
    Ok(Placed { name: String::from_utf16_lossy(&units), kind: String::new(), fills: None, start, size })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::layout::tests::plan;
    use crate::tool::{Tool, find_program};

    #[test]
    fn what_is_written_is_read() {
        let plan = plan();
        let pieces = tables(&plan, "board").unwrap();
        let at = |octet: u64| pieces.iter().find(|piece| piece.0 == octet).unwrap().1.clone();
        let first = Found::decode(&at(BLOCK), BLOCK).unwrap();
        assert_eq!(first.entries, plan.boot_region);
        let places: Vec<_> = first
            .partitions(&at(first.entries))
            .unwrap()
            .iter()
            .map(|part| (part.name.clone(), part.start, part.size))
            .collect();
        let wanted: Vec<_> =
            plan.partitions.iter().map(|part| (part.name.clone(), part.start, part.size)).collect();
        assert_eq!(places, wanted);
        let second = Found::decode(&at(first.other), first.other).unwrap();
        assert_eq!(second.other, BLOCK);
        assert!(second.partitions(&at(second.entries)).is_ok());
        for bit in 0..HEADER_SIZE * 8 {
            let mut flipped = at(BLOCK);
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Found::decode(&flipped, BLOCK).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn the_same_words_give_the_same_table_and_others_another() {
        assert_eq!(tables(&plan(), "a").unwrap(), tables(&plan(), "a").unwrap());
        assert_ne!(tables(&plan(), "a").unwrap(), tables(&plan(), "b").unwrap());
        assert_eq!(
            parse_guid("0fc63daf-8483-4772-8e79-3d69d8477de4").unwrap()[..4],
            [0xaf, 0x3d, 0xc6, 0x0f]
        );
        assert!(parse_guid("0fc63daf").is_none());
    }

    #[test]
    fn sfdisk_takes_it() {
        let Some(sfdisk) = find_program("sfdisk") else { return };
        let (plan, file) = (plan(), tempfile::NamedTempFile::new().unwrap());
        file.as_file().set_len(plan.size).unwrap();
        for (at, octets) in tables(&plan, "board").unwrap() {
            crate::boot::medium::write_at(file.path(), at, &octets).unwrap();
        }
        let said = Tool::new(sfdisk).arg("--verify").arg(file.path()).output().unwrap();
        assert!(said.contains("No errors detected"), "{said}");
    }
}

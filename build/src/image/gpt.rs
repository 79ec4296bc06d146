//! The GUID partition table (UEFI specification, clause 5): its header where it always is, its entries where a plan puts them,
//! behind the boot region. Read as what it is: two copies that must agree.

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};
use trustbox_boot_image::words::crc32;

use crate::image::layout::{Placed, Plan, last_partition_end};

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
/// Where an entry says which block is its last.
const LAST_BLOCK: std::ops::Range<usize> = 40..48;

/// Octets and where they are.
pub(crate) type Pieces = Vec<(u64, Vec<u8>)>;

/// Both tables of a plan; `seed` makes the GUIDs, so that the same image has the same ones.
pub(crate) fn tables(plan: &Plan, seed: &str) -> Result<Pieces> {
    let entries = entries(plan, seed)?;
    let (last, behind) = second_table(plan.size);
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

/// Both tables of a medium that has another size than the image: its last partition takes what is left. A larger one has the first
/// table of the image where it was, so this with the image's size gives the image's tables.
pub(crate) fn resized(first: &[u8], entries: &[u8], size: u64) -> Result<Pieces> {
    let found = Found::decode(first, BLOCK)?;
    let last_partition = found.partitions(entries)?.len().checked_sub(1).context("no partition")?;
    let end = last_partition_end(size).context("no room for a partition table")?;
    let mut entries = entries.to_vec();
    let entry = entries.chunks_exact_mut(ENTRY as usize).nth(last_partition).context("no such entry")?;
    let start = decode_entry(entry)?.start;
    ensure!(
        start < end,
        "the last partition starts at octet 0x{start:x}, behind the end of a medium of {size} octets"
    );
    entry[LAST_BLOCK].copy_from_slice(&(end / BLOCK - 1).to_le_bytes());
    let (last, behind) = second_table(size);
    let header = |header: Header| header.write(first[..HEADER_SIZE].to_vec(), size, &entries);
    Ok(vec![
        (0, protective(size)),
        (BLOCK, header(Header { this: 1, other: last, entries: found.entries / BLOCK })),
        (found.entries, entries.clone()),
        (behind, entries.clone()),
        (last * BLOCK, header(Header { this: last, other: 1, entries: behind / BLOCK })),
    ])
}

/// The block of the second table's header, and where its entries are.
fn second_table(size: u64) -> (u64, u64) {
    let last = size / BLOCK - 1;
    (last, last * BLOCK - ENTRIES_SIZE)
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
        let mut header = vec![0; HEADER_SIZE];
        header[..8].copy_from_slice(SIGNATURE);
        header[8..12].copy_from_slice(&REVISION.to_le_bytes());
        header[12..16].copy_from_slice(&(HEADER_SIZE as u32).to_le_bytes());
        header[40..48].copy_from_slice(&first.to_le_bytes());
        header[56..72].copy_from_slice(disk);
        header[80..84].copy_from_slice(&(ENTRIES as u32).to_le_bytes());
        header[84..88].copy_from_slice(&(ENTRY as u32).to_le_bytes());
        self.write(header, plan.size, entries)
    }

    /// What follows from the medium's size and the entries, written into a header.
    fn write(&self, mut header: Vec<u8>, size: u64, entries: &[u8]) -> Vec<u8> {
        let last_usable = (size - ENTRIES_SIZE) / BLOCK - 2;
        for (at, block) in [(24, self.this), (32, self.other), (48, last_usable), (72, self.entries)] {
            header[at..at + 8].copy_from_slice(&block.to_le_bytes());
        }
        header[88..92].copy_from_slice(&crc32(entries).to_le_bytes());
        header[16..20].fill(0);
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
    fn a_table_for_another_size_gives_the_first_one_back() {
        let plan = plan();
        let made = tables(&plan, "board").unwrap();
        let resize = |pieces: &Pieces, size| resized(&pieces[1].1, &pieces[2].1, size);
        for size in [plan.size, plan.size + 512, 2 << 30, (64 << 30) - 512] {
            let larger = resize(&made, size).unwrap();
            assert_eq!(resize(&larger, plan.size).unwrap(), made);
            let first = Found::decode(&larger[1].1, BLOCK).unwrap();
            assert_eq!(first.other, size / BLOCK * BLOCK - BLOCK);
            let parts = first.partitions(&larger[2].1).unwrap();
            let data = parts.last().unwrap();
            assert_eq!(data.start, plan.partitions.last().unwrap().start);
            let left = larger[3].0 - (data.start + data.size);
            assert!(left < 2 << 20, "{size}: {left} octets are nobody's");
        }
        assert!(
            resize(&made, plan.partitions.last().unwrap().start)
                .unwrap_err()
                .to_string()
                .contains("behind the end")
        );
        assert!(resize(&made, 0).is_err());
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
        let plan = plan();
        let made = tables(&plan, "board").unwrap();
        let larger = plan.size + (3 << 20) + 512;
        for (size, pieces) in [(larger, resized(&made[1].1, &made[2].1, larger).unwrap()), (plan.size, made)]
        {
            let file = tempfile::NamedTempFile::new().unwrap();
            file.as_file().set_len(size).unwrap();
            for (at, octets) in pieces {
                crate::boot::medium::write_at(file.path(), at, &octets).unwrap();
            }
            let said = Tool::new(&sfdisk).arg("--verify").arg(file.path()).output().unwrap();
            assert!(said.contains("No errors detected"), "{said}");
        }
    }
}

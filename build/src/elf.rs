//! Just enough ELF: finds a section of a 64-bit little-endian file. Lengths are checked, nothing is believed.

use std::ops::Range;

use anyhow::{Context, Result, ensure};

/// Type of a segment that is loaded.
const LOADED: usize = 1;
/// Flag of a segment that may be written to.
const WRITABLE: usize = 2;
/// Type of a section of relocations with addends; an entry is as long as a symbol's.
const RELOCATIONS: usize = 4;
/// Octets of an entry of the dynamic section, and the kind that names a library.
const DYNAMIC: usize = 16;
const NEEDED: usize = 1;
/// Octets of a symbol table entry.
const SYMBOL: usize = 24;

/// The bytes of a section, by name.
pub(crate) fn section<'a>(elf: &'a [u8], name: &str) -> Result<&'a [u8]> {
    ensure!(elf.starts_with(b"\x7fELF\x02\x01"), "not a 64-bit little-endian ELF file");
    let table = Table::read(elf)?;
    let names = table.content(table.names)?;
    for index in 0..table.count {
        let header = table.header(index)?;
        if text_at(names, number(header, 0, 4)?) == Some(name.as_bytes()) {
            return table.content(index);
        }
    }
    anyhow::bail!("ELF file has no section {name}")
}

/// Names of the libraries that a program or library asks for.
pub(crate) fn needed(elf: &[u8]) -> Result<Vec<String>> {
    let Ok(entries) = section(elf, ".dynamic") else { return Ok(Vec::new()) };
    let names = section(elf, ".dynstr")?;
    let mut found = Vec::new();
    for entry in entries.chunks_exact(DYNAMIC) {
        if number(entry, 0, 8)? == NEEDED {
            let name = text_at(names, number(entry, 8, 8)?).context("a library has no name")?;
            found.push(String::from_utf8_lossy(name).into_owned());
        }
    }
    Ok(found)
}

/// A part of a program that is loaded.
pub(crate) struct Segment<'a> {
    pub(crate) address: u64,
    /// What comes from the file; the rest of its memory is zero.
    pub(crate) content: &'a [u8],
    /// Octets in memory.
    pub(crate) size: u64,
    pub(crate) writable: bool,
}

/// What is in memory while the program runs.
pub(crate) fn segments(elf: &[u8]) -> Result<Vec<Segment<'_>>> {
    ensure!(elf.starts_with(b"\x7fELF\x02\x01"), "not a 64-bit little-endian ELF file");
    let (offset, entry, count) = (number(elf, 0x20, 8)?, number(elf, 0x36, 2)?, number(elf, 0x38, 2)?);
    let mut found = Vec::new();
    for index in 0..count {
        let at = index.checked_mul(entry).and_then(|at| at.checked_add(offset));
        let header = slice(elf, at.context("ELF program table overflows")?, entry)?;
        if number(header, 0, 4)? == LOADED {
            found.push(Segment {
                address: number(header, 0x10, 8)? as u64,
                content: slice(elf, number(header, 0x08, 8)?, number(header, 0x20, 8)?)?,
                size: number(header, 0x28, 8)? as u64,
                writable: number(header, 0x04, 4)? & WRITABLE != 0,
            });
        }
    }
    Ok(found)
}

/// First address and the first behind the last of what is in memory while the program runs.
pub(crate) fn memory(elf: &[u8]) -> Result<Range<u64>> {
    let mut found: Option<Range<u64>> = None;
    for Segment { address, size, .. } in segments(elf)? {
        let end = address.checked_add(size).context("ELF segment overflows")?;
        found = Some(found.map_or(address..end, |all| all.start.min(address)..all.end.max(end)));
    }
    found.context("ELF file has nothing to load")
}

/// Addresses that are changed when the program is loaded elsewhere than it was linked for.
pub(crate) fn relocated(elf: &[u8]) -> Result<impl Iterator<Item = u64>> {
    let mut found = Vec::new();
    for index in 0..Table::read(elf)?.count {
        let table = Table::read(elf)?;
        if number(table.header(index)?, 4, 4)? != RELOCATIONS {
            continue;
        }
        for entry in table.content(index)?.chunks_exact(SYMBOL) {
            found.push(number(entry, 0, 8)? as u64);
        }
    }
    Ok(found.into_iter())
}

/// Address and content of a symbol's object.
pub(crate) fn symbol<'a>(elf: &'a [u8], name: &str) -> Result<(u64, &'a [u8])> {
    let (table, names) = (section(elf, ".symtab")?, section(elf, ".strtab")?);
    for entry in table.chunks_exact(SYMBOL) {
        if text_at(names, number(entry, 0, 4)?) == Some(name.as_bytes()) {
            let (address, size) = (number(entry, 8, 8)?, number(entry, 16, 8)?);
            let headers = Table::read(elf)?;
            let home = headers.header(number(entry, 6, 2)?)?;
            let offset = address
                .checked_sub(number(home, 0x10, 8)?)
                .and_then(|at| at.checked_add(number(home, 0x18, 8).ok()?));
            return Ok((address as u64, slice(elf, offset.context("ELF symbol is in no section")?, size)?));
        }
    }
    anyhow::bail!("ELF file has no symbol {name}")
}

/// The section header table.
struct Table<'a> {
    elf: &'a [u8],
    offset: usize,
    entry: usize,
    count: usize,
    names: usize,
}

impl<'a> Table<'a> {
    fn read(elf: &'a [u8]) -> Result<Self> {
        Ok(Self {
            elf,
            offset: number(elf, 0x28, 8)?,
            entry: number(elf, 0x3a, 2)?,
            count: number(elf, 0x3c, 2)?,
            names: number(elf, 0x3e, 2)?,
        })
    }

    fn header(&self, index: usize) -> Result<&'a [u8]> {
        let start = index.checked_mul(self.entry).and_then(|at| at.checked_add(self.offset));
        slice(self.elf, start.context("ELF section table overflows")?, self.entry)
    }

    fn content(&self, index: usize) -> Result<&'a [u8]> {
        let header = self.header(index)?;
        slice(self.elf, number(header, 0x18, 8)?, number(header, 0x20, 8)?)
    }
}

fn text_at(names: &[u8], at: usize) -> Option<&[u8]> {
    names.get(at..)?.split(|byte| *byte == 0).next()
}

fn number(bytes: &[u8], at: usize, length: usize) -> Result<usize> {
    let field = slice(bytes, at, length)?;
    let value = field.iter().rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    Ok(usize::try_from(value)?)
}

fn slice(bytes: &[u8], at: usize, length: usize) -> Result<&[u8]> {
    at.checked_add(length)
        .and_then(|end| bytes.get(at..end))
        .with_context(|| format!("ELF file ends before {length} octets at {at}"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An ELF file with one named section.
    pub(crate) fn sample(name: &str, content: &[u8]) -> Vec<u8> {
        let names = format!("\0{name}\0");
        let mut elf = vec![0_u8; 64];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        let headers = 64 + content.len() + names.len();
        elf[0x28..0x30].copy_from_slice(&(headers as u64).to_le_bytes());
        elf[0x3a..0x40].copy_from_slice(&[64, 0, 2, 0, 1, 0]);
        elf.extend_from_slice(content);
        elf.extend_from_slice(names.as_bytes());
        for (name, at, length) in [(1_u32, 64, content.len()), (0, 64 + content.len(), names.len())] {
            let mut header = [0_u8; 64];
            header[..4].copy_from_slice(&name.to_le_bytes());
            header[0x18..0x20].copy_from_slice(&(at as u64).to_le_bytes());
            header[0x20..0x28].copy_from_slice(&(length as u64).to_le_bytes());
            elf.extend_from_slice(&header);
        }
        elf
    }

    #[test]
    fn section_is_found_by_name() {
        let elf = sample(".ta_head", b"content");
        assert_eq!(section(&elf, ".ta_head").unwrap(), b"content");
        assert!(section(&elf, ".text").is_err());
    }

    /// A program of these segments: address, content, whether it may be written to.
    pub(crate) fn with_segments(segments: &[(u64, &[u8], bool)]) -> Vec<u8> {
        add_segments(sample(".text", b""), segments)
    }

    /// The same with a relocation at an address.
    pub(crate) fn relocating(segments: &[(u64, &[u8], bool)], address: u64) -> Vec<u8> {
        let mut elf = sample(".rela", &[&address.to_le_bytes()[..], &[0; 16]].concat());
        let headers = number(&elf, 0x28, 8).unwrap();
        elf[headers + 4] = RELOCATIONS as u8;
        add_segments(elf, segments)
    }

    fn add_segments(mut elf: Vec<u8>, segments: &[(u64, &[u8], bool)]) -> Vec<u8> {
        let mut headers = Vec::new();
        for (address, content, writable) in segments {
            let size = (content.len() as u64).to_le_bytes();
            headers.extend([1, 0, 0, 0, 4 | u8::from(*writable) << 1, 0, 0, 0]);
            headers.extend([&(elf.len() as u64).to_le_bytes()[..], &address.to_le_bytes(), &[0; 8]].concat());
            headers.extend([&size[..], &size, &[0; 8]].concat());
            elf.extend(*content);
        }
        let table = elf.len() as u64;
        elf[0x20..0x28].copy_from_slice(&table.to_le_bytes());
        elf[0x36..0x3a].copy_from_slice(&[56, 0, segments.len() as u8, 0]);
        elf.extend(headers);
        elf
    }

    /// A program that is in memory from 0x1000 to 0x3000, in two segments.
    fn program() -> Vec<u8> {
        let mut elf = sample(".text", b"");
        let table = elf.len() as u64;
        elf[0x20..0x28].copy_from_slice(&table.to_le_bytes());
        elf[0x36..0x3a].copy_from_slice(&[56, 0, 2, 0]);
        for (start, size) in [(0x2000_u64, 0x1000_u64), (0x1000, 0x800)] {
            let mut header = [0_u8; 56];
            header[0] = 1;
            header[0x10..0x18].copy_from_slice(&start.to_le_bytes());
            header[0x28..0x30].copy_from_slice(&size.to_le_bytes());
            elf.extend(header);
        }
        elf
    }

    #[test]
    fn memory_is_from_the_first_segment_to_the_last() {
        let elf = program();
        assert_eq!(memory(&elf).unwrap(), 0x1000..0x3000);
        assert!(memory(&sample(".text", b"")).is_err());
        assert!(memory(&elf[..elf.len() - 1]).is_err());
        assert!(symbol(&elf, "main").is_err());
    }

    #[test]
    fn every_truncation_is_an_error() {
        let elf = sample(".ta_head", b"content");
        for length in 0..elf.len() {
            assert!(section(&elf[..length], ".ta_head").is_err(), "{length}");
        }
    }
}

//! Explains a PBL or a FIP line by line, every field and command by name, for people.

use crate::Error;
use crate::fields::meaning;
use crate::fip::Fip;
use crate::pbi::{Command, Stop};
use crate::pbl::{BOOT_POINTER, PBI_OFFSET, Pbl};
use crate::rcw::Rcw;
use crate::security_header::SecurityHeader;

/// What a file of boot firmware is, by its first word.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FileKind {
    /// RCW and PBI commands, with or without BL2.
    Pbl,
    /// Firmware image package.
    Fip,
}

impl FileKind {
    /// Recognizes a file by its first octets.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        match bytes.first_chunk()? {
            b"\x55\xaa\x55\xaa" => Some(Self::Pbl),
            b"\x01\x00\x64\xaa" => Some(Self::Fip),
            _ => None,
        }
    }
}

/// The lines of a PBL and of what it loads.
pub fn pbl(bytes: &[u8]) -> Result<Vec<String>, Error> {
    let (pbl, used) = Pbl::decode(bytes)?;
    let mut lines = vec![format!("PBL, {used} octets of {}", bytes.len())];
    lines.extend(rcw(&pbl.rcw));
    let sum = if pbl.checked { "with a checksum, which is right" } else { "without a checksum" };
    lines.push(format!("  loaded {sum}"));
    lines.push(format!("PBI commands, from octet {PBI_OFFSET}"));
    lines.extend(pbl.commands.iter().map(|command| format!("  {}", command_line(command))));
    let stop = match pbl.stop {
        Stop::Plain => "stop",
        Stop::Crc => "stop, with a CRC-32 over the commands, which is right",
    };
    lines.push(format!("  {stop}"));
    Ok(lines)
}

fn rcw(rcw: &Rcw) -> Vec<String> {
    let mut lines = vec!["reset configuration word, fields that are not zero".to_owned()];
    for (name, value) in rcw.fields() {
        let said = meaning(name, value).map(|text| format!("  {text}")).unwrap_or_default();
        lines.push(format!("  {name:<24}{value:>10} 0x{value:x}{said}"));
    }
    for (name, text) in [("SB_EN", meaning("SB_EN", 0)), ("SDBGEN", meaning("SDBGEN", 0))] {
        if rcw.get(name) == Ok(0) {
            lines.push(format!("  {name:<24}{:>10} 0x0  {}", 0, text.unwrap_or_default()));
        }
    }
    let unnamed: Vec<_> = rcw.unnamed().map(|bit| bit.to_string()).collect();
    if !unnamed.is_empty() {
        lines.push(format!("  reserved bits that are set: {}", unnamed.join(", ")));
    }
    lines
}

/// One command as a line.
pub fn command_line(command: &Command) -> String {
    match command {
        Command::Write { address: BOOT_POINTER, octet: false, value } => {
            format!("write   0x{BOOT_POINTER:08x} = 0x{value:08x}  first instruction (BOOTLOCPTR)")
        }
        Command::Write { address, octet: false, value } => format!("write   0x{address:08x} = 0x{value:08x}"),
        Command::Write { address, octet: true, value } => {
            format!("write   0x{address:08x} = 0x{value:08x}  one octet")
        }
        Command::BlockCopy { source, from, to, size } => {
            format!("copy    {} 0x{from:08x} to 0x{to:08x}, {size} octets", source.name())
        }
        Command::LoadSecurityHeader(header) => {
            format!("load security header: {}", header_line(header.as_slice()))
        }
        Command::LoadBootHeader(address) => format!("load    header of BL2 at 0x{address:08x}"),
        Command::LoadWindow(window) => format!("window  0x{window:04x}"),
        Command::LoadCondition(mask, condition) => format!("condition 0x{mask:08x} 0x{condition:08x}"),
        Command::Poll { long, address, mask, value } => {
            let how = if *long { "poll long" } else { "poll" };
            format!("{how} 0x{address:08x} & 0x{mask:08x} == 0x{value:08x}")
        }
        Command::Wait(cycles) => format!("wait    {cycles} cycles"),
    }
}

fn header_line(bytes: &[u8]) -> String {
    match SecurityHeader::decode(bytes) {
        Ok(header) => format!(
            "{} keys at +0x{:x}, key {} signs, signature of {} octets at +0x{:x}, {} parts, entry 0x{:x}",
            header.keys,
            header.key_table,
            header.key,
            header.signature_size,
            header.signature,
            header.entries,
            header.entry_point
        ),
        Err(error) => error.to_string(),
    }
}

/// The lines of a FIP.
pub fn fip(bytes: &[u8]) -> Result<Vec<String>, Error> {
    let fip = Fip::decode(bytes)?;
    let mut lines = vec![format!("FIP, {} images, flags 0x{:x}", fip.images.len(), fip.flags)];
    for image in &fip.images {
        lines.push(format!("  {:<36}{:>10} octets", image.kind.name(), image.content.len()));
    }
    Ok(lines)
}

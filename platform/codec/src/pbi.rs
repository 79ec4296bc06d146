//! Pre-boot initialization (PBI): what the boot ROM does between the RCW and the first instruction of BL2.

use crate::Error;
use crate::security_header;
use crate::words;

const BLOCK_COPY: u32 = 0x8000_0000;
const LOAD_SECURITY_HEADER: u32 = 0x8020_0000;
const LOAD_BOOT_HEADER: u32 = 0x8022_0000;
const LOAD_WINDOW: u32 = 0x8012_0000;
const LOAD_CONDITION: u32 = 0x8014_0000;
const POLL_SHORT: u32 = 0x8080_0000;
const POLL_LONG: u32 = 0x8081_0000;
const WAIT: u32 = 0x8082_0000;
const CRC_STOP: u32 = 0x808f_0000;
const STOP: u32 = 0x80ff_0000;
/// The part of a command word that is the address of a write.
const ADDRESS: u32 = 0x0fff_ffff;
const WHAT: &str = "PBI command";

/// One command.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Command {
    /// Writes one or four octets of a register of the configuration space.
    Write {
        /// Offset in the configuration space, 28 bits.
        address: u32,
        /// Whether only the lowest octet is written.
        octet: bool,
        /// What is written.
        value: u32,
    },
    /// Copies from the boot medium to memory.
    BlockCopy {
        /// The medium.
        source: Source,
        /// Where on it, in octets; for NOR, its address in memory.
        from: u32,
        /// Address in memory.
        to: u32,
        /// Octets.
        size: u32,
    },
    /// The header that signs these commands.
    LoadSecurityHeader(Box<[u8; security_header::SIZE]>),
    /// Where the header of BL2 is in memory.
    LoadBootHeader(u32),
    /// Selects the window of alternate configuration space.
    LoadWindow(u16),
    /// Carries on only if a register has a value: mask and condition.
    LoadCondition(u32, u32),
    /// Waits until a register has a value.
    Poll {
        /// Whether it waits long.
        long: bool,
        /// The register.
        address: u32,
        /// The bits that are compared.
        mask: u32,
        /// What they must be.
        value: u32,
    },
    /// Waits a number of cycles.
    Wait(u16),
}

/// The medium of a block copy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Source {
    /// SD card, on eSDHC1.
    Sd,
    /// eMMC, on eSDHC2.
    Emmc,
    /// FlexSPI NAND with pages of 2 KiB.
    Nand2k,
    /// FlexSPI NAND with pages of 4 KiB.
    Nand4k,
    /// FlexSPI NOR, in memory from 0x20000000.
    Nor,
}

impl Source {
    const ALL: [(Self, u32, &'static str); 5] = [
        (Self::Sd, 0x08, "SD"),
        (Self::Emmc, 0x09, "eMMC"),
        (Self::Nand2k, 0x0c, "FlexSPI NAND 2K"),
        (Self::Nand4k, 0x0d, "FlexSPI NAND 4K"),
        (Self::Nor, 0x0f, "FlexSPI NOR"),
    ];

    /// Its name in the reference manual.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|entry| entry.0 == self).map_or("", |entry| entry.2)
    }

    fn code(self) -> u32 {
        Self::ALL.iter().find(|entry| entry.0 == self).map_or(0, |entry| entry.1)
    }

    fn of_code(code: u32) -> Option<Self> {
        Self::ALL.iter().find(|entry| entry.1 == code).map(|entry| entry.0)
    }
}

/// How a list of commands ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stop {
    /// As it is.
    Plain,
    /// With a CRC-32 over all commands.
    Crc,
}

impl Command {
    /// Appends the command's words; an error if a number does not fit its place.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), Error> {
        match self {
            Self::Write { address, octet, value } => {
                if *address > ADDRESS {
                    let (found, most) = (u64::from(*address), u64::from(ADDRESS));
                    return Err(Error::TooLarge("address of a PBI write", found, most));
                }
                let size = if *octet { 0x1000_0000 } else { 0x3000_0000 };
                words::push(out, &[size | address, *value]);
            }
            Self::BlockCopy { source, from, to, size } => {
                if size % 4 != 0 {
                    return Err(Error::Alignment("size of a block copy", u64::from(*size), 4));
                }
                words::push(out, &[BLOCK_COPY | source.code(), *from, *to, *size]);
            }
            Self::LoadSecurityHeader(header) => {
                words::push(out, &[LOAD_SECURITY_HEADER]);
                out.extend(header.as_slice());
            }
            Self::LoadBootHeader(address) => words::push(out, &[LOAD_BOOT_HEADER, *address]),
            Self::LoadWindow(window) => words::push(out, &[LOAD_WINDOW | u32::from(*window)]),
            Self::LoadCondition(mask, condition) => words::push(out, &[LOAD_CONDITION, *mask, *condition]),
            Self::Poll { long, address, mask, value } => {
                let word = if *long { POLL_LONG } else { POLL_SHORT };
                words::push(out, &[word, *address, *mask, *value]);
            }
            Self::Wait(cycles) => words::push(out, &[WAIT | u32::from(*cycles)]),
        }
        Ok(())
    }
}

/// Encodes commands and the stop after them.
pub fn encode(commands: &[Command], stop: Stop) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    commands.iter().try_for_each(|command| command.encode(&mut out))?;
    match stop {
        Stop::Plain => words::push(&mut out, &[STOP, 0]),
        Stop::Crc => {
            words::push(&mut out, &[CRC_STOP]);
            let crc = words::crc32(&out);
            words::push(&mut out, &[crc]);
        }
    }
    Ok(out)
}

/// What [`decode`] found: the commands, how they end, and where.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Decoded {
    /// The commands.
    pub commands: Vec<Command>,
    /// How they end.
    pub stop: Stop,
    /// Octets, the stop included.
    pub length: usize,
}

/// Decodes commands up to and with the stop.
pub fn decode(bytes: &[u8]) -> Result<Decoded, Error> {
    let mut commands = Vec::new();
    let mut at = 0;
    loop {
        let word = words::word(bytes, at, WHAT)?;
        match word {
            STOP | CRC_STOP => return finish(bytes, at, word, commands),
            _ => {
                let (command, length) = one(bytes, at, word)?;
                commands.push(command);
                at += length;
            }
        }
    }
}

fn finish(bytes: &[u8], at: usize, word: u32, commands: Vec<Command>) -> Result<Decoded, Error> {
    let found = words::word(bytes, at + 4, WHAT)?;
    let covered = bytes.get(..at + 4).unwrap_or_default();
    let (stop, expected) = if word == STOP { (Stop::Plain, 0) } else { (Stop::Crc, words::crc32(covered)) };
    if found != expected {
        return Err(Error::Checksum("the word after the stop", expected, found));
    }
    Ok(Decoded { commands, stop, length: at + 8 })
}

/// One command and its octets. A bit that the command does not have makes it none.
fn one(bytes: &[u8], at: usize, word: u32) -> Result<(Command, usize), Error> {
    let argument = |number: usize| words::word(bytes, at + 4 * number, WHAT);
    let unknown = Error::Command(word, at);
    Ok(match (word >> 28, word & 0xffff_0000) {
        (1 | 3, _) => {
            let (address, octet) = (word & ADDRESS, word >> 28 == 1);
            (Command::Write { address, octet, value: argument(1)? }, 8)
        }
        (_, BLOCK_COPY) => {
            let source = Source::of_code(word & 0xffff).ok_or(unknown)?;
            let (from, to, size) = (argument(1)?, argument(2)?, argument(3)?);
            if size % 4 != 0 {
                return Err(Error::Alignment("size of a block copy", u64::from(size), 4));
            }
            (Command::BlockCopy { source, from, to, size }, 16)
        }
        (_, LOAD_WINDOW) => (Command::LoadWindow((word & 0xffff) as u16), 4),
        (_, WAIT) => (Command::Wait((word & 0xffff) as u16), 4),
        _ => return exact(bytes, at, word, unknown),
    })
}

/// Commands whose first word is always the same.
fn exact(bytes: &[u8], at: usize, word: u32, unknown: Error) -> Result<(Command, usize), Error> {
    let argument = |number: usize| words::word(bytes, at + 4 * number, WHAT);
    Ok(match word {
        LOAD_SECURITY_HEADER => {
            let header = words::array(bytes, at + 4, "security header of the PBI commands")?;
            (Command::LoadSecurityHeader(Box::new(header)), 4 + security_header::SIZE)
        }
        LOAD_BOOT_HEADER => (Command::LoadBootHeader(argument(1)?), 8),
        LOAD_CONDITION => (Command::LoadCondition(argument(1)?, argument(2)?), 12),
        POLL_SHORT | POLL_LONG => {
            let (address, mask, value) = (argument(1)?, argument(2)?, argument(3)?);
            (Command::Poll { long: word == POLL_LONG, address, mask, value }, 16)
        }
        _ => return Err(unknown),
    })
}

//! A pre-boot loader image: preamble, RCW, PBI commands; and the boot image around it, with BL2 where the commands look for it.

use crate::Error;
use crate::pbi::{self, Command, Source, Stop};
use crate::rcw::{PBI_LENGTH, Rcw, SIZE as RCW_SIZE};
use crate::words;

const PREAMBLE: u32 = 0xaa55_aa55;
const LOAD_CHECKED: u32 = 0x8010_0000;
const LOAD_UNCHECKED: u32 = 0x8011_0000;
/// Where the RCW starts.
const RCW_OFFSET: usize = 8;
/// Where the sum of all words before it is.
const SUM_OFFSET: usize = RCW_OFFSET + RCW_SIZE;
/// Where the PBI commands start.
pub const PBI_OFFSET: usize = SUM_OFFSET + 4;
/// The register with the address of the first instruction: BOOTLOCPTR.
pub const BOOT_POINTER: u32 = 0x01e0_0400;

/// RCW and PBI commands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pbl {
    /// The reset configuration word. Its `PBI_LENGTH` is set when this is encoded.
    pub rcw: Rcw,
    /// Whether a sum protects preamble and RCW.
    pub checked: bool,
    /// The commands.
    pub commands: Vec<Command>,
    /// How they end.
    pub stop: Stop,
}

impl Pbl {
    /// The bytes the boot ROM reads.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        let commands = pbi::encode(&self.commands, self.stop)?;
        let mut rcw = self.rcw.clone();
        rcw.set(PBI_LENGTH, commands.len() as u64 / 4)?;
        let mut out = Vec::new();
        words::push(&mut out, &[PREAMBLE, if self.checked { LOAD_CHECKED } else { LOAD_UNCHECKED }]);
        out.extend(rcw.as_bytes());
        let sum = if self.checked { words::sum(&out) } else { 0 };
        words::push(&mut out, &[sum]);
        out.extend(commands);
        Ok(out)
    }

    /// Decodes what stands at the start of `bytes`, and says how many octets it has. What encodes again is the same bytes.
    pub fn decode(bytes: &[u8]) -> Result<(Self, usize), Error> {
        let preamble = words::word(bytes, 0, "PBL")?;
        if preamble != PREAMBLE {
            return Err(Error::Magic("preamble of the PBL", PREAMBLE, preamble));
        }
        let checked = match words::word(bytes, 4, "PBL")? {
            LOAD_CHECKED => true,
            LOAD_UNCHECKED => false,
            other => return Err(Error::Magic("command that loads the RCW", LOAD_CHECKED, other)),
        };
        let rcw = Rcw::from_bytes(words::array(bytes, RCW_OFFSET, "RCW")?);
        check_sum(bytes, checked)?;
        let rest = bytes.get(PBI_OFFSET..).unwrap_or_default();
        let found = pbi::decode(rest)?;
        check_length(&rcw, found.length)?;
        let pbl = Self { rcw, checked, commands: found.commands, stop: found.stop };
        Ok((pbl, PBI_OFFSET + found.length))
    }
}

fn check_sum(bytes: &[u8], checked: bool) -> Result<(), Error> {
    let found = words::word(bytes, SUM_OFFSET, "PBL")?;
    let expected = if checked { words::sum(bytes.get(..SUM_OFFSET).unwrap_or_default()) } else { 0 };
    if found == expected { Ok(()) } else { Err(Error::Checksum("checksum of the RCW", expected, found)) }
}

fn check_length(rcw: &Rcw, octets: usize) -> Result<(), Error> {
    let (words, told) = (octets / 4, rcw.get(PBI_LENGTH)? as usize);
    if words == told { Ok(()) } else { Err(Error::Length("PBI_LENGTH of the RCW", words, told)) }
}

/// Where things are in a boot image and in memory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Placement {
    /// The medium.
    pub source: Source,
    /// What the medium adds to an offset in the image: where the image is on it, or where it is in memory.
    pub base: u32,
    /// BL2 in the image.
    pub offset: u32,
    /// BL2 in memory, and its entry.
    pub address: u32,
    /// Octets that BL2 may have there.
    pub room: u32,
}

/// A boot image: commands that load BL2 after those of the board, then BL2. Its size is rounded up to whole words.
pub fn boot_image(board: &Pbl, bl2: &[u8], place: &Placement) -> Result<Vec<u8>, Error> {
    let mut bl2 = bl2.to_vec();
    bl2.resize(bl2.len().next_multiple_of(4), 0);
    let size = u32::try_from(bl2.len()).ok().filter(|size| *size <= place.room);
    let size = size.ok_or(Error::TooLarge("BL2", bl2.len() as u64, u64::from(place.room)))?;
    let mut pbl = board.clone();
    pbl.commands.push(Command::Write { address: BOOT_POINTER, octet: false, value: place.address });
    let from = place.base.saturating_add(place.offset);
    pbl.commands.push(Command::BlockCopy { source: place.source, from, to: place.address, size });
    let mut image = pbl.encode()?;
    if image.len() > place.offset as usize {
        return Err(Error::Overlap("PBL and BL2", image.len() as u64, u64::from(place.offset)));
    }
    image.resize(place.offset as usize, 0);
    image.extend(bl2);
    Ok(image)
}

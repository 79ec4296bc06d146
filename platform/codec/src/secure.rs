//! Boot images for chips with secure boot: NXP's headers before the PBI commands and before BL2, each with up to four super
//! root keys (SRK) of which one signs.
//!
//! Nothing here signs or hashes: [`prepare`] lays everything out and says which octets are to be signed, and
//! [`Prepared::finish`] puts the signatures (RSASSA-PKCS1-v1_5, SHA-256) where the boot ROM looks for them. Which keys, and
//! whether they are in a file or in a token, is for the caller. Layouts are those of trust architecture 3.1 and 3.2.

use crate::Error;
use crate::pbi::{self, Command, Source};
use crate::pbl::{BOOT_POINTER, PBI_OFFSET, Pbl, Placement};
use crate::security_header::{SIZE as HEADER, SecurityHeader};
use crate::words;

/// Keys that a table has at most; the fuses can revoke each of them alone.
pub const MAX_KEYS: usize = 4;
/// Octets of a key of the table, modulus and exponent.
const KEY_ROOM: usize = 1024;
/// Octets of an entry of the table.
const KEY_ENTRY: usize = KEY_ROOM + 4;
/// Octets of a modulus that the boot ROM takes: RSA-2048 and RSA-4096.
const MODULI: [usize; 2] = [256, 512];
/// Parts of a header begin at multiples of this.
const BLOCK: usize = 0x200;
/// An entry of the table of what is signed.
const PART_ENTRY: usize = 16;
/// Where the header of BL2 is in the boot image, and in memory; BL2 follows it in both.
pub const BL2_HEADER_OFFSET: u32 = 0x5000;
/// Where the boot ROM wants the header of BL2.
pub const BL2_HEADER_ADDRESS: u32 = 0x1800_a000;
/// Octets that it may have there.
const BL2_HEADER_ROOM: usize = 0x3000;
/// BL2 is the first program (0x40), and there is a table of keys (0x20).
const BL2_FLAGS: u8 = 0x60;
const PBI_FLAGS: u8 = 0x20;
/// Octets of the command word before the header of the PBI commands.
const COMMAND: usize = 4;

/// An RSA public key, big endian.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RootKey {
    /// 256 or 512 octets.
    pub modulus: Vec<u8>,
    /// Without leading zeros.
    pub exponent: Vec<u8>,
}

/// The super root keys of a device. SHA-256 of the table is what the fuses hold (SRKH).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyTable(Vec<RootKey>);

impl KeyTable {
    /// One to four keys of the same size.
    pub fn new(keys: Vec<RootKey>) -> Result<Self, Error> {
        if keys.is_empty() || keys.len() > MAX_KEYS {
            return Err(Error::TooLarge("table of super root keys", keys.len() as u64, MAX_KEYS as u64));
        }
        for key in &keys {
            let octets = key.modulus.len();
            let first = keys.first().map_or(0, |first| first.modulus.len());
            if !MODULI.contains(&octets) || key.modulus.first().is_none_or(|octet| octet >> 7 == 0) {
                return Err(Error::Length("modulus of a super root key", MODULI[0] / 4, octets / 4));
            }
            if octets != first || key.exponent.is_empty() || key.exponent.len() > octets {
                return Err(Error::Length("super root key", first / 4, octets / 4));
            }
        }
        Ok(Self(keys))
    }

    /// The keys.
    pub fn keys(&self) -> &[RootKey] {
        &self.0
    }

    /// The table as the boot ROM reads it: the octets of which the fuses hold the digest.
    pub fn encode(&self) -> Vec<u8> {
        let mut table = Vec::new();
        for key in &self.0 {
            let octets = key.modulus.len();
            let mut entry = key.modulus.clone();
            entry.resize(2 * octets - key.exponent.len(), 0);
            entry.extend(&key.exponent);
            entry.resize(KEY_ROOM, 0);
            words::push(&mut table, &[2 * octets as u32]);
            table.extend(entry);
        }
        table
    }

    /// Reads a table of `count` keys.
    pub fn decode(bytes: &[u8], count: u8) -> Result<Self, Error> {
        let mut keys = Vec::new();
        for number in 0..usize::from(count) {
            let at = number * KEY_ENTRY;
            let octets = words::word(bytes, at, "table of super root keys")? as usize / 2;
            let [room]: [[u8; KEY_ROOM]; 1] = [words::array(bytes, at + 4, "super root key")?];
            let (modulus, rest) = room.split_at(octets.min(KEY_ROOM / 2));
            let exponent = rest.get(..octets).unwrap_or_default();
            let exponent = exponent.iter().copied().skip_while(|octet| *octet == 0).collect();
            keys.push(RootKey { modulus: modulus.to_vec(), exponent });
        }
        Self::new(keys)
    }

    fn signature_size(&self) -> usize {
        self.0.first().map_or(0, |key| key.modulus.len())
    }
}

/// Who signs.
#[derive(Clone, Debug)]
pub struct Signing {
    /// The device's keys.
    pub table: KeyTable,
    /// The key that signs, counted from one.
    pub key: u8,
    /// Keys that the fuses of some device have revoked, counted from one: none of them may sign.
    pub revoked: Vec<u8>,
}

impl Signing {
    fn check(&self) -> Result<(), Error> {
        let exists = self.key >= 1 && usize::from(self.key) <= self.table.keys().len();
        if !exists {
            return Err(Error::TooLarge(
                "number of the key that signs",
                u64::from(self.key),
                self.table.0.len() as u64,
            ));
        }
        if self.revoked.contains(&self.key) { Err(Error::Revoked(self.key)) } else { Ok(()) }
    }

    fn header(&self, flags: u8, key_table: usize, signature: usize) -> SecurityHeader {
        SecurityHeader {
            key_table: key_table as u32,
            keys: self.table.0.len() as u8,
            key: self.key,
            flags,
            signature: signature as u32,
            signature_size: self.table.signature_size() as u32,
            table: 0,
            entries: 0,
            entry_point: 0,
            ids: [0; 7],
        }
    }
}

/// A boot image that lacks its two signatures.
#[derive(Clone, Debug)]
pub struct Prepared {
    image: Vec<u8>,
    signature_size: usize,
    places: [usize; 2],
    /// What is to be signed: for the PBI commands, and for BL2.
    pub messages: [Vec<u8>; 2],
}

/// Lays out a boot image whose boot ROM is told to verify: `SB_EN` in the RCW, a header before the board's commands, and one
/// that comes with BL2.
pub fn prepare(board: &Pbl, bl2: &[u8], place: &Placement, signing: &Signing) -> Result<Prepared, Error> {
    signing.check()?;
    let mut bl2 = bl2.to_vec();
    bl2.resize(bl2.len().next_multiple_of(4), 0);
    if bl2.len() > place.room as usize {
        return Err(Error::TooLarge("BL2", bl2.len() as u64, u64::from(place.room)));
    }
    let (bl2_header, bl2_message, bl2_signature) = bl2_header(&bl2, place, signing)?;
    let (mut image, pbi_message, pbi_signature) = pbi(board, &bl2, &bl2_header, place, signing)?;
    let header_at = BL2_HEADER_OFFSET as usize;
    if image.len() > header_at {
        return Err(Error::Overlap(
            "PBI commands and header of BL2",
            image.len() as u64,
            u64::from(BL2_HEADER_OFFSET),
        ));
    }
    image.resize(header_at, 0);
    image.extend(&bl2_header);
    if image.len() > place.offset as usize {
        return Err(Error::Overlap("header of BL2 and BL2", image.len() as u64, u64::from(place.offset)));
    }
    image.resize(place.offset as usize, 0);
    image.extend(bl2);
    Ok(Prepared {
        image,
        signature_size: signing.table.signature_size(),
        places: [pbi_signature, header_at + bl2_signature],
        messages: [pbi_message, bl2_message],
    })
}

impl Prepared {
    /// The boot image with its signatures.
    pub fn finish(mut self, signatures: [&[u8]; 2]) -> Result<Vec<u8>, Error> {
        for (place, signature) in self.places.iter().zip(signatures) {
            if signature.len() != self.signature_size {
                return Err(Error::Length("signature", self.signature_size / 4, signature.len() / 4));
            }
            let room = self.image.get_mut(*place..place + self.signature_size);
            room.ok_or(Error::Truncated("boot image", place + self.signature_size, 0))?
                .copy_from_slice(signature);
        }
        Ok(self.image)
    }
}

/// The header of BL2 with its tables and room for the signature, what is signed, and where the signature is in the header.
fn bl2_header(bl2: &[u8], place: &Placement, signing: &Signing) -> Result<(Vec<u8>, Vec<u8>, usize), Error> {
    let table = signing.table.encode();
    let parts_at = (BLOCK + table.len()).next_multiple_of(BLOCK);
    let signature_at = (parts_at + PART_ENTRY).next_multiple_of(BLOCK);
    let end = signature_at + signing.table.signature_size();
    if end > BL2_HEADER_ROOM {
        return Err(Error::TooLarge("header of BL2", end as u64, BL2_HEADER_ROOM as u64));
    }
    let mut header = signing.header(BL2_FLAGS, BLOCK, signature_at);
    (header.table, header.entries, header.entry_point) = (parts_at as u32, 1, u64::from(place.address));
    let mut parts = Vec::new();
    words::push(&mut parts, &[bl2.len() as u32, 0, place.address, 0]);
    let header = header.encode();
    let message = [&header[..], &table, &parts, bl2].concat();
    let mut bytes = header.to_vec();
    bytes.resize(BLOCK, 0);
    bytes.extend(table);
    bytes.resize(parts_at, 0);
    bytes.extend(parts);
    bytes.resize(end, 0);
    Ok((bytes, message, signature_at))
}

/// RCW and commands with their own header, its table and room for its signature, what is signed, and where the signature is.
fn pbi(
    board: &Pbl,
    bl2: &[u8],
    bl2_header: &[u8],
    place: &Placement,
    signing: &Signing,
) -> Result<(Vec<u8>, Vec<u8>, usize), Error> {
    let mut pbl = board.clone();
    pbl.rcw.set("SB_EN", 1)?;
    let table = signing.table.encode();
    let with = |pbl: &mut Pbl, header: [u8; HEADER]| {
        pbl.commands = vec![Command::LoadSecurityHeader(Box::new(header))];
        pbl.commands.extend(board.commands.clone());
        pbl.commands.extend(load(bl2, bl2_header, place));
    };
    with(&mut pbl, [0; HEADER]);
    let length = pbi::encode(&pbl.commands, pbl.stop)?.len();
    // Offsets count from the header, which is behind its command word.
    let table_at = (length - COMMAND).next_multiple_of(BLOCK);
    let signature_at = (table_at + table.len()).next_multiple_of(BLOCK);
    with(&mut pbl, signing.header(PBI_FLAGS, table_at, signature_at).encode());
    let message = [pbi::encode(&pbl.commands, pbl.stop)?, table.clone()].concat();
    let mut image = pbl.encode()?;
    let header = PBI_OFFSET + COMMAND;
    image.resize(header + table_at, 0);
    image.extend(table);
    image.resize(header + signature_at + signing.table.signature_size(), 0);
    Ok((image, message, header + signature_at))
}

/// The commands that load BL2 and its header.
fn load(bl2: &[u8], header: &[u8], place: &Placement) -> [Command; 4] {
    let copy = |offset: u32, to: u32, size: usize| Command::BlockCopy {
        source: place.source,
        from: place.base.saturating_add(offset),
        to,
        size: size as u32,
    };
    [
        Command::Write { address: BOOT_POINTER, octet: false, value: place.address },
        copy(place.offset, place.address, bl2.len()),
        Command::LoadBootHeader(BL2_HEADER_ADDRESS),
        copy(BL2_HEADER_OFFSET, BL2_HEADER_ADDRESS, header.len()),
    ]
}

/// A signature in a boot image: what it is of, the keys, and what must verify.
#[derive(Clone, Debug)]
pub struct Claim {
    /// What is signed.
    pub what: &'static str,
    /// The header.
    pub header: SecurityHeader,
    /// Its keys.
    pub table: KeyTable,
    /// The octets that are signed.
    pub message: Vec<u8>,
    /// The signature.
    pub signature: Vec<u8>,
}

impl Claim {
    /// The key that signs.
    pub fn key(&self) -> Option<&RootKey> {
        self.table.keys().get(usize::from(self.header.key).checked_sub(1)?)
    }
}

/// Reads both signatures of a boot image; `None` where its boot ROM is not told to verify.
pub fn claims(image: &[u8]) -> Result<Option<[Claim; 2]>, Error> {
    let (pbl, used) = Pbl::decode(image)?;
    if pbl.rcw.get("SB_EN")? == 0 {
        return Ok(None);
    }
    let Some(Command::LoadSecurityHeader(bytes)) = pbl.commands.first() else {
        return Err(Error::Count("security header before the PBI commands", 0));
    };
    let header = SecurityHeader::decode(bytes.as_slice())?;
    let base = PBI_OFFSET + COMMAND;
    let (table, raw) = table(image, base, &header)?;
    let commands = image.get(PBI_OFFSET..used).unwrap_or_default();
    let signature = signature(image, base, &header)?;
    let message = [commands, &raw].concat();
    let pbi = Claim { what: "PBI commands", header, table, message, signature };
    Ok(Some([pbi, bl2_claim(image, &pbl)?]))
}

fn bl2_claim(image: &[u8], pbl: &Pbl) -> Result<Claim, Error> {
    let copies: Vec<_> = pbl.commands.iter().filter_map(copied).collect();
    let of = |address: u32| copies.iter().find(|copy| copy.1 == address).copied();
    let pointer = pbl.commands.iter().find_map(|command| match command {
        Command::LoadBootHeader(address) => Some(*address),
        _ => None,
    });
    let missing = Error::Count("header of BL2", 0);
    let (from, _, _) = pointer.and_then(of).ok_or(missing.clone())?;
    let first = copies.iter().find(|copy| Some(copy.1) != pointer).ok_or(Error::Count("copy of BL2", 0))?;
    // Where the image starts on its medium is not said in it: BL2 is behind its header by a known distance.
    let header_at = BL2_HEADER_OFFSET as usize;
    let bl2_at = header_at + first.0.checked_sub(from).ok_or(missing)? as usize;
    let rest = image.get(header_at..).ok_or(Error::Truncated("header of BL2", header_at, image.len()))?;
    let header = SecurityHeader::decode(rest)?;
    let (table, raw) = self::table(image, header_at, &header)?;
    let parts_at = header_at.saturating_add(header.table as usize);
    let parts: [u8; PART_ENTRY] = words::array(image, parts_at, "table of what is signed")?;
    let size = words::word(&parts, 0, "part")? as usize;
    let end = bl2_at.saturating_add(size);
    let bl2 = image.get(bl2_at..end).ok_or(Error::Truncated("BL2", end, image.len()))?;
    let message = [&header.encode()[..], &raw, &parts, bl2].concat();
    let signature = signature(image, header_at, &header)?;
    Ok(Claim { what: "BL2", header, table, message, signature })
}

fn copied(command: &Command) -> Option<(u32, u32, u32)> {
    match command {
        Command::BlockCopy { source: Source::Sd | Source::Emmc | Source::Nor, from, to, size } => {
            Some((*from, *to, *size))
        }
        _ => None,
    }
}

fn table(image: &[u8], base: usize, header: &SecurityHeader) -> Result<(KeyTable, Vec<u8>), Error> {
    let start = base.saturating_add(header.key_table as usize);
    let end = start.saturating_add(usize::from(header.keys) * KEY_ENTRY);
    let raw = image.get(start..end).ok_or(Error::Truncated("table of super root keys", end, image.len()))?;
    Ok((KeyTable::decode(raw, header.keys)?, raw.to_vec()))
}

fn signature(image: &[u8], base: usize, header: &SecurityHeader) -> Result<Vec<u8>, Error> {
    let start = base.saturating_add(header.signature as usize);
    let end = start.saturating_add(header.signature_size as usize);
    let found = image.get(start..end).ok_or(Error::Truncated("signature", end, image.len()))?;
    Ok(found.to_vec())
}

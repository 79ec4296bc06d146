//! A firmware image package (FIP): the images that BL2 loads, by UUID, as TF-A's `fiptool` writes it.

use crate::Error;
use crate::words::{array, double, word};

const NAME: u32 = 0xaa64_0001;
const SERIAL: u32 = 0x1234_5678;
const HEADER: usize = 16;
const ENTRY: usize = 40;
const WHAT: &str = "FIP";

/// The images a FIP may have, in the order in which `fiptool` writes them.
const KINDS: [(Kind, [u8; 16], &str); 16] = [
    (
        Kind::Bl2,
        *b"\x5f\xf9\xec\x0b\x4d\x22\x3e\x4d\xa5\x44\xc3\x9d\x81\xc7\x3f\x0a",
        "BL2: trusted boot firmware",
    ),
    (
        Kind::Bl31,
        *b"\x47\xd4\x08\x6d\x4c\xfe\x98\x46\x9b\x95\x29\x50\xcb\xbd\x5a\x00",
        "BL31: EL3 runtime firmware",
    ),
    (Kind::Bl32, *b"\x05\xd0\xe1\x89\x53\xdc\x13\x47\x8d\x2b\x50\x0a\x4b\x7a\x3e\x38", "BL32: OP-TEE"),
    (
        Kind::Bl32Extra1,
        *b"\x0b\x70\xc2\x9b\x2a\x5a\x78\x40\x9f\x65\x0a\x56\x82\x73\x82\x88",
        "BL32 extra 1: OP-TEE pager",
    ),
    (
        Kind::Bl32Extra2,
        *b"\x8e\xa8\x7b\xb1\xcf\xa2\x3f\x4d\x85\xfd\xe7\xbb\xa5\x02\x20\xd9",
        "BL32 extra 2: OP-TEE pageable part",
    ),
    (Kind::Bl33, *b"\xd6\xd0\xee\xa7\xfc\xea\xd5\x4b\x97\x82\x99\x34\xf2\x34\xb6\xe4", "BL33: U-Boot"),
    (
        Kind::TrustedBootConfig,
        *b"\x6c\x04\x58\xff\xaf\x6b\x7d\x4f\x82\xed\xaa\x27\xbc\x69\xbf\xd2",
        "trusted boot configuration",
    ),
    (
        Kind::HardwareConfig,
        *b"\x08\xb8\xf1\xd9\xc9\xcf\x93\x49\xa9\x62\x6f\xbc\x6b\x72\x65\xcc",
        "hardware configuration",
    ),
    (
        Kind::Bl2Certificate,
        *b"\xd6\xe2\x69\xea\x5d\x63\xe4\x11\x8d\x8c\x9f\xba\xbe\x99\x56\xa5",
        "certificate of BL2",
    ),
    (
        Kind::TrustedKeyCertificate,
        *b"\x82\x7e\xe8\x90\xf8\x60\xe4\x11\xa1\xb4\x77\x7a\x21\xb4\xf9\x4c",
        "certificate of both worlds' keys",
    ),
    (
        Kind::MonitorKeyCertificate,
        *b"\x8a\xb8\xbe\xcc\xf9\x60\xe4\x11\x9a\xd0\xeb\x48\x22\xd8\xdc\xf8",
        "certificate of BL31's key",
    ),
    (
        Kind::MonitorCertificate,
        *b"\xe2\xb2\x0c\x20\x5e\x63\xe4\x11\x9c\xe8\xab\xcc\xf9\x2b\xb6\x66",
        "certificate of BL31",
    ),
    (
        Kind::OpteeKeyCertificate,
        *b"\x94\x77\xd6\x03\xfb\x60\xe4\x11\x85\xdd\xb7\x10\x5b\x8c\xee\x04",
        "certificate of OP-TEE's key",
    ),
    (
        Kind::OpteeCertificate,
        *b"\xa4\x9f\x44\x11\x5e\x63\xe4\x11\x87\x28\x3f\x05\x72\x2a\xf3\x3d",
        "certificate of OP-TEE",
    ),
    (
        Kind::UBootKeyCertificate,
        *b"\x8a\xd5\x83\x2a\xfb\x60\xe4\x11\x8a\xaf\xdf\x30\xbb\xc4\x98\x59",
        "certificate of U-Boot's key",
    ),
    (
        Kind::UBootCertificate,
        *b"\x8e\xc4\xc1\xf3\x5d\x63\xe4\x11\xa7\xa9\x87\xee\x40\xb2\x3f\xa7",
        "certificate of U-Boot",
    ),
];

/// What an image is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Trusted boot firmware, where it is loaded from a FIP.
    Bl2,
    /// EL3 runtime firmware.
    Bl31,
    /// OP-TEE.
    Bl32,
    /// OP-TEE's pager.
    Bl32Extra1,
    /// OP-TEE's pageable part.
    Bl32Extra2,
    /// U-Boot.
    Bl33,
    /// Trusted boot firmware configuration.
    TrustedBootConfig,
    /// Device tree of the hardware.
    HardwareConfig,
    /// Certificate of BL2.
    Bl2Certificate,
    /// Certificate of both worlds' keys.
    TrustedKeyCertificate,
    /// Certificate of BL31's key.
    MonitorKeyCertificate,
    /// Certificate of BL31.
    MonitorCertificate,
    /// Certificate of OP-TEE's key.
    OpteeKeyCertificate,
    /// Certificate of OP-TEE.
    OpteeCertificate,
    /// Certificate of U-Boot's key.
    UBootKeyCertificate,
    /// Certificate of U-Boot.
    UBootCertificate,
    /// One that has no name here, by its UUID.
    Other([u8; 16]),
}

impl Kind {
    /// Its name, for a reader; the UUID's digits where it has none.
    pub fn name(self) -> String {
        let known = KINDS.iter().find(|entry| entry.0 == self).map(|entry| entry.2.to_owned());
        known.unwrap_or_else(|| self.uuid().iter().map(|octet| format!("{octet:02x}")).collect())
    }

    fn uuid(self) -> [u8; 16] {
        match self {
            Self::Other(uuid) => uuid,
            _ => KINDS.iter().find(|entry| entry.0 == self).map_or([0; 16], |entry| entry.1),
        }
    }

    fn of_uuid(uuid: [u8; 16]) -> Self {
        KINDS.iter().find(|entry| entry.1 == uuid).map_or(Self::Other(uuid), |entry| entry.0)
    }
}

/// One image.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Image {
    /// What it is.
    pub kind: Kind,
    /// Its flags in the table of contents.
    pub flags: u64,
    /// Its bytes.
    pub content: Vec<u8>,
}

/// A package of images.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Fip {
    /// Flags of the whole package.
    pub flags: u64,
    /// The images, in the order of the table of contents.
    pub images: Vec<Image>,
}

impl Fip {
    /// A package of images without flags.
    pub fn of(images: impl IntoIterator<Item = (Kind, Vec<u8>)>) -> Self {
        let images = images.into_iter().map(|(kind, content)| Image { kind, flags: 0, content });
        Self { flags: 0, images: images.collect() }
    }

    /// The image of a kind.
    pub fn image(&self, kind: Kind) -> Option<&[u8]> {
        self.images.iter().find(|image| image.kind == kind).map(|image| image.content.as_slice())
    }

    /// The package as bytes, images one after the other.
    pub fn encode(&self) -> Vec<u8> {
        let mut offset = HEADER + ENTRY * (self.images.len() + 1);
        let mut table = [NAME.to_le_bytes(), SERIAL.to_le_bytes()].concat();
        table.extend(self.flags.to_le_bytes());
        for image in &self.images {
            entry(&mut table, image.kind.uuid(), offset, image.content.len(), image.flags);
            offset += image.content.len();
        }
        entry(&mut table, [0; 16], offset, 0, 0);
        self.images.iter().for_each(|image| table.extend(&image.content));
        table
    }

    /// Reads a package; bytes after its last image are left alone. Images are inside, apart, and of different kinds.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let name = word(bytes, 0, WHAT)?;
        if name != NAME {
            return Err(Error::Magic("name of the FIP", NAME, name));
        }
        let mut fip = Self { flags: double(bytes, 8, WHAT)?, images: Vec::new() };
        let mut at = HEADER;
        while let Some(image) = read_entry(bytes, at)? {
            if fip.image(image.kind).is_some() {
                return Err(Error::Count("images of the same UUID in the FIP", 2));
            }
            fip.images.push(image);
            at += ENTRY;
        }
        fip.check_table(bytes, at + ENTRY)
    }

    /// No image may lie in the table of contents, nor in another image.
    fn check_table(self, bytes: &[u8], end: usize) -> Result<Self, Error> {
        let mut places = Vec::new();
        for number in 0..self.images.len() {
            let at = HEADER + ENTRY * number;
            let start = double(bytes, at + 16, WHAT)?;
            places.push((start, start.saturating_add(double(bytes, at + 24, WHAT)?)));
        }
        places.sort_unstable();
        let ends = std::iter::once(end as u64).chain(places.iter().map(|place| place.1));
        let overlap = ends.zip(&places).find(|(end, place)| *end > place.0);
        match overlap {
            Some((end, place)) => Err(Error::Overlap("images of the FIP", end, place.0)),
            None => Ok(self),
        }
    }
}

fn entry(table: &mut Vec<u8>, uuid: [u8; 16], offset: usize, size: usize, flags: u64) {
    table.extend(uuid);
    [offset as u64, size as u64, flags].iter().for_each(|number| table.extend(number.to_le_bytes()));
}

/// The image of an entry of the table; `None` at the table's end.
fn read_entry(bytes: &[u8], at: usize) -> Result<Option<Image>, Error> {
    let uuid: [u8; 16] = array(bytes, at, WHAT)?;
    let (offset, size) = (double(bytes, at + 16, WHAT)?, double(bytes, at + 24, WHAT)?);
    if uuid == [0; 16] {
        return Ok(None);
    }
    let end = offset.saturating_add(size);
    let range = usize::try_from(offset).ok().zip(usize::try_from(end).ok());
    let content = range.and_then(|(start, end)| bytes.get(start..end));
    let needed = usize::try_from(end).unwrap_or(usize::MAX);
    let content = content.ok_or(Error::Truncated(WHAT, needed, bytes.len()))?.to_vec();
    Ok(Some(Image { kind: Kind::of_uuid(uuid), flags: double(bytes, at + 32, WHAT)?, content }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Fip {
        let images = [(Kind::Bl31, vec![1; 7]), (Kind::Bl33, vec![2; 9]), (Kind::Other([9; 16]), vec![3])];
        Fip::of(images)
    }

    #[test]
    fn decodes_what_it_encodes_and_leaves_what_follows() {
        let mut bytes = sample().encode();
        bytes.extend([0xff; 30]);
        assert_eq!(Fip::decode(&bytes), Ok(sample()));
        assert_eq!(sample().image(Kind::Bl33), Some([2; 9].as_slice()));
        assert_eq!(sample().image(Kind::Bl32), None);
    }

    #[test]
    fn every_truncation_is_an_error() {
        let bytes = sample().encode();
        assert!((0..bytes.len()).all(|length| Fip::decode(&bytes[..length]).is_err()));
    }

    #[test]
    fn images_are_outside_the_table_apart_and_different() {
        let good = sample().encode();
        let patched = |at: usize, value: u64| {
            let mut bytes = good.clone();
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
            Fip::decode(&bytes)
        };
        assert!(matches!(patched(HEADER + 16, 100), Err(Error::Overlap(..))));
        assert!(matches!(patched(HEADER + ENTRY + 16, 178), Err(Error::Overlap(..))));
        assert!(matches!(patched(HEADER + 24, u64::MAX), Err(Error::Truncated(..))));
        let twice = Fip::of([(Kind::Bl31, vec![]), (Kind::Bl31, vec![])]).encode();
        assert!(matches!(Fip::decode(&twice), Err(Error::Count(_, 2))));
    }
}

//! The header of a signed OP-TEE trusted application: what it is, before it is packed.
//!
//! Layout (OP-TEE 4.10, `core/include/signed_hdr.h`), little-endian: magic u32, image type u32, payload size
//! u32, algorithm u32, digest size u16, signature size u16, digest, signature; then for type `BOOTSTRAP_TA` the
//! UUID in 16 octets, the version u32 and the payload, an ELF file. The digest covers everything but itself and
//! the signature. OP-TEE checks the signature; packing only needs to know that it has the right kind of file.

use sha2::{Digest, Sha256};
use thiserror::Error;
use trustbox_api::limits::MAX_IMAGE;
use trustbox_api::{Bytes, Uuid};

/// The first four bytes, as a number.
pub const MAGIC: u32 = 0x4f54_5348;
const BOOTSTRAP_TA: u32 = 1;
const HEADER_SIZE: usize = 20;
const IDENTITY_SIZE: usize = 20;
const DIGEST_SIZE: usize = 32;

/// What a signed image says about itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Image {
    /// UUID of the trusted application.
    pub uuid: Uuid,
    /// Its version; OP-TEE refuses to go back.
    pub version: u32,
    /// Bytes of the whole file.
    pub size: u32,
}

/// Why a file is not a signed OP-TEE trusted application that can be packed.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum ImageError {
    /// Another kind of file.
    #[error("image starts with {found:#010x}, a signed OP-TEE TA with {MAGIC:#010x}")]
    Magic {
        /// The first four bytes as a number.
        found: u32,
    },
    /// A signed image of another type: plain (0), encrypted (2) or subkey (3).
    #[error("image type is {found}, only {BOOTSTRAP_TA} (bootstrap TA) can be installed")]
    Type {
        /// The type in the header.
        found: u32,
    },
    /// The header gives another length than the file has.
    #[error("image has {found} bytes, its header says {expected}")]
    Size {
        /// Length of the file.
        found: u64,
        /// Length according to the header.
        expected: u64,
    },
    /// The digest is not SHA-256.
    #[error("digest has {found} bytes, expected {DIGEST_SIZE} (SHA-256)")]
    DigestSize {
        /// Size in the header.
        found: u16,
    },
    /// The content is not what was signed.
    #[error("digest in the image header is {expected}, the content has {found}")]
    Digest {
        /// Digest in the header.
        expected: Bytes<32>,
        /// Digest of the content.
        found: Bytes<32>,
    },
    /// No device takes an image of this length.
    #[error("image has {found} bytes, the limit is {MAX_IMAGE}")]
    TooLarge {
        /// Length of the file.
        found: u64,
    },
}

impl Image {
    /// Reads the header of a signed image and checks it against the rest of the file.
    pub fn read(bytes: &[u8]) -> Result<Self, ImageError> {
        let parts = Parts::read(bytes)?;
        let digest = Sha256::new().chain_update(parts.header).chain_update(parts.content);
        let found = Bytes(digest.finalize().into());
        if *parts.digest != found.0 {
            return Err(ImageError::Digest { expected: Bytes(*parts.digest), found });
        }
        Ok(parts.image)
    }
}

/// A signed image taken apart; nothing was checked but lengths, kinds and sizes.
#[derive(Clone, Debug)]
pub struct Parts<'a> {
    /// What it says about itself.
    pub image: Image,
    /// The first 20 bytes.
    pub header: &'a [u8; HEADER_SIZE],
    /// Number of the signature's algorithm, as OP-TEE has it.
    pub algorithm: u32,
    /// SHA-256 of header and content.
    pub digest: &'a [u8; DIGEST_SIZE],
    /// Signature of the digest.
    pub signature: &'a [u8],
    /// UUID, version and payload.
    pub content: &'a [u8],
}

impl<'a> Parts<'a> {
    /// Takes a signed image apart.
    pub fn read(bytes: &'a [u8]) -> Result<Self, ImageError> {
        let found = bytes.len() as u64;
        let size = u32::try_from(found).ok().filter(|size| *size <= MAX_IMAGE);
        let size = size.ok_or(ImageError::TooLarge { found })?;
        let header = bytes.first_chunk().ok_or(ImageError::Size { found, expected: HEADER_SIZE as u64 })?;
        check_type(header)?;
        let lengths = Lengths::read(header)?;
        let expected = lengths.total();
        let wrong = ImageError::Size { found, expected };
        if found != expected {
            return Err(wrong);
        }
        let (_, rest) = bytes.split_at_checked(HEADER_SIZE).ok_or(wrong.clone())?;
        let (digest, rest) = rest.split_first_chunk().ok_or(wrong.clone())?;
        let (signature, content) = rest.split_at_checked(lengths.signature).ok_or(wrong.clone())?;
        let (uuid, rest) = content.split_first_chunk().ok_or(wrong)?;
        let image = Image { uuid: Uuid(Bytes(*uuid)), version: u32_at(rest, 0), size };
        Ok(Self { image, header, algorithm: u32_at(header, 12), digest, signature, content })
    }
}

struct Lengths {
    signature: usize,
    payload: u32,
}

impl Lengths {
    fn read(header: &[u8; HEADER_SIZE]) -> Result<Self, ImageError> {
        let (digest, signature) = (u16_at(header, 16), u16_at(header, 18));
        if usize::from(digest) != DIGEST_SIZE {
            return Err(ImageError::DigestSize { found: digest });
        }
        Ok(Self { signature: signature.into(), payload: u32_at(header, 8) })
    }

    fn total(&self) -> u64 {
        let front = HEADER_SIZE + DIGEST_SIZE + self.signature + IDENTITY_SIZE;
        front as u64 + u64::from(self.payload)
    }
}

fn check_type(header: &[u8; HEADER_SIZE]) -> Result<(), ImageError> {
    match (u32_at(header, 0), u32_at(header, 4)) {
        (MAGIC, BOOTSTRAP_TA) => Ok(()),
        (MAGIC, found) => Err(ImageError::Type { found }),
        (found, _) => Err(ImageError::Magic { found }),
    }
}

/// A little-endian number; 0 where the bytes are not there, which callers have made sure of.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u16::from_le_bytes(*bytes))
}

/// A well-formed image for tests; its signature is zeros.
#[cfg(test)]
pub(crate) fn sample(uuid: Uuid, version: u32, payload: &[u8]) -> alloc::vec::Vec<u8> {
    let mut header = alloc::vec::Vec::new();
    for field in [MAGIC, BOOTSTRAP_TA, payload.len() as u32, 0x7041_4930] {
        header.extend(field.to_le_bytes());
    }
    header.extend([DIGEST_SIZE as u8, 0, 0, 1]);
    let content = [uuid.0.as_ref(), &version.to_le_bytes(), payload].concat();
    let digest = Sha256::new().chain_update(&header).chain_update(&content).finalize();
    [&header[..], &digest, &[0; 256], &content].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: Uuid = trustbox_api::TRUSTBOX_UUID;

    #[test]
    fn header_is_read() {
        let bytes = sample(UUID, 7, b"payload");
        assert_eq!(Image::read(&bytes), Ok(Image { uuid: UUID, version: 7, size: bytes.len() as u32 }));
    }

    #[test]
    fn other_files_are_refused() {
        assert_eq!(
            Image::read(b"\x7fELF-and-some-more-bytes"),
            Err(ImageError::Magic { found: 0x464c_457f })
        );
        let mut encrypted = sample(UUID, 1, b"payload");
        encrypted[4] = 2;
        assert_eq!(Image::read(&encrypted), Err(ImageError::Type { found: 2 }));
        let mut sha384 = sample(UUID, 1, b"payload");
        sha384[16] = 48;
        assert_eq!(Image::read(&sha384), Err(ImageError::DigestSize { found: 48 }));
    }

    #[test]
    fn every_length_but_the_right_one_is_refused() {
        let mut bytes = sample(UUID, 1, b"payload");
        for length in 0..bytes.len() {
            assert!(Image::read(&bytes[..length]).is_err(), "length {length}");
        }
        bytes.push(0);
        assert!(matches!(Image::read(&bytes), Err(ImageError::Size { .. })));
    }

    #[test]
    fn every_changed_byte_but_the_signature_is_refused() {
        let bytes = sample(UUID, 1, b"payload");
        for at in (0..bytes.len()).filter(|at| !(52..308).contains(at)) {
            let mut changed = bytes.clone();
            changed[at] ^= 0x40;
            assert!(Image::read(&changed).is_err(), "byte {at}");
        }
    }

    #[test]
    fn oversized_is_refused() {
        let bytes = vec![0; MAX_IMAGE as usize + 1];
        assert_eq!(Image::read(&bytes), Err(ImageError::TooLarge { found: u64::from(MAX_IMAGE) + 1 }));
    }
}

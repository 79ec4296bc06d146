//! The OP-TEE image inside a package: a signed header, then an ELF file.
//!
//! Layout (OP-TEE 4.10, `core/include/signed_hdr.h`), little-endian: magic u32, image type u32,
//! image size u32, algorithm u32, hash size u16, signature size u16, hash, signature, then for
//! type `BOOTSTRAP_TA` the UUID in 16 octets and the version u32, then the ELF file. OP-TEE checks
//! the signature; here the header must say what the manifest says.

use trustbox_api::Error;
use trustbox_api::key::Uuid;

const MAGIC: u32 = 0x4f54_5348;
const BOOTSTRAP_TA: u32 = 1;

/// Compares an image with what it should be; returns what follows the header, which is what OP-TEE stores.
pub fn check<'a>(image: &'a [u8], uuid: &Uuid, version: u32) -> Result<&'a [u8], Error> {
    contents(image, uuid, version).ok_or(Error::ImageHeader)
}

fn contents<'a>(image: &'a [u8], uuid: &Uuid, version: u32) -> Option<&'a [u8]> {
    let mut rest = image;
    let magic = take_u32(&mut rest)?;
    let kind = take_u32(&mut rest)?;
    let image_size = take_u32(&mut rest)?;
    let _algorithm = take_u32(&mut rest)?;
    let hash_size = take_u16(&mut rest)?;
    let signature_size = take_u16(&mut rest)?;
    take(&mut rest, usize::from(hash_size) + usize::from(signature_size))?;
    let its_uuid = take(&mut rest, 16)?;
    let its_version = take_u32(&mut rest)?;
    let agrees = magic == MAGIC
        && kind == BOOTSTRAP_TA
        && its_uuid == uuid.0.as_ref()
        && its_version == version
        && u32::try_from(rest.len()) == Ok(image_size);
    agrees.then_some(rest)
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (front, back) = rest.split_at_checked(length)?;
    *rest = back;
    Some(front)
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    take(rest, 4)?.try_into().ok().map(u32::from_le_bytes)
}

fn take_u16(rest: &mut &[u8]) -> Option<u16> {
    take(rest, 2)?.try_into().ok().map(u16::from_le_bytes)
}

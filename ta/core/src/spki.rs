//! The device key as DER SubjectPublicKeyInfo (RFC 5280, 4.1.2.7; RFC 8017, A.1.1).

use heapless::Vec;
use sha2::{Digest, Sha256};
use trustbox_api::key::KeyId;
use trustbox_api::limits::MAX_DEVICE_KEY;
use trustbox_api::{Bytes, Error};

use crate::tee::DevicePublicKey;

/// A DER SubjectPublicKeyInfo.
pub struct Spki(Vec<u8, MAX_DEVICE_KEY>);

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;

/// AlgorithmIdentifier rsaEncryption with NULL parameters.
const RSA_ENCRYPTION: [u8; 15] =
    [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

/// Encodes an RSA public key.
pub fn encode(key: &DevicePublicKey) -> Result<Spki, Error> {
    let modulus = integer(&key.modulus)?;
    let exponent = integer(&key.exponent)?;
    let rsa_public_key = element(SEQUENCE, &[&modulus, &exponent])?;
    let bit_string = element(BIT_STRING, &[&[0], &rsa_public_key])?;
    element(SEQUENCE, &[&RSA_ENCRYPTION, &bit_string]).map(Spki)
}

impl Spki {
    /// SHA-256 of the encoding.
    pub fn id(&self) -> KeyId {
        Bytes(Sha256::digest(&self.0).into())
    }

    /// The encoding.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A positive INTEGER: no leading zeros, but one where the top bit is set.
fn integer(big_endian: &[u8]) -> Result<Vec<u8, MAX_DEVICE_KEY>, Error> {
    let first = big_endian.iter().position(|&byte| byte != 0).ok_or(Error::Internal)?;
    let digits = big_endian.get(first..).ok_or(Error::Internal)?;
    let sign: &[u8] = if digits.first().is_some_and(|&top| top >= 0x80) { &[0] } else { &[] };
    element(INTEGER, &[sign, digits])
}

fn element(tag: u8, parts: &[&[u8]]) -> Result<Vec<u8, MAX_DEVICE_KEY>, Error> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let [high, low] = u16::try_from(length).map_err(|_| Error::Internal)?.to_be_bytes();
    let mut out = Vec::new();
    let head: &[u8] = match length {
        0..0x80 => &[tag, low],
        0x80..0x100 => &[tag, 0x81, low],
        _ => &[tag, 0x82, high, low],
    };
    out.extend_from_slice(head).map_err(|_| Error::Internal)?;
    for part in parts {
        out.extend_from_slice(part).map_err(|_| Error::Internal)?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rsa::pkcs8::DecodePublicKey;
    use rsa::traits::PublicKeyParts;

    fn key(modulus: &[u8]) -> DevicePublicKey {
        DevicePublicKey {
            modulus: Vec::from_slice(modulus).unwrap(),
            exponent: Vec::from_slice(&[0, 1, 0, 1]).unwrap(),
        }
    }

    #[test]
    fn an_independent_parser_reads_the_same_key() {
        for size in [256, 384, 512] {
            let mut modulus = std::vec![0xa5; size];
            modulus[size - 1] |= 1;
            let der = encode(&key(&modulus)).unwrap();
            let parsed = rsa::RsaPublicKey::from_public_key_der(der.as_bytes()).unwrap();
            assert_eq!(&*parsed.n().to_be_bytes(), &modulus[..]);
            assert_eq!(parsed.e(), &rsa::BoxedUint::from(65537u32));
        }
    }

    #[test]
    fn an_empty_modulus_is_an_error() {
        assert!(encode(&key(&[])).is_err());
        assert!(encode(&key(&[0, 0])).is_err());
    }
}

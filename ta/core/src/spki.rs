//! The device key as DER SubjectPublicKeyInfo (RFC 5280, 4.1.2.7; RFC 8017, A.1.1).

use sha2::{Digest, Sha256};
use trustbox_api::key::KeyId;
use trustbox_api::{Bytes, Error};

use crate::der::{Element, SEQUENCE, bit_string, element, integer};
use crate::tee::DevicePublicKey;

/// A DER SubjectPublicKeyInfo.
pub struct Spki(Element);

/// AlgorithmIdentifier rsaEncryption with NULL parameters.
const RSA_ENCRYPTION: [u8; 15] =
    [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

/// Encodes an RSA public key.
pub fn encode(key: &DevicePublicKey) -> Result<Spki, Error> {
    let modulus = integer(&key.modulus)?;
    let exponent = integer(&key.exponent)?;
    let rsa_public_key = element(SEQUENCE, &[&modulus, &exponent])?;
    element(SEQUENCE, &[&RSA_ENCRYPTION, &bit_string(&rsa_public_key)?]).map(Spki)
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

#[cfg(test)]
mod tests {
    use super::*;
    use rsa::pkcs8::DecodePublicKey;
    use rsa::traits::PublicKeyParts;

    fn key(modulus: &[u8]) -> DevicePublicKey {
        DevicePublicKey {
            modulus: modulus.try_into().unwrap(),
            exponent: [0, 1, 0, 1].as_slice().try_into().unwrap(),
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "the other parser calculates with the whole number")]
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

//! Data sealed to exactly one enclave on one device: HPKE in base mode (RFC 9180, 5.1.1), DHKEM(P-256, HKDF-SHA256),
//! HKDF-SHA256, AES-256-GCM.
//!
//! An enclave holds a [`Key`] and vouches for its public half in a report, where it is the claim on confirmation.
//! Whoever has verified the report [seals](seal) to it. A sealed message is
//!
//! | octets | content |
//! | --- | --- |
//! | 65 | `enc`, the sender's ephemeral public key, uncompressed (SEC 1, 2.3.3) |
//! | n + 16 | ciphertext and tag |
//!
//! with no additional data, and as `info` the domain [`DOMAIN`] and the enclave as its report names it: UUID (16), digest
//! (32), version (4, big endian), publisher (32). Another version, another enclave, or another device cannot open it, nor
//! the same one after an erasure, which ends its key. The message does not say who sent it.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;
use core::fmt;

use hpke::aead::AesGcm256;
use hpke::kdf::HkdfSha256;
use hpke::kem::DhP256HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use rand_core::CryptoRng;
use trustbox_api::launch::Enclave;
use trustbox_api::{Bytes, PublicKey};

/// What `info` starts with.
pub const DOMAIN: &[u8] = b"TrustBox transport\0";
/// Octets that a sealed message is longer than what is in it.
pub const OVERHEAD: usize = ENCAPSULATED + TAG;

/// Octets of the ephemeral public key, and of a tag.
const ENCAPSULATED: usize = 65;
const TAG: usize = 16;

/// Why data are not sealed or opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TransportError {
    /// What the report has for a key is none.
    NoKey,
    /// The message is shorter than any, or not for this enclave, or changed.
    NotForUs,
    /// The message is longer than the suite takes.
    TooLong,
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoKey => "the transport key of the report is no point of P-256",
            Self::NotForUs => "the message is not sealed to this enclave, or was changed",
            Self::TooLong => "too long to be sealed",
        })
    }
}

impl core::error::Error for TransportError {}

/// The private half, which stays in the enclave.
pub struct Key {
    private: <DhP256HkdfSha256 as Kem>::PrivateKey,
    public: <DhP256HkdfSha256 as Kem>::PublicKey,
}

impl Key {
    /// The key that follows from a secret (RFC 9180, 7.1.3): always the same.
    pub fn derive(secret: &[u8; 32]) -> Self {
        let (private, public) = DhP256HkdfSha256::derive_keypair(secret);
        Self { private, public }
    }

    /// What the enclave vouches for in a report.
    pub fn public(&self) -> PublicKey {
        let bytes = self.public.to_bytes();
        // Uncompressed: a four, then x and y.
        PublicKey(bytes.get(1..).and_then(Bytes::from_slice).unwrap_or_default())
    }

    /// What is in a message that was sealed to this enclave.
    pub fn open(&self, enclave: &Enclave, sealed: &[u8]) -> Result<Vec<u8>, TransportError> {
        let refused = TransportError::NotForUs;
        let (encapsulated, ciphertext) = sealed.split_at_checked(ENCAPSULATED).ok_or(refused)?;
        let encapsulated =
            <DhP256HkdfSha256 as Kem>::EncappedKey::from_bytes(encapsulated).map_err(|_| refused)?;
        let (mode, info) = (OpModeR::Base, info(enclave));
        hpke::single_shot_open::<AesGcm256, HkdfSha256, DhP256HkdfSha256>(
            &mode,
            &self.private,
            &encapsulated,
            &info,
            ciphertext,
            &[],
        )
        .map_err(|_| refused)
    }
}

/// Seals data to this enclave, whose report has the key and was verified by the caller.
pub fn seal(
    enclave: &Enclave,
    key: &PublicKey,
    data: &[u8],
    random: &mut impl CryptoRng,
) -> Result<Vec<u8>, TransportError> {
    let point = [&[4], key.0.as_ref()].concat();
    let public =
        <DhP256HkdfSha256 as Kem>::PublicKey::from_bytes(&point).map_err(|_| TransportError::NoKey)?;
    let (encapsulated, ciphertext) =
        hpke::single_shot_seal_with_rng::<AesGcm256, HkdfSha256, DhP256HkdfSha256>(
            &OpModeS::Base,
            &public,
            &info(enclave),
            data,
            &[],
            random,
        )
        .map_err(|_| TransportError::TooLong)?;
    let mut sealed = encapsulated.to_bytes().to_vec();
    sealed.extend(ciphertext);
    Ok(sealed)
}

fn info(Enclave { uuid, digest, version, publisher }: &Enclave) -> Vec<u8> {
    [DOMAIN, &uuid.0.0, &digest.0, &version.to_be_bytes(), &publisher.0].concat()
}

#[cfg(test)]
mod tests {
    use rand_core::UnwrapErr;
    use trustbox_api::key::{KeyId, Uuid};

    use super::*;

    const ENCLAVE: Enclave =
        Enclave { uuid: Uuid(Bytes([1; 16])), digest: Bytes([2; 32]), version: 3, publisher: Bytes([4; 32]) };

    fn sealed(key: &PublicKey, data: &[u8]) -> Result<Vec<u8>, TransportError> {
        seal(&ENCLAVE, key, data, &mut UnwrapErr(getrandom::SysRng))
    }

    #[test]
    fn what_is_sealed_to_an_enclave_opens_there() {
        let key = Key::derive(&[9; 32]);
        for data in [&b""[..], b"weights", &[1; 4096]] {
            let message = sealed(&key.public(), data).unwrap();
            assert_eq!(message.len(), data.len() + OVERHEAD);
            assert_eq!(key.open(&ENCLAVE, &message).unwrap(), data);
        }
    }

    #[test]
    fn nobody_else_opens_it() {
        let key = Key::derive(&[9; 32]);
        let message = sealed(&key.public(), b"weights").unwrap();
        let others = [
            Enclave { uuid: Uuid(Bytes([0; 16])), ..ENCLAVE },
            Enclave { digest: Bytes([0; 32]), ..ENCLAVE },
            Enclave { version: 4, ..ENCLAVE },
            Enclave { publisher: KeyId::from(Bytes([0; 32])), ..ENCLAVE },
        ];
        for other in others {
            assert_eq!(key.open(&other, &message), Err(TransportError::NotForUs));
        }
        assert_eq!(Key::derive(&[8; 32]).open(&ENCLAVE, &message), Err(TransportError::NotForUs));
    }

    #[test]
    fn every_cut_and_every_changed_octet_is_noticed() {
        let key = Key::derive(&[9; 32]);
        let message = sealed(&key.public(), b"weights").unwrap();
        for at in 0..message.len() {
            let mut changed = message.clone();
            changed[at] ^= 1;
            assert!(key.open(&ENCLAVE, &changed).is_err(), "octet {at}");
            assert!(key.open(&ENCLAVE, &message[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn what_is_no_point_gets_nothing() {
        let mut key = Key::derive(&[9; 32]).public();
        key.0.0[63] ^= 1;
        assert_eq!(sealed(&key, b"weights"), Err(TransportError::NoKey));
        assert_eq!(sealed(&PublicKey(Bytes([0; 64])), b"weights"), Err(TransportError::NoKey));
    }

    /// RFC 9180, A.3.1: the recipient's key follows from its secret.
    #[test]
    fn a_key_is_that_of_the_standard() {
        let secret: [u8; 32] = [
            0x66, 0x8b, 0x37, 0x17, 0x1f, 0x10, 0x72, 0xf3, 0xcf, 0x12, 0xea, 0x8a, 0x23, 0x6a, 0x45, 0xdf,
            0x23, 0xfc, 0x13, 0xb8, 0x2a, 0xf3, 0x60, 0x9a, 0xd1, 0xe3, 0x54, 0xf6, 0xef, 0x81, 0x75, 0x50,
        ];
        let start = [0x04, 0xfe, 0x8c, 0x19, 0xce, 0x09, 0x05, 0x19];
        assert!(Key::derive(&secret).public.to_bytes().starts_with(&start));
    }
}

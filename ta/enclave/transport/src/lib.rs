//! Data sealed to exactly one enclave on one device: HPKE in base mode (RFC 9180, 5.1.1), DHKEM(P-256, HKDF-SHA256),
//! HKDF-SHA256, AES-256-GCM.
//!
//! An enclave holds a [`Key`] and vouches for its public half in a report, as the report's data: its [offer](Key::offer).
//! Whoever has verified the report [seals](seal) to it. A sealed message is
//!
//! | octets | content |
//! | --- | --- |
//! | 65 | `enc`, the sender's ephemeral public key, uncompressed (SEC 1, 2.3.3) |
//! | n + 16 | ciphertext and tag |
//!
//! with no additional data, and as `info` the domain [`OFFER`] and the enclave as its report names it: UUID (16), digest
//! (32), version (4, big endian), publisher (32), generation (8). Another version, another enclave, the same one after an
//! erasure, or another device cannot open it. The message does not say who sent it.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;
use core::fmt;

use hpke::aead::AesGcm256;
use hpke::kdf::HkdfSha256;
use hpke::kem::DhP256HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use p256::elliptic_curve::sec1::ToSec1Point;
use rand_core::CryptoRng;
use trustbox_api::evidence::{Report, ReportData};
use trustbox_api::launch::Identity;

/// What an offer starts with; the public key follows, compressed (33 octets).
pub const OFFER: &[u8] = b"TrustBox transport\0";
/// Octets that a sealed message is longer than what is in it.
pub const OVERHEAD: usize = ENCAPSULATED + TAG;

/// Octets of the ephemeral public key, and of a tag.
const ENCAPSULATED: usize = 65;
const TAG: usize = 16;

/// Why data are not sealed or opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TransportError {
    /// The report's data are no offer of a key.
    NoOffer,
    /// The message is shorter than any, or not for this enclave, or changed.
    NotForUs,
    /// The message is longer than the suite takes.
    TooLong,
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoOffer => "the report offers no transport key",
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
    pub fn offer(&self) -> ReportData {
        let mut offer = ReportData::new();
        let key = p256::PublicKey::from_sec1_bytes(&self.public.to_bytes());
        let compressed = key.map(|key| key.to_sec1_point(true));
        // A key that was just derived is a point, and the offer fits.
        let _ = offer.try_extend_from_slice(OFFER);
        let _ = compressed.map(|point| offer.try_extend_from_slice(point.as_bytes()));
        offer
    }

    /// What is in a message that was sealed to this enclave.
    pub fn open(&self, enclave: &Identity, sealed: &[u8]) -> Result<Vec<u8>, TransportError> {
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

/// Seals data to the enclave that made this report, which the caller has verified.
pub fn seal(report: &Report, data: &[u8], random: &mut impl CryptoRng) -> Result<Vec<u8>, TransportError> {
    let offered = report.data.strip_prefix(OFFER).filter(|key| matches!(key.first(), Some(2 | 3)));
    let offered = offered.ok_or(TransportError::NoOffer)?;
    let point = p256::PublicKey::from_sec1_bytes(offered).map_err(|_| TransportError::NoOffer)?;
    let public = <DhP256HkdfSha256 as Kem>::PublicKey::from_bytes(point.to_sec1_point(false).as_bytes());
    let public = public.map_err(|_| TransportError::NoOffer)?;
    let (encapsulated, ciphertext) =
        hpke::single_shot_seal_with_rng::<AesGcm256, HkdfSha256, DhP256HkdfSha256>(
            &OpModeS::Base,
            &public,
            &info(&report.enclave),
            data,
            &[],
            random,
        )
        .map_err(|_| TransportError::TooLong)?;
    let mut sealed = encapsulated.to_bytes().to_vec();
    sealed.extend(ciphertext);
    Ok(sealed)
}

/// The enclave, but for the revocations that its device knew when it was launched.
fn info(enclave: &Identity) -> Vec<u8> {
    let Identity { uuid, digest, version, publisher, generation, epoch: _ } = enclave;
    let version = version.to_be_bytes();
    [OFFER, &uuid.0.0, &digest.0, &version, &publisher.0, &generation.0].concat()
}

#[cfg(test)]
mod tests {
    use rand_core::UnwrapErr;
    use trustbox_api::command::Lifecycle;
    use trustbox_api::key::{KeyId, Uuid};
    use trustbox_api::message::Profile;
    use trustbox_api::{Bytes, DeviceId};

    use super::*;

    fn report(key: &Key) -> Report {
        let enclave = Identity {
            uuid: Uuid(Bytes([1; 16])),
            digest: Bytes([2; 32]),
            version: 3,
            publisher: KeyId::from(Bytes([4; 32])),
            generation: Bytes([5; 8]),
            epoch: 6,
        };
        let (device_id, lifecycle) = (DeviceId::from(Bytes([7; 32])), Lifecycle::Locked);
        let (profile, nonce) = (Profile::Production, Bytes([8; 32]));
        Report { device_id, lifecycle, profile, enclave, nonce, data: key.offer() }
    }

    fn sealed(report: &Report, data: &[u8]) -> Result<Vec<u8>, TransportError> {
        seal(report, data, &mut UnwrapErr(getrandom::SysRng))
    }

    #[test]
    fn what_is_sealed_to_an_enclave_opens_there() {
        let key = Key::derive(&[9; 32]);
        let report = report(&key);
        for data in [&b""[..], b"weights", &[1; 4096]] {
            let message = sealed(&report, data).unwrap();
            assert_eq!(message.len(), data.len() + OVERHEAD);
            assert_eq!(key.open(&report.enclave, &message).unwrap(), data);
        }
        // Later, when the device has heard of revocations.
        let later = Identity { epoch: 7, ..report.enclave };
        assert!(key.open(&later, &sealed(&report, b"weights").unwrap()).is_ok());
    }

    #[test]
    fn nobody_else_opens_it() {
        let key = Key::derive(&[9; 32]);
        let report = report(&key);
        let message = sealed(&report, b"weights").unwrap();
        let enclave = report.enclave;
        let others = [
            Identity { uuid: Uuid(Bytes([0; 16])), ..enclave },
            Identity { digest: Bytes([0; 32]), ..enclave },
            Identity { version: 4, ..enclave },
            Identity { publisher: KeyId::from(Bytes([0; 32])), ..enclave },
            Identity { generation: Bytes([0; 8]), ..enclave },
        ];
        for other in others {
            assert_eq!(key.open(&other, &message), Err(TransportError::NotForUs));
        }
        assert_eq!(Key::derive(&[8; 32]).open(&enclave, &message), Err(TransportError::NotForUs));
    }

    #[test]
    fn every_cut_and_every_changed_octet_is_noticed() {
        let key = Key::derive(&[9; 32]);
        let report = report(&key);
        let message = sealed(&report, b"weights").unwrap();
        for at in 0..message.len() {
            let mut changed = message.clone();
            changed[at] ^= 1;
            assert!(key.open(&report.enclave, &changed).is_err(), "octet {at}");
            assert!(key.open(&report.enclave, &message[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_report_of_something_else_is_no_offer() {
        let mut report = report(&Key::derive(&[9; 32]));
        let offer = report.data.clone();
        for data in [&b""[..], b"total=3", &offer[..OFFER.len()], &offer[..offer.len() - 1]] {
            report.data = ReportData::try_from(data).unwrap();
            assert_eq!(sealed(&report, b"weights"), Err(TransportError::NoOffer));
        }
        let mut no_point = offer.clone();
        no_point[OFFER.len()] = 5;
        report.data = no_point;
        assert_eq!(sealed(&report, b"weights"), Err(TransportError::NoOffer));
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

//! Signatures of statements, annexes and evidence (ES256) checked, and a log held against its signed head.
//!
//! For people who look at statements and for those who rely on evidence; the TA believes none of it and checks itself.

use p256::ecdsa::signature::hazmat::PrehashVerifier;
use p256::ecdsa::{Signature, VerifyingKey};
use thiserror::Error;
use trustbox_api::evidence::{self, Evidence, SignedEvidence};
use trustbox_api::log::{LogHead, Ring};
use trustbox_api::message::Nonce;
use trustbox_api::statement::{self, Envelope};
use trustbox_api::{Bytes, DeviceId, KeyId, PublicKey, wire};

use crate::annex;

/// Why evidence is not to be believed.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// The bytes are none.
    #[error("evidence does not decode")]
    Encoding,
    /// Another key signed.
    #[error("evidence is signed by {found}, expected {expected}")]
    Signer {
        /// The key that the evidence names.
        found: KeyId,
        /// The attestation key.
        expected: KeyId,
    },
    /// The signature is not over this.
    #[error("signature of the evidence does not verify")]
    Signature,
    /// It is evidence of something else.
    #[error("evidence is not of the log's heads")]
    Kind,
    /// Another device speaks.
    #[error("evidence is of device {found}, expected {expected}")]
    Device {
        /// The device in the evidence.
        found: DeviceId,
        /// The device that was asked.
        expected: DeviceId,
    },
    /// It answers another question, perhaps an old one.
    #[error("evidence is over nonce {found}, expected {expected}")]
    Nonce {
        /// The nonce in the evidence.
        found: Nonce,
        /// The nonce that was given.
        expected: Nonce,
    },
    /// The log is shorter than its head, or lost entries since.
    #[error("log has entries {first} to {next}, its head is at {number}")]
    Range {
        /// Number of the first entry there is.
        first: u64,
        /// Number after the last entry there is.
        next: u64,
        /// Entries before the head.
        number: u64,
    },
    /// An entry was changed.
    #[error("log leads to head {found}, the device signed {expected}")]
    Head {
        /// Where the entries lead.
        found: Bytes<32>,
        /// Where they must lead.
        expected: Bytes<32>,
    },
}

/// Whether the key that a statement names signed it; whether that key has any authority is another question.
pub fn statement(envelope: &Envelope<'_>) -> bool {
    verifies(&envelope.signer, &statement::digest(envelope.payload), &envelope.signature)
}

/// Whether the key that an annex names signed it.
pub fn annex(signed: &annex::Signed<'_>) -> bool {
    let envelope = &signed.envelope;
    verifies(&envelope.signer, &annex::digest(envelope.payload), &envelope.signature)
}

/// What `bytes`, an encoded [`SignedEvidence`], say, provided that `attestation_key` signed them.
pub fn evidence(bytes: &[u8], attestation_key: &PublicKey) -> Result<Evidence, EvidenceError> {
    let signed: SignedEvidence<'_> = wire::decode(bytes).map_err(|_| EvidenceError::Encoding)?;
    if signed.signer != *attestation_key {
        let (found, expected) = (signed.signer.id(), attestation_key.id());
        return Err(EvidenceError::Signer { found, expected });
    }
    if !verifies(attestation_key, &evidence::digest(signed.payload), &signed.signature) {
        return Err(EvidenceError::Signature);
    }
    wire::decode(signed.payload).map_err(|_| EvidenceError::Encoding)
}

/// The heads of a device's log, provided that its attestation key signed them over `nonce`.
pub fn log_head(
    bytes: &[u8],
    attestation_key: &PublicKey,
    device_id: DeviceId,
    nonce: Nonce,
) -> Result<LogHead, EvidenceError> {
    let Evidence::LogHead(head) = evidence(bytes, attestation_key)? else { return Err(EvidenceError::Kind) };
    if head.device_id != device_id {
        return Err(EvidenceError::Device { found: head.device_id, expected: device_id });
    }
    if head.nonce != nonce {
        return Err(EvidenceError::Nonce { found: head.nonce, expected: nonce });
    }
    Ok(head)
}

/// Whether the entries of a channel lead to the head that was signed; entries that came later do not matter.
pub fn chain(ring: &Ring, (number, expected): (u64, Bytes<32>)) -> Result<(), EvidenceError> {
    let (first, next) = (ring.first, ring.next());
    if !(first..=next).contains(&number) {
        return Err(EvidenceError::Range { first, next, number });
    }
    let mut then = ring.clone();
    // At most as many as there are.
    then.entries.truncate((number - first) as usize);
    let found = then.head().map_err(|_| EvidenceError::Encoding)?;
    if found == expected { Ok(()) } else { Err(EvidenceError::Head { found, expected }) }
}

fn verifies(signer: &PublicKey, digest: &[u8; 32], signature: &Bytes<64>) -> bool {
    let key = VerifyingKey::from_sec1_bytes(&[&[4], signer.0.as_ref()].concat());
    match (key, Signature::from_slice(signature.as_ref())) {
        (Ok(key), Ok(signature)) => key.verify_prehash(digest, &signature).is_ok(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use p256::ecdsa::SigningKey;
    use p256::ecdsa::signature::hazmat::PrehashSigner;
    use trustbox_api::log::{Entry, Event};

    use super::*;
    use crate::class_key::ClassKey;
    use crate::sign::{encode, public_key};

    fn generate() -> SigningKey {
        // Outside of the group's order once in 2^32 times.
        SigningKey::from_slice(ClassKey::generate().unwrap().expose()).unwrap()
    }

    fn signed(payload: &[u8], key: &SigningKey) -> Vec<u8> {
        let signature: Signature = key.sign_prehash(&evidence::digest(payload)).unwrap();
        let signer = public_key(key.verifying_key());
        encode(&SignedEvidence { payload, signer, signature: Bytes(signature.to_bytes().into()) }).unwrap()
    }

    fn ring(entries: u32) -> Ring {
        let mut ring = Ring::default();
        for uptime in 0..entries {
            ring.append(Entry { boot: 1, uptime, event: Event::Locked }).unwrap();
        }
        ring
    }

    fn head() -> LogHead {
        LogHead { device_id: Bytes([1; 32]), nonce: Bytes([2; 32]), heads: Default::default() }
    }

    #[test]
    fn evidence_is_believed_from_the_attestation_key_only() {
        let (key, other) = (generate(), generate());
        let said = Evidence::LogHead(head());
        let payload = encode(&said).unwrap();
        let (bytes, public) = (signed(&payload, &key), public_key(key.verifying_key()));
        assert_eq!(evidence(&bytes, &public), Ok(said));
        let stranger = public_key(other.verifying_key());
        assert!(matches!(evidence(&bytes, &stranger), Err(EvidenceError::Signer { .. })));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(evidence(&changed, &public).is_err(), "byte {at}");
        }
        assert_eq!(evidence(&signed(b"", &key), &public), Err(EvidenceError::Encoding));
    }

    #[test]
    fn heads_are_those_of_the_device_and_the_nonce() {
        let key = generate();
        let public = public_key(key.verifying_key());
        let bytes = signed(&encode(&Evidence::LogHead(head())).unwrap(), &key);
        let (device, nonce) = (head().device_id, head().nonce);
        assert_eq!(log_head(&bytes, &public, device, nonce), Ok(head()));
        let other = Bytes([9; 32]);
        let found = log_head(&bytes, &public, other, nonce);
        assert_eq!(found, Err(EvidenceError::Device { found: device, expected: other }));
        let found = log_head(&bytes, &public, device, other);
        assert_eq!(found, Err(EvidenceError::Nonce { found: nonce, expected: other }));
    }

    #[test]
    fn log_leads_to_its_head_whatever_came_later() {
        let at = |entries| (u64::from(entries), ring(entries).head().unwrap());
        for entries in [0, 1, 20, 24] {
            assert_eq!(chain(&ring(24), at(entries)), Ok(()));
        }
        assert_eq!(chain(&ring(30), at(6)), Ok(()));
        assert_eq!(chain(&ring(30), at(5)), Err(EvidenceError::Range { first: 6, next: 30, number: 5 }),);
        assert!(matches!(chain(&ring(3), at(4)), Err(EvidenceError::Range { .. })));
    }

    #[test]
    fn changed_logs_lead_elsewhere() {
        let head = (4, ring(4).head().unwrap());
        let mut changed = ring(4);
        changed.entries[2].uptime += 1;
        assert!(matches!(chain(&changed, head), Err(EvidenceError::Head { .. })));
        let mut shortened = ring(4);
        shortened.entries.remove(0);
        shortened.first += 1;
        assert!(matches!(chain(&shortened, head), Err(EvidenceError::Head { .. })));
    }
}

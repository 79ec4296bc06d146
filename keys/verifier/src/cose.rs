//! The envelope: a COSE_Sign1 (RFC 9052, 4.2) with ES256.

use p256::ecdsa::signature::hazmat::PrehashVerifier;
use p256::ecdsa::{Signature, VerifyingKey};
use sha2::{Digest, Sha256};
use trustbox_api::PublicKey;
use trustbox_api::token::CONTEXT;

use crate::claims::Claims;
use crate::reader::{Fault, Reader};
use crate::refusal::Refusal;
use crate::report::Report;

/// CBOR tag of a COSE_Sign1.
const COSE_SIGN1: u64 = 18;
/// Header parameter: algorithm.
const ALGORITHM: i64 = 1;
const ES256: i64 = -7;

/// A well-formed token that nobody has verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Token<'a> {
    protected: &'a [u8],
    payload: &'a [u8],
    signature: [u8; 64],
    claims: Claims<'a>,
}

impl<'a> Token<'a> {
    /// Takes a token apart.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Refusal> {
        let Envelope { protected, payload, signature } = Envelope::parse(bytes).map_err(Refusal::Envelope)?;
        Ok(Self { protected, payload, signature, claims: Claims::parse(payload)? })
    }

    /// Whether it is an enclave's report; otherwise it is the device's own token.
    pub fn is_report(&self) -> bool {
        self.claims.client_id > 0
    }

    /// What the device's own token says, provided that `key` signed it for `nonce`.
    pub fn verify(self, key: &PublicKey, nonce: &[u8]) -> Result<Claims<'a>, Refusal> {
        let claims = self.verified(key, nonce)?;
        match claims.client_id {
            ..0 => Ok(claims),
            _ => Err(Refusal::Claim {
                claim: "client-id",
                what: "not of the normal world, so no token of the device",
            }),
        }
    }

    /// What an enclave's report says, provided that `key` signed it for `nonce`.
    pub fn verify_report(self, key: &PublicKey, nonce: &[u8]) -> Result<Report<'a>, Refusal> {
        let claims = self.verified(key, nonce)?;
        match claims.client_id {
            1.. => Report::of(claims),
            _ => Err(Refusal::Claim { claim: "client-id", what: "not of an enclave, so no report" }),
        }
    }

    fn verified(self, key: &PublicKey, nonce: &[u8]) -> Result<Claims<'a>, Refusal> {
        if !self.is_signed_by(key) {
            return Err(Refusal::Signature);
        }
        if self.claims.attestation_key != key.id().0 {
            return Err(Refusal::Instance);
        }
        if self.claims.nonce != nonce {
            return Err(Refusal::Nonce);
        }
        Ok(self.claims)
    }

    /// What it says, believed by nobody: to find out whose key verifies it.
    pub fn unverified(&self) -> &Claims<'a> {
        &self.claims
    }

    fn is_signed_by(&self, key: &PublicKey) -> bool {
        let mut point = [4; 65];
        point[1..].copy_from_slice(key.0.as_ref());
        let key = VerifyingKey::from_sec1_bytes(&point);
        let signature = Signature::from_slice(&self.signature);
        let digest = to_be_signed(self.protected, self.payload);
        key.and_then(|key| key.verify_prehash(&digest, &signature?)).is_ok()
    }
}

struct Envelope<'a> {
    protected: &'a [u8],
    payload: &'a [u8],
    signature: [u8; 64],
}

impl<'a> Envelope<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, Fault> {
        let mut reader = Reader::new(bytes);
        if reader.tag()? != COSE_SIGN1 {
            return Err("not tagged as COSE_Sign1");
        }
        if reader.array()? != 4 {
            return Err("not an array of four");
        }
        let protected = reader.bytes()?;
        check_algorithm(protected)?;
        if reader.map()? != 0 {
            return Err("an unprotected header, which our profile has not");
        }
        let (payload, signature) = (reader.bytes()?, reader.bytes_of()?);
        reader.end()?;
        Ok(Self { protected, payload, signature })
    }
}

/// ES256 and nothing else; there is nothing to choose.
fn check_algorithm(protected: &[u8]) -> Result<(), Fault> {
    let mut reader = Reader::new(protected);
    let right = reader.map()? == 1 && reader.integer()? == ALGORITHM && reader.integer()? == ES256;
    reader.end()?;
    if right { Ok(()) } else { Err("protected header is not ES256 alone") }
}

/// Digest of the `Sig_structure` (RFC 9052, 4.4), in deterministic encoding whatever that of the token.
fn to_be_signed(protected: &[u8], payload: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new_with_prefix([0x84, 0x60 | CONTEXT.len() as u8]);
    hash.update(CONTEXT);
    for part in [protected, &[], payload] {
        hash.update(byte_string(part.len()).as_slice());
        hash.update(part);
    }
    hash.finalize().into()
}

/// Head of a byte string in its shortest form.
fn byte_string(length: usize) -> alloc::vec::Vec<u8> {
    let mut head = alloc::vec::Vec::new();
    let result = minicbor::Encoder::new(&mut head).bytes_len(length as u64).map(drop);
    debug_assert!(result.is_ok(), "a vector takes everything");
    head
}

//! Certificates as TF-A reads them: X.509 with extensions of Arm's that hold counters, digests and keys. Each is issued by itself;
//! whose key it must be signed with stands in the one before it.
//!
//! Serial numbers and dates follow from the content, so that the same firmware has the same certificates but for the salt in their
//! signatures. Nobody looks at either.
//!
//! Read strictly: what is not exactly this form is an error.

use std::str::FromStr;

use anyhow::{Context, Result, ensure};
use der::asn1::{Any, BitString, ObjectIdentifier, OctetString, Uint};
use der::{Decode, Encode, Sequence};
use pkcs1::RsaPssParams;
use ring::signature::{RSA_PSS_2048_8192_SHA256, RsaPublicKeyComponents};
use rsa::pkcs8::DecodePublicKey;
use sha2::{Digest, Sha256};
use x509_cert::ext::Extension;
use x509_cert::name::Name;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::time::{Time, Validity};

use crate::boot::keys::{Keys, Role};
use crate::boot::root_keys;
use crate::sign_ta::Algorithm;

/// Arm's extensions: a number follows.
const ARM: &str = "1.3.6.1.4.1.4128.2100";
const RSASSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
/// Octets of the salt.
const SALT: u8 = 32;
/// Version 3 as it is encoded.
const VERSION: u8 = 2;
const SERIAL_OCTETS: usize = 16;
/// From when certificates are valid, in the form of the standard: for ever.
const SINCE: &[u8] = b"\x17\x0d250101000000Z";

/// What a certificate says: its subject, who signs, and the extensions by their numbers.
pub(crate) struct Statement {
    pub(crate) subject: &'static str,
    pub(crate) signer: Role,
    pub(crate) says: Vec<(u32, Says)>,
}

/// What is in an extension.
pub(crate) enum Says {
    Counter(u32),
    /// SHA-256 of an image, zeros of one that is not there.
    Digest([u8; 32]),
    Key(Role),
}

#[derive(Sequence)]
struct Certificate {
    body: Body,
    algorithm: AlgorithmIdentifierOwned,
    signature: BitString,
}

#[derive(Sequence)]
struct Body {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    version: u8,
    serial: Uint,
    algorithm: AlgorithmIdentifierOwned,
    issuer: Name,
    validity: Validity,
    subject: Name,
    key: SubjectPublicKeyInfoOwned,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT")]
    extensions: Vec<Extension>,
}

#[derive(Sequence)]
struct DigestInfo {
    algorithm: AlgorithmIdentifierOwned,
    digest: OctetString,
}

impl Statement {
    /// The certificate in DER, signed with RSASSA-PSS.
    pub(crate) fn sign(&self, keys: &Keys) -> Result<Vec<u8>> {
        let body = self.body(keys)?;
        let signature = keys.sign(self.signer, Algorithm::Pss, &body.to_der()?)?;
        let signature = BitString::from_bytes(&signature)?;
        Ok(Certificate { algorithm: body.algorithm.clone(), body, signature }.to_der()?)
    }

    fn body(&self, keys: &Keys) -> Result<Body> {
        let extensions = self.says.iter().map(|(number, says)| {
            let value = OctetString::new(says.encode(keys)?)?;
            Ok(Extension { extn_id: arm(*number)?, critical: true, extn_value: value })
        });
        let extensions = extensions.collect::<Result<Vec<_>>>()?;
        body(self.subject, &keys.public_der(self.signer)?, extensions)
    }
}

impl Says {
    fn encode(&self, keys: &Keys) -> Result<Vec<u8>> {
        Ok(match self {
            Self::Counter(value) => value.to_der()?,
            Self::Key(role) => keys.public_der(*role)?,
            Self::Digest(digest) => {
                let algorithm = AlgorithmIdentifierOwned { oid: SHA256, parameters: Some(Any::null()) };
                DigestInfo { algorithm, digest: OctetString::new(&digest[..])? }.to_der()?
            }
        })
    }
}

/// A certificate around a public key, for tools that take nothing else. Nobody verifies it, so it is not signed.
pub(crate) fn wrapped(subject: &str, key: &[u8]) -> Result<String> {
    let body = body(subject, key, Vec::new())?;
    let signature = BitString::from_bytes(&[0])?;
    let der = Certificate { algorithm: body.algorithm.clone(), body, signature }.to_der()?;
    pem_rfc7468::encode_string("CERTIFICATE", pem_rfc7468::LineEnding::LF, &der)
        .map_err(|error| anyhow::anyhow!("{error}"))
}

/// A certificate as it was found.
pub(crate) struct Found(Certificate);

impl Found {
    pub(crate) fn decode(der: &[u8]) -> Result<Self> {
        Ok(Self(Certificate::from_der(der)?))
    }

    /// The key that it says it is signed with.
    pub(crate) fn key(&self) -> Result<Vec<u8>> {
        Ok(self.0.body.key.to_der()?)
    }

    /// Whether this key signed it, in the one way that our firmware takes.
    pub(crate) fn signed_by(&self, key: &[u8]) -> Result<bool> {
        let Certificate { body, algorithm, signature } = &self.0;
        let ours = *algorithm == pss()? && body.algorithm == *algorithm && self.key()? == key;
        let key = root_keys::of_rsa(&rsa::RsaPublicKey::from_public_key_der(key)?);
        let key = RsaPublicKeyComponents { n: &key.modulus, e: &key.exponent };
        let right = key.verify(&RSA_PSS_2048_8192_SHA256, &body.to_der()?, signature.raw_bytes());
        Ok(ours && right.is_ok())
    }

    /// A counter of the firmware.
    pub(crate) fn counter(&self, number: u32) -> Result<u32> {
        Ok(u32::from_der(self.extension(number)?)?)
    }

    /// The key that another certificate is signed with.
    pub(crate) fn key_of(&self, number: u32) -> Result<Vec<u8>> {
        Ok(self.extension(number)?.to_vec())
    }

    /// SHA-256 of an image; none of one that is not there.
    pub(crate) fn digest(&self, number: u32) -> Result<Option<[u8; 32]>> {
        let DigestInfo { algorithm, digest } = DigestInfo::from_der(self.extension(number)?)?;
        ensure!(algorithm.oid == SHA256, "extension {number} has a digest of another kind");
        let digest = digest.as_bytes().try_into().context("its digest has another size")?;
        Ok((digest != [0; 32]).then_some(digest))
    }

    fn extension(&self, number: u32) -> Result<&[u8]> {
        let oid = arm(number)?;
        let found = self.0.body.extensions.iter().find(|extension| extension.extn_id == oid);
        Ok(found.with_context(|| format!("it has no extension {number}"))?.extn_value.as_bytes())
    }
}

fn arm(number: u32) -> Result<ObjectIdentifier> {
    Ok(ObjectIdentifier::new(&format!("{ARM}.{number}"))?)
}

fn body(subject: &str, key: &[u8], extensions: Vec<Extension>) -> Result<Body> {
    let name = Name::from_str(&format!("CN={subject}"))?;
    let mut digest = Sha256::new().chain_update(subject).chain_update(key);
    for extension in &extensions {
        digest.update(extension.to_der()?);
    }
    Ok(Body {
        version: VERSION,
        serial: Uint::new(&digest.finalize()[..SERIAL_OCTETS])?,
        algorithm: pss()?,
        issuer: name.clone(),
        validity: Validity::new(Time::from_der(SINCE)?, Time::INFINITY),
        subject: name,
        key: SubjectPublicKeyInfoOwned::from_der(key)?,
        extensions,
    })
}

/// RSASSA-PSS with SHA-256 and a salt of its length.
fn pss() -> Result<AlgorithmIdentifierOwned> {
    let parameters = RsaPssParams::new::<Sha256>(SALT).to_der()?;
    Ok(AlgorithmIdentifierOwned { oid: RSASSA_PSS, parameters: Some(Any::from_der(&parameters)?) })
}

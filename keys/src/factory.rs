//! The factory's certificates: what a device asks for, what the factory CA says of it, and what others make of that.
//!
//! A device asks with a certification request (`trustbox csr`), which its attestation key signed: proof that it has that key. The
//! request names the device key, and so does an attestation token over the factory's own nonce: it is the TA that says that both
//! keys are its own, now. That it can use the device key shows when it imports its first class key.
//!
//! What the CA makes of it are two certificates, one for each key, whose subject is the device: serial number (2.5.4.5, as IEEE
//! 802.1AR has it) and common name are the device id. They do not expire; a device that is not to be believed any more is revoked
//! in the registry.

use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow, ensure};
use p256::ecdsa::signature::Verifier;
use p256::ecdsa::{DerSignature, SigningKey, VerifyingKey};
use p256::pkcs8::{EncodePrivateKey, LineEnding};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SerialNumber, SignatureAlgorithm,
};
use rsa::pkcs1::EncodeRsaPublicKey;
use rustls::pki_types::{CertificateDer, UnixTime};
use sha2::{Digest, Sha256};
use trustbox_api::key::PublicKey;
use trustbox_api::{Bytes, DeviceId};
use trustbox_package::request::parse_hex;
use trustbox_verifier::{Claims, Token};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_cert::der::asn1::{AnyRef, BitStringRef, ObjectIdentifier};
use x509_cert::der::{self, Decode, Encode, Reader, SliceReader, Tag};
use x509_cert::{Certificate, name::Name};

use crate::files;
use crate::issue;
use crate::protocol::parse_attestation_key;

/// The CA's certificate in a ceremony's folder.
pub const CA_FILE: &str = "factory-ca.pem";
const COMMON_NAME: &str = "TrustBox factory CA";
/// serialNumber.
const SERIAL_NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.5");
/// OBJECT IDENTIFIER 2.25.(UUID of the TrustBox TA).1 (ITU-T X.667): the device key's SubjectPublicKeyInfo, as the TA writes it.
const DEVICE_KEY: &[u8] = &[
    0x69, 0x82, 0xf1, 0xa6, 0xf4, 0xf5, 0x87, 0xf0, 0xe2, 0xbd, 0xfd, 0x9a, 0xa9, 0xc7, 0xa5, 0xc7, 0xf2,
    0xc2, 0xe9, 0x41, 0x01,
];
/// AlgorithmIdentifier ecdsa-with-SHA256 (RFC 5758, 3.2).
const ECDSA_WITH_SHA256: &[u8] = &[0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
/// Bytes of a certification request at most.
const MAX_REQUEST: usize = 4096;
/// How far the clocks of a line may be behind.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(3600);

/// A certification request whose signature verifies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Requested {
    /// The device.
    pub device_id: DeviceId,
    /// Its attestation key, which signed the request.
    pub attestation_key: PublicKey,
    /// DER SubjectPublicKeyInfo of its device key.
    pub device_key: Vec<u8>,
}

impl Requested {
    /// Reads a request, DER as `trustbox csr --format der` writes it, and verifies that the key in it signed it.
    pub fn read(der: &[u8]) -> Result<Self> {
        ensure!(der.len() <= MAX_REQUEST, "the request has {} bytes, the limit is {MAX_REQUEST}", der.len());
        let parts = Parts::read(der).map_err(|error| anyhow!("not a PKCS#10 request: {error}"))?;
        let attestation_key = parse_attestation_key(parts.spki)
            .context("the request is not of a P-256 key in its usual encoding")?;
        parts.verify(&attestation_key)?;
        let device_id = subject_serial(&parts.subject).as_deref().and_then(parse_hex);
        let device_key = parts.device_key.context("the request names no device key")?.to_vec();
        issue::parse_device_key(&device_key)?;
        Ok(Self {
            device_id: device_id.context("the request's subject has no device id as its serial number")?,
            attestation_key,
            device_key,
        })
    }

    /// SHA-256 of the device key.
    pub fn device_key_id(&self) -> Bytes<32> {
        Bytes(Sha256::digest(&self.device_key).into())
    }

    /// Holds the request against a token over `nonce`: the same device, with the same two keys.
    pub fn attested<'t>(&self, token: &'t [u8], nonce: &[u8]) -> Result<Claims<'t>> {
        let token = Token::parse(token).map_err(|refusal| anyhow!("token: {refusal}"))?;
        let claims = token.verify(&self.attestation_key, nonce);
        let claims = claims.map_err(|refusal| anyhow!("token: {refusal}"))?;
        let bound = Bytes(claims.wrapping_key);
        ensure!(
            bound == self.device_key_id(),
            "the token binds device key {bound}, the request names {}",
            self.device_key_id()
        );
        Ok(claims)
    }
}

/// A PKCS#10 request (RFC 2986) taken apart by hand: libraries refuse object identifiers with an arc as long as a UUID.
struct Parts<'a> {
    /// What is signed.
    info: &'a [u8],
    subject: Name,
    spki: &'a [u8],
    device_key: Option<&'a [u8]>,
    signature: &'a [u8],
}

impl<'a> Parts<'a> {
    fn read(der: &'a [u8]) -> der::Result<Self> {
        let mut whole = SliceReader::new(der)?;
        let (info, signature) = whole.sequence(|request| {
            let (info, algorithm) = (request.tlv_bytes()?, request.tlv_bytes()?);
            if algorithm != ECDSA_WITH_SHA256 {
                return Err(Tag::Sequence.value_error().into());
            }
            let signature: BitStringRef<'a> = request.decode()?;
            let whole = signature.as_bytes().ok_or_else(|| Tag::BitString.value_error())?;
            der::Result::Ok((info, whole))
        })?;
        whole.finish()?;
        let mut reader = SliceReader::new(info)?;
        let (subject, spki, attributes) = reader.sequence(|info| {
            if info.decode::<u8>()? != 0 {
                return Err(Tag::Integer.value_error().into());
            }
            der::Result::Ok((info.decode::<Name>()?, info.tlv_bytes()?, info.decode::<AnyRef<'a>>()?))
        })?;
        reader.finish()?;
        Ok(Self { info, subject, spki, device_key: device_key(attributes)?, signature })
    }

    fn verify(&self, key: &PublicKey) -> Result<()> {
        let verifying = VerifyingKey::from_sec1_bytes(&[&[4], key.0.as_ref()].concat())?;
        let signature = DerSignature::from_bytes(self.signature);
        let signature = signature.map_err(|_| anyhow!("the request's signature is not one of ECDSA"))?;
        let signed = verifying.verify(self.info, &signature);
        signed.map_err(|_| anyhow!("the request's signature does not verify"))
    }
}

/// The value of the one attribute that is the device key, among those of a request.
fn device_key<'a>(attributes: AnyRef<'a>) -> der::Result<Option<&'a [u8]>> {
    let mut found = None;
    let mut reader = SliceReader::new(attributes.value())?;
    while !reader.is_finished() {
        let (kind, values) = reader.sequence(|attribute| {
            der::Result::Ok((attribute.decode::<AnyRef<'a>>()?, attribute.decode::<AnyRef<'a>>()?))
        })?;
        if kind.value() != DEVICE_KEY {
            continue;
        }
        let mut values = SliceReader::new(values.value())?;
        if found.replace(values.tlv_bytes()?).is_some() {
            return Err(Tag::Set.value_error().into());
        }
        values.finish()?;
    }
    Ok(found)
}

fn subject_serial(name: &Name) -> Option<String> {
    let mut values = name.iter().filter(|value| value.oid == SERIAL_NUMBER);
    let value = values.next()?.value.value();
    values.next().is_none().then(|| String::from_utf8_lossy(value).into_owned())
}

/// The factory CA with its key.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

/// What the factory says of a device, DER.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Certified {
    /// Of the attestation key.
    pub attestation: Vec<u8>,
    /// Of the device key.
    pub device_key: Vec<u8>,
}

/// Makes the CA's certificate for its key; returns PEM.
pub fn self_signed(key: &SigningKey) -> Result<String> {
    Ok(ca_params().self_signed(&key_pair(key)?)?.pem())
}

/// The public key of a CA's certificate file.
pub fn holder_of_ca(certificate: &Path) -> Result<PublicKey> {
    let found = crate::tls::certificates(certificate)?;
    let key = found.first().and_then(|der| parse_attestation_key(&public_key_of(der)?));
    key.with_context(|| format!("{}: not the certificate of a P-256 key", certificate.display()))
}

impl Authority {
    /// The CA of a certificate file and its private key, which must belong together.
    pub fn open(certificate: &Path, key: &SigningKey) -> Result<Self> {
        let shown = certificate.display();
        let mut found = crate::tls::certificates(certificate)?;
        ensure!(found.len() == 1, "{shown} has {} certificates, expected one", found.len());
        let certificate = found.remove(0);
        let of = public_key_of(&certificate).and_then(|spki| parse_attestation_key(&spki));
        let public = trustbox_package::sign::public_key(key.verifying_key());
        ensure!(of == Some(public), "{shown} is the certificate of another key");
        Ok(Self { issuer: Issuer::new(ca_params(), key_pair(key)?), certificate })
    }

    /// Certifies both keys of a device. Only after [`Requested::attested`]: the claims are its proof.
    pub fn certify(&self, requested: &Requested, _attested: &Claims<'_>) -> Result<Certified> {
        let subject = |usage: KeyUsagePurpose, id: Bytes<32>| {
            let mut params = CertificateParams::default();
            let device = requested.device_id.to_string();
            let serial = DnValue::PrintableString(device.as_str().try_into()?);
            params.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 5]), serial);
            params.distinguished_name.push(DnType::CommonName, device);
            // Positive, and another for another key.
            params.serial_number = Some(SerialNumber::from([&[1], &id.0[..15]].concat()));
            params.key_usages = vec![usage];
            params.not_before = (SystemTime::now() - CLOCK_TOLERANCE).into();
            // The last second there is: it does not expire (RFC 5280, 4.1.2.5).
            params.not_after = rcgen::date_time_ymd(9999, 12, 31) + Duration::from_secs(86_399);
            params.use_authority_key_identifier_extension = true;
            anyhow::Ok(params)
        };
        let mut attestation = subject(KeyUsagePurpose::DigitalSignature, requested.attestation_key.id())?;
        attestation.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let attestation = attestation.signed_by(&Public::p256(&requested.attestation_key), &self.issuer)?;
        let device_key = subject(KeyUsagePurpose::KeyEncipherment, requested.device_key_id())?;
        let device_key = device_key.signed_by(&Public::rsa(&requested.device_key)?, &self.issuer)?;
        Ok(Certified { attestation: attestation.der().to_vec(), device_key: device_key.der().to_vec() })
    }

    /// Its certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }
}

fn key_pair(key: &SigningKey) -> Result<KeyPair> {
    let pem = key.to_pkcs8_pem(LineEnding::LF).map_err(|error| anyhow!("cannot encode a key: {error}"))?;
    KeyPair::from_pem(&pem).ok().context("the factory CA's key is not usable")
}

fn ca_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, COMMON_NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// A public key whose private half is elsewhere.
struct Public(Vec<u8>, &'static SignatureAlgorithm);

impl Public {
    fn p256(key: &PublicKey) -> Self {
        Self([&[4], key.0.as_ref()].concat(), &rcgen::PKCS_ECDSA_P256_SHA256)
    }

    fn rsa(spki: &[u8]) -> Result<Self> {
        let key = issue::parse_device_key(spki)?.to_pkcs1_der()?;
        Ok(Self(key.as_bytes().to_vec(), &rcgen::PKCS_RSA_SHA256))
    }
}

impl PublicKeyData for Public {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.1
    }
}

/// Whose a certificate is that the factory CA made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holder {
    /// The device.
    pub device_id: DeviceId,
    /// DER SubjectPublicKeyInfo of the key.
    pub spki: Vec<u8>,
}

/// Verifies a certificate against the factory's CAs, at a time in seconds since 1970.
pub fn verify_certificate(
    der: &[u8],
    factory: &[CertificateDer<'static>],
    at: u64,
) -> Result<Holder, String> {
    if factory.is_empty() {
        return Err("no factory CA is known".to_owned());
    }
    let anchors: Result<Vec<_>, _> = factory.iter().map(|der| anchor_from_trusted_cert(der)).collect();
    let anchors = anchors.map_err(|_| "the factory's certificate is not usable")?;
    let certificate = CertificateDer::from(der);
    let entity = EndEntityCert::try_from(&certificate)
        .map_err(|error| format!("the certificate is not one: {error}"))?;
    let time = UnixTime::since_unix_epoch(Duration::from_secs(at));
    let (algorithms, usage) = (webpki::ALL_VERIFICATION_ALGS, KeyUsage::client_auth());
    let verified = entity.verify_for_usage(algorithms, &anchors, &[], time, usage, None, None);
    verified.map_err(|error| format!("the certificate does not verify: {error}"))?;
    let parsed = Certificate::from_der(der).ok();
    let name = parsed.as_ref().and_then(|parsed| parsed.tbs_certificate().subject().common_name().ok()?);
    let device_id = name.and_then(|name| parse_hex(&name.value()));
    Ok(Holder {
        device_id: device_id.ok_or("the certificate's common name is no device id")?,
        spki: public_key_of(&certificate).ok_or("the certificate's key is not readable")?,
    })
}

fn public_key_of(der: &[u8]) -> Option<Vec<u8>> {
    Certificate::from_der(der).ok()?.tbs_certificate().subject_public_key_info().to_der().ok()
}

/// Reads what may be PEM with this label, of which the first block counts, or DER.
pub fn read_pem_or_der(path: &Path, label: &str) -> Result<Vec<u8>> {
    let bytes = files::read(path)?;
    if !bytes.starts_with(b"-----BEGIN ") {
        return Ok(bytes.to_vec());
    }
    let text = String::from_utf8_lossy(&bytes);
    let end = text.find("-----END ").and_then(|end| Some(end + text[end..].find('\n')?));
    let first = &text.as_bytes()[..end.unwrap_or(text.len())];
    let decoded = p256::pkcs8::der::pem::decode_vec(first);
    let (found, der) = decoded.map_err(|error| anyhow!("{}: {error}", path.display()))?;
    ensure!(found == label, "{} is a {found}, expected a {label}", path.display());
    Ok(der)
}

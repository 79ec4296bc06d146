//! `trustbox-keys certify`: the factory's certificates of a device's two keys.

use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use clap::Args;
use serde_json::json;
use trustbox_keys::factory::{Authority, Requested, read_pem_or_der};
use trustbox_keys::{SigningKey, files, reference};
use trustbox_package::request::hex_bytes_of;
use trustbox_verifier::{Tier, appraise};

/// Certifies both keys of a device. It must have signed the request, and a token over your nonce that binds the same device key.
#[derive(Args)]
pub(crate) struct Certify {
    /// What `trustbox csr` wrote on the device, PEM or DER
    #[arg(long, value_name = "FILE")]
    csr: PathBuf,
    /// What `trustbox attest --nonce NONCE --out` wrote on the device
    #[arg(long, value_name = "FILE")]
    token: PathBuf,
    /// The nonce that was given to the device, in hexadecimal digits
    #[arg(long, value_name = "HEX")]
    nonce: String,
    /// Private key of the factory CA
    #[arg(long, value_name = "KEY")]
    pub(crate) ca_key: PathBuf,
    /// Certificate of the factory CA
    #[arg(long, value_name = "FILE")]
    ca: PathBuf,
    /// What is expected of the device, in TOML; may be repeated. Where it is not so, there is no certificate
    #[arg(long = "reference", value_name = "FILE")]
    references: Vec<PathBuf>,
    /// Where to write the certificates, PEM: of the attestation key, of the device key, of the CA
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Print what the registry takes to enrol the device, JSON
    #[arg(long)]
    json: bool,
}

impl Certify {
    pub(crate) fn run(&self, key: &SigningKey) -> Result<()> {
        ensure!(!self.out.exists(), "{} is there already\nhelp: name another file", self.out.display());
        let authority = Authority::open(&self.ca, key)?;
        let requested = Requested::read(&read_pem_or_der(&self.csr, "CERTIFICATE REQUEST")?)?;
        let (token, nonce) = (files::read(&self.token)?, hex_bytes_of(&self.nonce));
        let Some(nonce) = nonce else { bail!("--nonce: not hexadecimal digits") };
        let claims = requested.attested(&token, &nonce)?;
        let appraisal = appraise(&claims, &reference::read(&self.references, &[])?);
        if let Some(wrong) = appraisal.findings.iter().find(|found| found.tier == Tier::Contraindicated) {
            bail!("the device is not as it should be: {}: {}", wrong.claim, wrong.reason);
        }
        let certified = authority.certify(&requested, &claims)?;
        let chain = [&certified.attestation, &certified.device_key, &authority.certificate().to_vec()];
        let pem = chain.map(|der| pem(der)).concat();
        files::write(&self.out, pem.as_bytes())?;
        if self.json {
            let entry = json!({
                "device_id": requested.device_id.to_string(),
                "attestation_key": BASE64_STANDARD.encode(requested.attestation_key.spki()),
                "device_key_sha256": requested.device_key_id().to_string(),
                "certificate": BASE64_STANDARD.encode(&certified.attestation),
                "device_key_certificate": BASE64_STANDARD.encode(&certified.device_key),
            });
            println!("{entry}");
        } else {
            println!("device {}: {}", requested.device_id, self.out.display());
        }
        Ok(())
    }
}

fn pem(der: &[u8]) -> String {
    let text = p256::pkcs8::der::pem::encode_string("CERTIFICATE", p256::pkcs8::LineEnding::LF, der);
    text.unwrap_or_default()
}

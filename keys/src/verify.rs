//! `trustbox-keys verify`: whether to believe a device's attestation token, claim by claim.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use serde_json::{Value, json};
use trustbox_api::{DeviceId, PublicKey};
use trustbox_keys::evidence::Verified;
use trustbox_keys::factory::{read_pem_or_der, verify_certificate};
use trustbox_keys::protocol::parse_attestation_key;
use trustbox_keys::{files, reference, service, tls};
use trustbox_package::request::hex_bytes_of;
use trustbox_verifier::{Appraisal, Tier, appraise};

/// Verifies an attestation token, a device's own or an enclave's report: signature, nonce, and each claim against reference
/// values. Exit status 1 where it is not to be believed, or a claim is not as it should be.
#[derive(Args)]
pub(crate) struct Verify {
    /// The token, as `trustbox attest --out` writes it, or as an enclave handed it out
    token: PathBuf,
    /// The nonce that was given to the device, in hexadecimal digits
    #[arg(long, value_name = "HEX")]
    nonce: String,
    /// The device's attestation key, in PEM
    #[arg(long, value_name = "KEY", required_unless_present = "certificate")]
    key: Option<PathBuf>,
    /// The factory's certificate of the device, PEM or DER; more certificates behind it do not matter
    #[arg(long, value_name = "FILE", requires = "factory_ca", conflicts_with = "key")]
    certificate: Option<PathBuf>,
    /// Certificate of the factory CA
    #[arg(long, value_name = "FILE", requires = "certificate")]
    factory_ca: Option<PathBuf>,
    /// What is expected of the device, in TOML; may be repeated. What it does not name is a warning
    #[arg(long = "reference", value_name = "FILE")]
    references: Vec<PathBuf>,
    /// Who must have signed what is expected, FILE.sig beside each file: one key for all of them, or repeated, one for each
    #[arg(long = "reference-key", value_name = "KEY", requires = "references")]
    reference_keys: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(crate) fn run(&self) -> Result<()> {
        let bytes = files::read(&self.token)?;
        let (device, key) = self.device()?;
        let nonce = hex_bytes_of(&self.nonce).ok_or_else(|| anyhow!("--nonce: not hexadecimal digits"))?;
        let signers = self.reference_keys.iter().map(|path| files::load_public(path));
        let reference = reference::read(&self.references, &signers.collect::<Result<Vec<_>>>()?)?;
        let verified = Verified::parse(&bytes, &key, &nonce);
        let verified = verified.map_err(|refusal| anyhow!("{}: {refusal}", self.token.display()))?;
        let appraisal = appraise(verified.claims(), &reference);
        self.show(&verified, &appraisal, device)?;
        if appraisal.status == Tier::Contraindicated {
            let wrong = appraisal.findings.iter().filter(|finding| finding.tier == Tier::Contraindicated);
            let wrong: Vec<_> = wrong.map(|finding| finding.claim.as_str()).collect();
            bail!("{}: the device is not as it should be: {}", self.token.display(), wrong.join(", "));
        }
        Ok(())
    }

    /// The key to believe, and the device where a certificate says which.
    fn device(&self) -> Result<(Option<DeviceId>, PublicKey)> {
        if let Some(key) = &self.key {
            return Ok((None, files::load_public(key)?));
        }
        let (Some(certificate), Some(factory_ca)) = (&self.certificate, &self.factory_ca) else {
            bail!("neither a key nor a certificate");
        };
        let der = read_pem_or_der(certificate, "CERTIFICATE")?;
        let holder = verify_certificate(&der, &tls::certificates(factory_ca)?, service::now());
        let holder = holder.map_err(|reason| anyhow!("{}: {reason}", certificate.display()))?;
        let key = parse_attestation_key(&holder.spki);
        let key = key.with_context(|| format!("{}: not of an attestation key", certificate.display()))?;
        Ok((Some(holder.device_id), key))
    }

    fn show(&self, verified: &Verified<'_>, appraisal: &Appraisal, device: Option<DeviceId>) -> Result<()> {
        if self.json {
            println!("{}", serde_json::to_string_pretty(&to_json(verified, appraisal, device)?)?);
            return Ok(());
        }
        if let Some(device) = device {
            println!("certificate verified, device {device}");
        }
        let [attestation_key, _] = verified.keys();
        println!("signature and nonce verified, attestation key {attestation_key}");
        verified.lines().iter().for_each(|line| println!("{line}"));
        for finding in &appraisal.findings {
            println!("{:<16}{:<40} {}", tier(finding.tier), finding.claim, finding.reason);
        }
        println!("{}", tier(appraisal.status));
        Ok(())
    }
}

fn to_json(verified: &Verified<'_>, appraisal: &Appraisal, device: Option<DeviceId>) -> Result<Value> {
    let [attestation_key, wrapping_key] = verified.keys();
    Ok(json!({
        "device_id": device.map(|device| device.to_string()),
        "attestation_key_sha256": attestation_key.to_string(),
        "wrapping_key_sha256": wrapping_key.to_string(),
        "enclave": verified.enclave(),
        "appraisal": serde_json::to_value(appraisal)?,
    }))
}

const fn tier(tier: Tier) -> &'static str {
    match tier {
        Tier::Affirming => "affirming",
        Tier::Warning => "warning",
        Tier::Contraindicated => "contraindicated",
    }
}

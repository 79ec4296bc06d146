//! `trustbox-keys verify`: whether to believe a device's attestation token, claim by claim.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use serde_json::{Value, json};
use trustbox_api::Bytes;
use trustbox_keys::files;
use trustbox_verifier::{Appraisal, Claims, ReferenceValues, Tier, Token, appraise};

/// Verifies an attestation token: signature, nonce, and each claim against reference values. Exit status 1 where it is not
/// to be believed, or a claim is not as it should be.
#[derive(Args)]
pub(crate) struct Verify {
    /// The token, as `trustbox attest --out` writes it
    token: PathBuf,
    /// The nonce that was given to the device, in hexadecimal digits
    #[arg(long, value_name = "HEX")]
    nonce: String,
    /// The device's attestation key, in PEM: that of its certificate
    #[arg(long, value_name = "KEY")]
    key: PathBuf,
    /// What is expected of the device, in TOML; what it does not name is a warning
    #[arg(long, value_name = "FILE")]
    reference: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(crate) fn run(&self) -> Result<()> {
        let bytes = files::read(&self.token)?;
        let key = files::load_public(&self.key)?;
        let nonce = bytes_of_hex(&self.nonce).ok_or_else(|| anyhow!("--nonce: not hexadecimal digits"))?;
        let reference = self.reference_values()?;
        let parsed = Token::parse(&bytes).and_then(|token| token.verify(&key, &nonce));
        let claims = parsed.map_err(|refusal| anyhow!("{}: {refusal}", self.token.display()))?;
        let appraisal = appraise(&claims, &reference);
        self.show(&claims, &appraisal)?;
        if appraisal.status == Tier::Contraindicated {
            bail!("{}: the device is not as it should be", self.token.display());
        }
        Ok(())
    }

    fn reference_values(&self) -> Result<ReferenceValues> {
        let Some(path) = &self.reference else { return Ok(ReferenceValues::default()) };
        let text = String::from_utf8(files::read(path)?.to_vec())?;
        toml::from_str(&text).with_context(|| format!("{}: not reference values", path.display()))
    }

    fn show(&self, claims: &Claims<'_>, appraisal: &Appraisal) -> Result<()> {
        if self.json {
            println!("{}", serde_json::to_string_pretty(&to_json(claims, appraisal)?)?);
            return Ok(());
        }
        println!("signature and nonce verified, attestation key {}", Bytes(claims.attestation_key));
        for finding in &appraisal.findings {
            println!("{:<16}{:<40} {}", tier(finding.tier), finding.claim, finding.reason);
        }
        println!("{}", tier(appraisal.status));
        Ok(())
    }
}

fn to_json(claims: &Claims<'_>, appraisal: &Appraisal) -> Result<Value> {
    Ok(json!({
        "attestation_key_sha256": Bytes(claims.attestation_key).to_string(),
        "wrapping_key_sha256": Bytes(claims.wrapping_key).to_string(),
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

fn bytes_of_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let whole = digits.len().is_multiple_of(2) && digits.iter().all(u8::is_ascii_hexdigit);
    whole.then(|| digits.chunks(2).map(byte).collect()).flatten()
}

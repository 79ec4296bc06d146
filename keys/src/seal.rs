//! `trustbox-keys seal`: data for one enclave on one device, whose report says that it holds the key.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use getrandom::rand_core::UnwrapErr;
use serde_json::json;
use trustbox_api::Bytes;
use trustbox_api::key::Uuid;
use trustbox_keys::files;
use trustbox_package::request::{hex_bytes_of, parse_hex};
use trustbox_verifier::{Report, Token, lifecycle_name};

/// The lifecycle claim of a device that the factory is done with.
const SECURED: u64 = 0x3000;

/// Seals a file to exactly the enclave that made a report, after verifying it: HPKE (RFC 9180). Nothing is written where the
/// report is not to be believed.
#[derive(Args)]
pub(crate) struct Seal {
    /// What to seal
    file: PathBuf,
    /// The enclave's report over the nonce, as it handed it out
    #[arg(long, value_name = "FILE")]
    report: PathBuf,
    /// The nonce that was given to the enclave, in hexadecimal digits
    #[arg(long, value_name = "HEX")]
    nonce: String,
    /// The device's attestation key, in PEM: that of its certificate
    #[arg(long, value_name = "KEY")]
    key: PathBuf,
    /// UUID of the enclave that is meant
    #[arg(long)]
    uuid: Uuid,
    /// SHA-256 of its signed image, 64 hexadecimal digits; left out, any that the device launched will do
    #[arg(long, value_name = "HEX")]
    digest: Option<String>,
    /// Its lowest version
    #[arg(long, value_name = "N", default_value_t = 0)]
    min_version: u32,
    /// Also seal to a device that is not secured: the factory is not done with it, or its firmware is for development
    #[arg(long)]
    not_secured: bool,
    /// File for the sealed message
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Seal {
    pub(crate) fn run(&self) -> Result<()> {
        let bytes = files::read(&self.report)?;
        let report = self.verified(&bytes)?;
        let key = report.transport_key.with_context(|| {
            format!(
                "{}: the report has no transport key\nhelp: the enclave makes it with `Transport::offer`",
                self.report.display()
            )
        })?;
        let data = files::read(&self.file)?;
        let sealed =
            trustbox_transport::seal(&report.enclave, &key, &data, &mut UnwrapErr(getrandom::SysRng));
        let sealed = sealed.with_context(|| self.report.display().to_string())?;
        files::write(&self.out, &sealed)?;
        self.show(&report, sealed.len());
        Ok(())
    }

    fn show(&self, report: &Report<'_>, sealed: usize) {
        let (enclave, device) = (&report.enclave, Bytes(report.claims.attestation_key));
        if self.json {
            println!(
                "{}",
                json!({
                    "attestation_key_sha256": device.to_string(), "enclave": enclave.uuid.to_string(),
                    "version": enclave.version, "digest": enclave.digest.to_string(),
                    "publisher": enclave.publisher.to_string(), "sealed_bytes": sealed,
                })
            );
            return;
        }
        println!("report verified: enclave {} version {}", enclave.uuid, enclave.version);
        println!("digest {}, publisher {}", enclave.digest, enclave.publisher);
        println!("device with attestation key {device}, {}", lifecycle_name(report.claims.lifecycle));
        println!("sealed: {} ({sealed} bytes)", self.out.display());
    }

    /// The report, if it is one of the device's key over this nonce, and about the enclave that is meant.
    fn verified<'a>(&self, bytes: &'a [u8]) -> Result<Report<'a>> {
        let name = self.report.display();
        let key = files::load_public(&self.key)?;
        let nonce = hex_bytes_of(&self.nonce).ok_or_else(|| anyhow!("--nonce: not hexadecimal digits"))?;
        let report = Token::parse(bytes).and_then(|token| token.verify_report(&key, &nonce));
        let report = report.map_err(|refusal| anyhow!("{name}: {refusal}"))?;
        let enclave = &report.enclave;
        if enclave.uuid != self.uuid {
            bail!("{name}: of enclave {}, not {}", enclave.uuid, self.uuid);
        }
        if let Some(wanted) = &self.digest
            && enclave.digest != digits(wanted, "--digest")?
        {
            bail!("{name}: of an image with digest {}, not {wanted}", enclave.digest);
        }
        if enclave.version < self.min_version {
            bail!("{name}: of version {}, at least {} is wanted", enclave.version, self.min_version);
        }
        if report.claims.lifecycle != SECURED && !self.not_secured {
            bail!(
                "{name}: the device is {}, not secured\nhelp: --not-secured seals to it nevertheless",
                lifecycle_name(report.claims.lifecycle)
            );
        }
        Ok(report)
    }
}

fn digits<const N: usize>(text: &str, option: &str) -> Result<Bytes<N>> {
    parse_hex(text).ok_or_else(|| anyhow!("{option}: not {} hexadecimal digits", 2 * N))
}

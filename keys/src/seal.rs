//! `trustbox-keys seal`: data for one enclave on one device, whose report says that it holds the key.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use getrandom::rand_core::UnwrapErr;
use serde_json::json;
use trustbox_api::Bytes;
use trustbox_api::command::Lifecycle;
use trustbox_api::evidence::{Evidence, Report};
use trustbox_api::key::Uuid;
use trustbox_api::message::Nonce;
use trustbox_keys::files;
use trustbox_package::request::parse_hex;
use trustbox_package::verify;

/// Seals a file to exactly the enclave that made a report, after verifying it: HPKE (RFC 9180). Nothing is written where the
/// report is not to be believed.
#[derive(Args)]
pub(crate) struct Seal {
    /// What to seal
    file: PathBuf,
    /// The enclave's report over the nonce, as it handed it out
    #[arg(long, value_name = "FILE")]
    report: PathBuf,
    /// The nonce that was given to the enclave, 64 hexadecimal digits
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
    /// Also seal to a device that the factory is not done with
    #[arg(long)]
    not_locked: bool,
    /// File for the sealed message
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Seal {
    pub(crate) fn run(&self) -> Result<()> {
        let report = self.verified()?;
        let data = files::read(&self.file)?;
        let sealed = trustbox_transport::seal(&report, &data, &mut UnwrapErr(getrandom::SysRng));
        let sealed = sealed.with_context(|| self.report.display().to_string())?;
        files::write(&self.out, &sealed)?;
        let enclave = &report.enclave;
        if self.json {
            println!(
                "{}",
                json!({
                    "device_id": report.device_id.to_string(), "enclave": enclave.uuid.to_string(),
                    "version": enclave.version, "digest": enclave.digest.to_string(),
                    "publisher": enclave.publisher.to_string(), "sealed_bytes": sealed.len(),
                })
            );
            return Ok(());
        }
        println!("report verified: enclave {} version {}", enclave.uuid, enclave.version);
        println!("digest {}, publisher {}", enclave.digest, enclave.publisher);
        println!("device {}, {:?}, firmware {:?}", report.device_id, report.lifecycle, report.profile);
        println!("sealed: {} ({} bytes)", self.out.display(), sealed.len());
        Ok(())
    }

    /// The report, if it is one of the device's key over this nonce, and about the enclave that is meant.
    fn verified(&self) -> Result<Report> {
        let name = self.report.display();
        let key = files::load_public(&self.key)?;
        let nonce: Nonce = digits(&self.nonce, "--nonce")?;
        let evidence = verify::evidence(&files::read(&self.report)?, &key);
        let Evidence::Report(report) = evidence.with_context(|| name.to_string())? else {
            bail!("{name}: evidence, but no enclave's report");
        };
        let enclave = &report.enclave;
        if report.nonce != nonce {
            bail!(
                "{name}: over nonce {}, not {nonce}\nhelp: ask the enclave again with a new nonce",
                report.nonce
            );
        }
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
        if report.lifecycle != Lifecycle::Locked && !self.not_locked {
            bail!(
                "{name}: the device is {:?}, not locked\nhelp: --not-locked seals to it nevertheless",
                report.lifecycle
            );
        }
        Ok(report)
    }
}

fn digits<const N: usize>(text: &str, option: &str) -> Result<Bytes<N>> {
    parse_hex(text).ok_or_else(|| anyhow!("{option}: not {} hexadecimal digits", 2 * N))
}

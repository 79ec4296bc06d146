//! `trustbox-keys return-order` and `take-back`: devices that come back.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use trustbox_keys::SigningKey;
use trustbox_keys::factory::holder_of_ca;
use trustbox_keys::files;
use trustbox_keys::service::now;
use trustbox_keys::station::link::Place;
use trustbox_keys::station::returned::Order;
use trustbox_keys::station::signed::VOUCHER;
use trustbox_keys::station::{Config, Station};

/// The owner's word that a device came back: for this device, and the last voucher that it has.
#[derive(Args)]
pub(crate) struct ReturnOrder {
    /// The device's last voucher
    voucher: PathBuf,
    /// Certificate of the factory CA
    #[arg(long, value_name = "FILE")]
    factory_ca: PathBuf,
    /// Private key of the owner root
    #[arg(long, value_name = "KEY")]
    root: PathBuf,
    /// Why it came back
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Where the order goes
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Takes a device back: it loses everything secret, for ever, and a receipt says so. Without it nobody opens a device.
#[derive(Args)]
pub(crate) struct TakeBack {
    /// The line's configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The device: unix:PATH for an emulated one, ssh:[USER@]HOST or serial:PATH[@SPEED] for a board
    #[arg(long, value_name = "PLACE")]
    device: Place,
    /// What return-order wrote
    #[arg(long, value_name = "FILE")]
    order: PathBuf,
    /// Private key of the owner root
    #[arg(long, value_name = "KEY")]
    root: PathBuf,
    /// Do it: nothing brings back what the device holds
    #[arg(long)]
    yes: bool,
}

impl ReturnOrder {
    pub(crate) fn run(&self, load: impl Fn(&Path) -> Result<SigningKey>) -> Result<()> {
        let file = files::read(&self.voucher)?;
        let says = VOUCHER.verify(&file, &holder_of_ca(&self.factory_ca)?);
        let says = says.with_context(|| self.voucher.display().to_string())?;
        let order = Order {
            device_id: says["device_id"].as_str().context("the voucher names no device")?.to_owned(),
            voucher: VOUCHER.fingerprint(&file)?.to_string(),
            reason: self.reason.clone(),
            time: now(),
        };
        files::write(&self.out, &order.sign(&load(&self.root)?)?)
    }
}

impl TakeBack {
    pub(crate) fn run(&self, load: impl Fn(&Path) -> Result<SigningKey>) -> Result<()> {
        if !self.yes {
            bail!(
                "the device would lose its keys, class keys, enclaves and their data for ever\nhelp: repeat with --yes to do it"
            );
        }
        let station = Station::open(Config::load(&self.config)?, false, &load)?;
        let root = load(&self.root)?;
        match station.take_back(&self.device, &files::read(&self.order)?, &root) {
            Ok(()) => {
                println!("decommissioned, read back; the receipt is in the journal's folder");
                Ok(())
            }
            Err(failure) => bail!("{failure}\nhelp: {}", failure.help),
        }
    }
}

//! `trustbox-keys station`, `devices` and `voucher`: the factory's line.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args;
use serde_json::{Value, json};
use trustbox_keys::SigningKey;
use trustbox_keys::factory::holder_of_ca;
use trustbox_keys::files;
use trustbox_keys::station::journal::{self, State};
use trustbox_keys::station::label;
use trustbox_keys::station::link::Place;
use trustbox_keys::station::outbox::Sent;
use trustbox_keys::station::signed::VOUCHER;
use trustbox_keys::station::{Config, How, Progress, Station};
use x509_cert::der::DateTime;

/// Makes devices of blank boards, several at once: identity, certificates, owner, class keys, lock, voucher. Exit status 1 where
/// one did not pass; the same again goes on where each device is.
#[derive(Args)]
pub(crate) struct Run {
    /// The line's configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// A device: unix:PATH for an emulated one, ssh:[USER@]HOST or serial:PATH[@SPEED] for a board; may be repeated
    #[arg(long = "device", value_name = "NAME=PLACE", required = true, value_parser = parse_device)]
    devices: Vec<(String, Place)>,
    /// The owner's word that a device came back and may be made anew; may be repeated
    #[arg(long = "returned", value_name = "FILE")]
    returned: Vec<PathBuf>,
    /// Progress and results as lines of JSON
    #[arg(long)]
    json: bool,
    /// The terminal's bell for each device: once for one that passed, three times for one that did not
    #[arg(long, conflicts_with = "json")]
    bell: bool,
    /// Takes devices whose hardware unique key is a test key or a stub. NOT-TRUSTED
    #[arg(long)]
    dangerously_any_hardware_key: bool,
}

/// Tells the registry what became of devices, as far as it has not heard yet: for a line that was offline.
#[derive(Args)]
pub(crate) struct Sync {
    /// The line's configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// Lists what became of devices: a report of a line, as lines for people, CSV or JSON.
#[derive(Args)]
pub(crate) struct Devices {
    /// Folder of the journal
    journal: PathBuf,
    #[command(flatten)]
    within: Within,
    /// As CSV
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// As lines of JSON
    #[arg(long)]
    json: bool,
}

/// The label of a device: the fingerprint of its voucher as a QR code, SVG.
#[derive(Args)]
pub(crate) struct Label {
    /// The voucher, which must verify
    file: PathBuf,
    /// Certificate of the factory CA
    #[arg(long, value_name = "FILE")]
    factory_ca: PathBuf,
    /// Where the label goes
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// What customers get of the devices that passed: vouchers, certificates and fingerprints as lines of JSON, or a list as CSV. What
/// does not verify is an error, and nothing is written.
#[derive(Args)]
pub(crate) struct Export {
    /// Folder of the journal
    journal: PathBuf,
    /// Certificate of the factory CA
    #[arg(long, value_name = "FILE")]
    factory_ca: PathBuf,
    #[command(flatten)]
    within: Within,
    /// Only devices of this SKU
    #[arg(long)]
    sku: Option<String>,
    /// A list as CSV, without vouchers and certificates
    #[arg(long)]
    csv: bool,
    /// Where it goes
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// A shift.
#[derive(Args)]
pub(crate) struct Within {
    /// Not before this moment: 2026-11-26T06:00:00Z, or seconds since 1970
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    since: Option<u64>,
    /// Before this moment
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    until: Option<u64>,
}

/// Verifies a device's voucher and prints what it says.
#[derive(Args)]
pub(crate) struct Voucher {
    /// The voucher
    file: PathBuf,
    /// Certificate of the factory CA
    #[arg(long, value_name = "FILE")]
    factory_ca: PathBuf,
}

impl Run {
    pub(crate) fn run(&self, load: impl Fn(&Path) -> Result<SigningKey>) -> Result<()> {
        let mut names: Vec<_> = self.devices.iter().map(|(name, _)| name).collect();
        names.sort();
        names.dedup();
        ensure!(names.len() == self.devices.len(), "two devices have the same name");
        let mut station =
            Station::open(Config::load(&self.config)?, self.dangerously_any_hardware_key, load)?;
        for path in &self.returned {
            station.take_returned(&files::read(path)?).with_context(|| path.display().to_string())?;
        }
        let outcomes = station.run(&self.devices, &Progress::new(self.how()));
        if !station.is_offline() {
            // What does not get there now waits in the outbox.
            match station.sync() {
                Ok(sent) => sent.refused.iter().for_each(say_refused),
                Err(error) => eprintln!(
                    "warning: the registry does not hear of this yet: {error:#}\nhelp: trustbox-keys sync"
                ),
            }
        }
        let failed = outcomes.iter().filter(|outcome| outcome.result.is_err()).count();
        match failed {
            0 => Ok(()),
            _ => bail!("{failed} of {} devices did not pass", outcomes.len()),
        }
    }

    fn how(&self) -> How {
        match (self.json, self.bell) {
            (true, _) => How::Json,
            (_, true) => How::Bell,
            _ => How::Lines,
        }
    }
}

impl Sync {
    pub(crate) fn run(&self, load: impl Fn(&Path) -> Result<SigningKey>) -> Result<()> {
        let station = Station::open(Config::load(&self.config)?, false, load)?;
        let Sent { taken, refused } = station.sync()?;
        refused.iter().for_each(say_refused);
        println!("{taken} reports taken, {} refused", refused.len());
        ensure!(refused.is_empty(), "{} reports are refused, and stay in the outbox", refused.len());
        Ok(())
    }
}

fn say_refused((path, why): &(PathBuf, String)) {
    eprintln!("refused: {}: {why}", path.display());
}

impl Devices {
    pub(crate) fn run(&self) -> Result<()> {
        let mut entries = journal::entries(&self.journal)?;
        entries.retain(|entry| self.within.holds(entry.time));
        if self.csv {
            println!("device_id,state,step,time,station,failure");
        }
        for entry in &entries {
            let state = serde_json::to_value(entry.state)?;
            let (state, failure) =
                (state.as_str().unwrap_or_default(), entry.failure.as_deref().unwrap_or(""));
            let (id, step, time, station) = (&entry.device_id, &entry.step, entry.time, &entry.station);
            if self.json {
                println!(
                    "{}",
                    json!({"device_id": id, "state": state, "step": step, "time": time, "station": station, "failure": entry.failure})
                );
            } else if self.csv {
                println!("{id},{state},{step},{time},{},{}", quoted(station), quoted(failure));
            } else {
                println!("{id}  {state:<8}{step:<12}{failure}");
            }
        }
        if !self.csv && !self.json {
            let passed = entries.iter().filter(|entry| entry.state == State::Passed).count();
            println!("{passed} of {} passed", entries.len());
        }
        Ok(())
    }
}

impl Voucher {
    pub(crate) fn run(&self) -> Result<()> {
        let (file, key) = (files::read(&self.file)?, holder_of_ca(&self.factory_ca)?);
        let shown = VOUCHER.verify(&file, &key).with_context(|| self.file.display().to_string())?;
        println!("{}", serde_json::to_string_pretty(&shown)?);
        Ok(())
    }
}

impl Within {
    fn holds(&self, time: u64) -> bool {
        self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time < until)
    }
}

impl Label {
    pub(crate) fn run(&self) -> Result<()> {
        let (file, key) = (files::read(&self.file)?, holder_of_ca(&self.factory_ca)?);
        VOUCHER.verify(&file, &key).with_context(|| self.file.display().to_string())?;
        let svg = label::svg(&VOUCHER.fingerprint(&file)?.to_string())?;
        files::write(&self.out, svg.as_bytes())
    }
}

impl Export {
    pub(crate) fn run(&self) -> Result<()> {
        let key = holder_of_ca(&self.factory_ca)?;
        let (mut text, mut count) = (String::new(), 0);
        if self.csv {
            text.push_str("device_id,sku,time,voucher,device_key_sha256\n");
        }
        for entry in journal::entries(&self.journal)? {
            if entry.state != State::Passed || !self.within.holds(entry.time) {
                continue;
            }
            let path = self.journal.join(format!("{}.voucher.json", entry.device_id));
            let file = files::read(&path)?;
            let says = VOUCHER.verify(&file, &key).with_context(|| path.display().to_string())?;
            ensure!(says["device_id"] == entry.device_id, "{}: of another device", path.display());
            let (sku, fingerprint) = (says["sku"].as_str().unwrap_or_default(), VOUCHER.fingerprint(&file)?);
            if self.sku.as_deref().is_some_and(|wanted| wanted != sku) {
                continue;
            }
            let certified = entry.entry.as_ref().context("a device that passed has no certificates")?;
            let (id, key) = (&entry.device_id, &certified.device_key_sha256);
            count += 1;
            if self.csv {
                text.push_str(&format!("{id},{},{},{fingerprint},{key}\n", quoted(sku), entry.time));
                continue;
            }
            let voucher: Value = serde_json::from_slice(&file)?;
            let line = json!({"device_id": id, "sku": sku, "time": entry.time, "fingerprint": fingerprint.to_string(),
                "certificate": certified.certificate, "device_key_certificate": certified.device_key_certificate, "voucher": voucher});
            text.push_str(&format!("{line}\n"));
        }
        files::write(&self.out, text.as_bytes())?;
        println!("{count} devices");
        Ok(())
    }
}

fn parse_time(text: &str) -> Result<u64> {
    if let Ok(seconds) = text.parse() {
        return Ok(seconds);
    }
    let time: DateTime =
        text.parse().map_err(|_| anyhow!("neither 2026-11-26T06:00:00Z nor seconds since 1970"))?;
    Ok(time.unix_duration().as_secs())
}

/// A field of CSV (RFC 4180), and no formula for whoever opens it in a spreadsheet.
fn quoted(text: &str) -> String {
    let guard = if text.starts_with(['=', '+', '-', '@']) { "'" } else { "" };
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}

fn parse_device(text: &str) -> Result<(String, Place)> {
    let (name, place) = text.split_once('=').context("a device is NAME=PLACE")?;
    ensure!(!name.is_empty(), "a device is NAME=PLACE");
    Ok((name.to_owned(), place.parse()?))
}

//! `trustbox-keys station`, `devices` and `voucher`: the factory's line.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::json;
use trustbox_keys::SigningKey;
use trustbox_keys::factory::holder_of_ca;
use trustbox_keys::files;
use trustbox_keys::station::journal::{self, State};
use trustbox_keys::station::link::Place;
use trustbox_keys::station::outbox::Sent;
use trustbox_keys::station::signed::VOUCHER;
use trustbox_keys::station::{Config, Progress, Station};

/// Makes devices of blank boards, several at once: identity, certificates, owner, class keys, lock, voucher. Exit status 1 where
/// one did not pass; the same again goes on where each device is.
#[derive(Args)]
pub(crate) struct Run {
    /// The line's configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// A device: unix:PATH for an emulated one, ssh:[USER@]HOST for a board; may be repeated
    #[arg(long = "device", value_name = "NAME=PLACE", required = true, value_parser = parse_device)]
    devices: Vec<(String, Place)>,
    /// Progress and results as lines of JSON
    #[arg(long)]
    json: bool,
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
    /// As CSV
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// As lines of JSON
    #[arg(long)]
    json: bool,
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
        let station = Station::open(Config::load(&self.config)?, self.dangerously_any_hardware_key, load)?;
        let outcomes = station.run(&self.devices, &Progress::new(self.json));
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
        let entries = journal::entries(&self.journal)?;
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

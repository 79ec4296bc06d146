//! The boot report: one line of JSON on the console, which says what runs and how it is closed, as it is found on the device.
//!
//! Nothing in it is believed by anybody who does not trust this Linux: that is what attestation is for.

mod hardening;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::early::Verity;
use crate::{block, enclave, storage};

/// The report's first field; whoever reads a console looks for it.
const FORMAT: u32 = 1;
const CONSOLE: &str = "/dev/console";
/// What the image says of itself.
const IMAGE: &str = "/usr/lib/trustbox/image.json";
/// Lines that are shown of a unit that failed.
const LINES: &str = "3";

/// Looks, and writes the line.
pub(crate) fn run() -> Result<()> {
    let command_line = fs::read_to_string("/proc/cmdline")?;
    let report = json!({
        "trustbox_report": FORMAT,
        "image": image()?,
        "slot": block::slot().map(String::from).unwrap_or_default(),
        "root": Verity::from_command_line(&command_line)?.hash,
        "tee": tee(),
        "enclave": fs::read_to_string(enclave::ANSWER).ok(),
        "storage": storage::PLACES.map(|(name, target, _)| json!({"partition": name, "mounted": is_mounted(target)})),
        "failed": failed(),
        "hardening": hardening::look(Path::new("/"), &command_line)?,
        "units": units(),
        "seconds": uptime(),
    });
    let mut console =
        OpenOptions::new().write(true).open(CONSOLE).with_context(|| format!("cannot open {CONSOLE}"))?;
    console.write_all(format!("\n{report}\n").as_bytes()).with_context(|| format!("cannot write {CONSOLE}"))
}

/// What the image says of itself.
pub(crate) fn image() -> Result<Value> {
    let text = fs::read(IMAGE).with_context(|| format!("cannot read {IMAGE}"))?;
    serde_json::from_slice(&text).with_context(|| format!("{IMAGE} is not JSON"))
}

fn tee() -> Value {
    let output = Command::new("/usr/bin/trustbox").args(["--json", "info"]).output();
    let answer = output.map(|output| serde_json::from_slice(&output.stdout).unwrap_or(Value::Null));
    answer.unwrap_or(Value::Null)
}

fn is_mounted(target: &str) -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts.lines().any(|line| line.split(' ').nth(1) == Some(target))
}

/// Units that failed, with the last that they said.
fn failed() -> Value {
    let listed = lines("/usr/bin/systemctl", &["list-units", "--failed", "--plain", "--no-legend"]);
    let units = listed.iter().filter_map(|line| line.split_whitespace().next());
    let said = |unit: &str| lines("/usr/bin/journalctl", &["-b", "-q", "-o", "cat", "-n", LINES, "-u", unit]);
    units.map(|unit| (unit.to_owned(), json!(said(unit)))).collect::<serde_json::Map<_, _>>().into()
}

/// When each unit of ours was done, in seconds after the kernel started.
fn units() -> Value {
    let words = [
        "show",
        "--property=Id,ActiveEnterTimestampMonotonic",
        "trustbox-*.service",
        "tee-supplicant.service",
    ];
    let mut found = serde_json::Map::new();
    let mut name = String::new();
    for line in lines("/usr/bin/systemctl", &words) {
        match line.split_once('=') {
            Some(("Id", value)) => value.clone_into(&mut name),
            Some((_, value)) => {
                let time = value.parse::<f64>().ok().filter(|time| *time > 0.0);
                drop(time.map(|time| found.insert(name.clone(), (time / 1e6).into())));
            }
            None => {}
        }
    }
    found.into()
}

fn lines(program: &str, words: &[&str]) -> Vec<String> {
    let output = Command::new(program).args(words).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn uptime() -> f64 {
    let text = fs::read_to_string("/proc/uptime").unwrap_or_default();
    text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or_default()
}

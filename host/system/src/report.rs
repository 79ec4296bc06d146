//! The boot report: one line of JSON on the console, which says what runs and how it is closed, as it is found on the device.
//!
//! Nothing in it is believed by anybody who does not trust this Linux: that is what attestation is for.

mod hardening;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use rustix::fs::statvfs;
use serde_json::{Value, json};

use crate::early::Verity;
use crate::storage::Place;
use crate::{block, data, enclave, network, storage};

/// The report's first field; whoever reads a console looks for it.
const FORMAT: u32 = 1;
const CONSOLE: &str = "/dev/console";
/// Where a RAM disk that has the root's hash itself leaves it, as `veritysetup` names its parameters in OpenEmbedded.
const LEFT: &str = "/run/trustbox/root.verity";
/// What the image says of itself.
const IMAGE: &str = "/usr/lib/trustbox/image.json";
/// Lines that are shown of a unit that failed: what its programs said, not what is said of it.
const LINES: &str = "3";

/// Looks, and writes the line.
pub(crate) fn run() -> Result<()> {
    let command_line = fs::read_to_string("/proc/cmdline")?;
    let report = json!({
        "trustbox_report": FORMAT,
        "image": image()?,
        "slot": block::slot().map(String::from).unwrap_or_default(),
        "root": root_hash(&command_line, &fs::read_to_string(LEFT).unwrap_or_default())?,
        "tee": tee(),
        "enclave": fs::read_to_string(enclave::ANSWER).ok(),
        "storage": [storage::TEE.found(), data::DATA.found()],
        "network": network::found(),
        "failed": failed(),
        "hardening": hardening::look(Path::new("/"), &command_line)?,
        "units": units(),
        "seconds": uptime(),
    });
    let mut console =
        OpenOptions::new().write(true).open(CONSOLE).with_context(|| format!("cannot open {CONSOLE}"))?;
    console.write_all(format!("\n{report}\n").as_bytes()).with_context(|| format!("cannot write {CONSOLE}"))
}

/// The hash that the root was opened by: from the RAM disk, or else from the command line.
fn root_hash(command_line: &str, left: &str) -> Result<String> {
    let found = left.lines().find_map(|line| line.strip_prefix("VERITY_ROOT_HASH="));
    match found {
        Some(hash) => Ok(hash.trim_matches('"').to_owned()),
        None => Ok(Verity::from_command_line(command_line)?.hash),
    }
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

impl Place {
    /// What is mounted there, how large it is, and whether the kernel encrypts it.
    fn found(&self) -> Value {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let device = mounted_at(&mounts, self.target);
        let encrypted = device.is_some_and(is_encrypted);
        let size =
            device.and_then(|_| statvfs(self.target).ok()).map(|found| found.f_blocks * found.f_frsize);
        json!({"partition": self.partition, "mounted": device.is_some(), "encrypted": encrypted, "octets": size})
    }
}

/// Major and minor number of what is mounted there (proc(5), mountinfo).
fn mounted_at<'a>(mounts: &'a str, target: &str) -> Option<&'a str> {
    mounts.lines().find_map(|line| {
        let mut words = line.split(' ').skip(2);
        let device = words.next()?;
        (words.nth(1)? == target).then_some(device)
    })
}

/// The device mapper says what a device of its own is for.
fn is_encrypted(device: &str) -> bool {
    let uuid = fs::read_to_string(Path::new("/sys/dev/block").join(device).join("dm/uuid"));
    uuid.is_ok_and(|uuid| uuid.starts_with("CRYPT-LUKS2-"))
}

/// Units that failed, with the last that they said.
fn failed() -> Value {
    let listed = lines("/usr/bin/systemctl", &["list-units", "--failed", "--plain", "--no-legend"]);
    let units = listed.iter().filter_map(|line| line.split_whitespace().next());
    let said = |unit: &str| {
        lines(
            "/usr/bin/journalctl",
            &["-b", "-q", "-o", "cat", "-n", LINES, &format!("_SYSTEMD_UNIT={unit}")],
        )
    };
    units.map(|unit| (unit.to_owned(), json!(said(unit)))).collect::<serde_json::Map<_, _>>().into()
}

/// When each unit of ours was done, in seconds after the kernel started.
fn units() -> Value {
    let words = [
        "show",
        "--property=Id,ActiveEnterTimestampMonotonic",
        "trustbox-*.service",
        "tee-supplicant*.service",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_named_by_whoever_opened_it() {
        let (hash, salt) = ("a".repeat(64), "0".repeat(64));
        let line = format!("quiet trustbox.root={hash}:{salt}:3\n");
        assert_eq!(root_hash(&line, "").unwrap(), hash);
        let left = "VERITY_DATA_BLOCKS=\"3\"\nVERITY_ROOT_HASH=\"bb\"\n";
        assert_eq!(root_hash("quiet\n", left).unwrap(), "bb");
        assert!(root_hash("quiet\n", "VERITY_DATA_BLOCKS=3\n").is_err());
    }

    #[test]
    fn a_mount_is_found_by_its_place() {
        let mounts = "24 1 254:0 / / ro - squashfs /dev/dm-0 ro\n\
                      36 24 253:7 / /var/lib/trustbox rw,nosuid - ext4 /dev/mapper/data rw\n";
        assert_eq!(mounted_at(mounts, "/var/lib/trustbox"), Some("253:7"));
        assert_eq!(mounted_at(mounts, "/var/lib/tee"), None);
        assert_eq!(mounted_at("short line\n", "/"), None);
    }
}

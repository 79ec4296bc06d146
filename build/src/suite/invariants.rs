//! `tb test --invariants`: what is evidence for which invariant. An invariant without a case is an error, here and as a check.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use trustbox_test::cases;
use trustbox_test::invariants::{HOST_TESTS, HostTest, INVARIANTS, problems};

use crate::suite::Case;

/// Characters of a line at most.
const WIDTH: usize = 110;

/// Shows the table; fails where something is missing.
pub(crate) fn show() -> Result<ExitCode> {
    INVARIANTS.iter().for_each(|(id, meaning)| print!("{}", entry(id, meaning)));
    held()?;
    Ok(ExitCode::SUCCESS)
}

/// The same as a check.
pub(crate) fn check() -> Vec<Case> {
    vec![Case::of("checks", "every invariant has a case", held())]
}

fn held() -> Result<()> {
    let problems = problems(&cases::all());
    let help =
        "help: tests/device/src/invariants.rs has the invariants, a case names those it is evidence for";
    ensure!(problems.is_empty(), "{}\n{help}", problems.join("\n"));
    Ok(())
}

/// An invariant, then the numbers of its cases, then its host tests.
fn entry(id: &str, meaning: &str) -> String {
    let cases = cases::all().into_iter().filter(|case| case.invariants.contains(&id)).map(|case| case.id);
    let cases: BTreeSet<u32> = cases.collect();
    let host = HOST_TESTS.iter().filter(|test| test.invariants.contains(&id)).map(HostTest::id);
    let tests = cases.iter().map(u32::to_string).chain(host);
    format!("{id:<8}{meaning}\n{}", wrapped(tests))
}

fn wrapped(words: impl Iterator<Item = String>) -> String {
    const INDENT: &str = "       ";
    let mut lines = vec![INDENT.to_owned()];
    for word in words {
        if lines.last().is_some_and(|line| line.len() + 1 + word.len() > WIDTH) {
            lines.push(INDENT.to_owned());
        }
        lines.last_mut().into_iter().for_each(|line| *line += &format!(" {word}"));
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_cases_and_host_tests() {
        let text = entry("INV-6", "atomic");
        assert!(text.starts_with("INV-6   atomic\n        "));
        assert!(text.contains(" 6001 ") && text.contains(" power_cut::upgrade"));
    }

    #[test]
    fn lines_end_in_time() {
        let text = wrapped((0..50).map(|number| number.to_string().repeat(5)));
        assert!(text.lines().count() > 1 && text.lines().all(|line| line.len() <= WIDTH));
    }
}

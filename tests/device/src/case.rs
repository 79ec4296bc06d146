//! Cases and how they are run.

use std::time::Instant;

use crate::context::Context;
use crate::report::Reporter;

/// A numbered case.
pub struct Case {
    /// Its number, `1001`.
    pub id: u32,
    /// What it shows.
    pub name: &'static str,
    /// The invariants it is evidence for.
    pub invariants: &'static [&'static str],
    /// The case itself.
    pub run: fn(&mut Context<'_>) -> Result<(), Stop>,
}

/// Why a case ended before its end.
#[derive(Debug)]
pub enum Stop {
    /// Something is not as it must be.
    Failed(String),
    /// It cannot be tried here, and why.
    Skipped(&'static str),
}

impl<E: std::fmt::Display> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.to_string())
    }
}

/// How a case ended.
#[derive(Debug)]
pub enum Outcome {
    /// Everything was as it must be.
    Pass,
    /// Something was not.
    Fail(String),
    /// It was not tried; never counted as passed.
    Skip(&'static str),
}

/// Fails a case unless the condition holds.
#[macro_export]
macro_rules! check {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err($crate::case::Stop::Failed(format!($($message)+)));
        }
    };
}

/// Fails a case unless both sides are equal, and shows them.
#[macro_export]
macro_rules! check_eq {
    ($left:expr, $right:expr, $($what:tt)+) => {
        match (&$left, &$right) {
            (left, right) if left == right => {}
            (left, right) => {
                let what = format!($($what)+);
                return Err($crate::case::Stop::Failed(format!("{what}: got {left:?}, want {right:?}")));
            }
        }
    };
}

impl Case {
    /// Runs the case.
    pub fn outcome(&self, context: &mut Context<'_>) -> Outcome {
        match (self.run)(context) {
            Ok(()) => Outcome::Pass,
            Err(Stop::Failed(why)) => Outcome::Fail(why),
            Err(Stop::Skipped(why)) => Outcome::Skip(why),
        }
    }
}

/// Runs cases in order and reports each; true if none failed.
pub fn run_all(
    cases: &[&Case],
    context: &mut Context<'_>,
    reporter: &mut Reporter<'_>,
) -> std::io::Result<bool> {
    reporter.plan(cases.len())?;
    let mut good = true;
    for case in cases {
        let start = Instant::now();
        let outcome = case.outcome(context);
        good &= !matches!(outcome, Outcome::Fail(_));
        reporter.result(case, &outcome, start.elapsed())?;
    }
    Ok(good)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::cases;

    /// People and documents name cases by number.
    #[test]
    fn numbers_have_four_digits_and_are_there_once() {
        let mut known = BTreeSet::new();
        for case in cases::all() {
            assert!((1000..10_000).contains(&case.id) && known.insert(case.id), "{} {}", case.id, case.name);
        }
    }

    /// A number keeps its meaning: reports of last year name it too.
    #[test]
    fn numbers_are_those_of_the_golden_list() {
        let mut lines: Vec<_> =
            cases::all().iter().map(|case| format!("{} {}", case.id, case.name)).collect();
        lines.sort();
        let golden = include_str!("../cases.golden");
        for line in &lines {
            let help = "a new case gets a new number, and a line in tests/device/cases.golden";
            assert!(golden.lines().any(|known| known == line), "{line} is not on the list: {help}");
        }
        for known in golden.lines() {
            assert!(lines.iter().any(|line| line == known), "{known} is gone: its number is not used again");
        }
    }
}

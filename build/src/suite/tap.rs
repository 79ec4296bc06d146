//! Reads and writes TAP version 14. A log that ends before its plan is a failure, whatever its lines say.

use crate::suite::{Case, Outcome};

/// One case as a test point, with its message as comment lines.
pub(crate) fn line(number: usize, case: &Case) -> String {
    let name = format!("{}: {}", case.group, case.name);
    match &case.outcome {
        Outcome::Passed => format!("ok {number} - {name}"),
        Outcome::Skipped(reason) => format!("ok {number} - {name} # SKIP {reason}"),
        Outcome::Failed(message) => {
            let comments: String = message.lines().map(|line| format!("\n# {line}")).collect();
            format!("not ok {number} - {name}{comments}")
        }
    }
}

/// Every test point of a log, and a failed case if the log is not whole.
pub(crate) fn parse(group: &str, text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut plan = None;
    let mut bail = None;
    for line in text.lines() {
        if let Some(case) = point(group, line) {
            cases.push(case);
        } else if let Some(count) = line.strip_prefix("1..") {
            plan = count.split_whitespace().next().and_then(|count| count.parse::<usize>().ok());
        } else if let Some(reason) = line.strip_prefix("Bail out!") {
            bail = Some(reason.trim().to_owned());
        } else if let Some(Outcome::Failed(message)) = cases.last_mut().map(|case| &mut case.outcome) {
            append(message, line);
        }
    }
    cases.extend(
        complaint(cases.len(), plan, bail).map(|what| Case::new(group, "whole log", Outcome::Failed(what))),
    );
    cases
}

fn complaint(points: usize, plan: Option<usize>, bail: Option<String>) -> Option<String> {
    if let Some(reason) = bail {
        return Some(format!("bailed out: {reason}"));
    }
    match plan {
        None => Some(format!("the log has {points} test points and no plan: it is cut short")),
        Some(plan) if plan != points => {
            Some(format!("the log has {points} test points, its plan says {plan}"))
        }
        Some(_) => None,
    }
}

fn point(group: &str, line: &str) -> Option<Case> {
    let (passed, rest) = match line.strip_prefix("not ok") {
        Some(rest) => (false, rest),
        None => (true, line.strip_prefix("ok")?),
    };
    if !rest.is_empty() && !rest.starts_with(' ') {
        return None;
    }
    let rest = rest.trim_start().trim_start_matches(|c: char| c.is_ascii_digit()).trim_start();
    let rest = rest.strip_prefix("- ").unwrap_or(rest);
    let (name, directive) = rest.split_once(" # ").unwrap_or((rest, ""));
    let skipped = directive.get(..4).is_some_and(|word| word.eq_ignore_ascii_case("skip"));
    let outcome = match (passed, skipped) {
        (true, false) => Outcome::Passed,
        (true, true) => Outcome::Skipped(directive[4..].trim().to_owned()),
        (false, _) => Outcome::Failed(String::new()),
    };
    Some(Case::new(group, name.trim(), outcome))
}

/// Comments and diagnostics after a failed point belong to it.
fn append(message: &mut String, line: &str) {
    if line.starts_with('#') || line.starts_with("  ") {
        message.push_str(line.trim_start_matches('#').trim());
        message.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_and_directives() {
        let text = "TAP version 14\n1..3\nok 1 - 1001 opens\nnot ok 2 - 1002 sums\n  ---\n  found: 3\n  ...\nok 3 - 1003 x # SKIP no RPMB\n";
        let cases = parse("device", text);
        assert_eq!(cases.len(), 3);
        assert_eq!(cases[0], Case::new("device", "1001 opens", Outcome::Passed));
        assert!(matches!(&cases[1].outcome, Outcome::Failed(message) if message.contains("found: 3")));
        assert_eq!(cases[2].outcome, Outcome::Skipped("no RPMB".into()));
    }

    #[test]
    fn cut_logs_fail() {
        for text in ["", "TAP version 14\nok 1 - a\n", "1..2\nok 1 - a\n", "1..1\nok 1 - a\nBail out! gone\n"]
        {
            let last = parse("device", text).pop().unwrap();
            assert!(matches!(last.outcome, Outcome::Failed(_)), "{text:?}");
        }
    }

    #[test]
    fn other_lines_are_no_points() {
        assert!(point("g", "okay then").is_none());
        assert!(point("g", "# ok 1").is_none());
    }

    #[test]
    fn written_lines_read_back() {
        let skipped = Case::new("g", "n", Outcome::Skipped("r".into()));
        assert_eq!(line(4, &skipped), "ok 4 - g: n # SKIP r");
        let failed = Case::new("g", "n", Outcome::Failed("a\nb".into()));
        assert_eq!(line(5, &failed), "not ok 5 - g: n\n# a\n# b");
    }
}

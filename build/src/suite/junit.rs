//! Writes results as JUnit XML, which CI systems show.

use std::fmt::Write;

use crate::suite::{Case, Outcome};

/// The whole document.
pub(crate) fn document(cases: &[Case]) -> String {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    let mut rest = cases;
    while let Some(first) = rest.first() {
        let length = rest.iter().take_while(|case| case.group == first.group).count();
        let (group, others) = rest.split_at(length);
        suite(&mut text, &first.group, group);
        rest = others;
    }
    text.push_str("</testsuites>\n");
    text
}

fn suite(text: &mut String, name: &str, cases: &[Case]) {
    let failed = cases.iter().filter(|case| matches!(case.outcome, Outcome::Failed(_))).count();
    let skipped = cases.iter().filter(|case| matches!(case.outcome, Outcome::Skipped(_))).count();
    let _ = writeln!(
        text,
        "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failed}\" skipped=\"{skipped}\">",
        escaped(name),
        cases.len()
    );
    cases.iter().for_each(|case| test_case(text, case));
    text.push_str("  </testsuite>\n");
}

fn test_case(text: &mut String, case: &Case) {
    let head =
        format!("    <testcase classname=\"{}\" name=\"{}\"", escaped(&case.group), escaped(&case.name));
    let body = match &case.outcome {
        Outcome::Passed => "/>".to_owned(),
        Outcome::Skipped(reason) => format!("><skipped message=\"{}\"/></testcase>", escaped(reason)),
        Outcome::Failed(message) => format!("><failure>{}</failure></testcase>", escaped(message)),
    };
    let _ = writeln!(text, "{head}{body}");
}

/// Text that is safe in content and attributes; control characters are not allowed in XML at all.
fn escaped(text: &str) -> String {
    let allowed = text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t'));
    allowed.fold(String::new(), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            _ => out.push(c),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_and_escapes() {
        let cases = [
            Case::new("a", "one", Outcome::Passed),
            Case::new("a", "two", Outcome::Failed("1 < 2 & \u{1b}[0m".into())),
            Case::new("b", "three", Outcome::Skipped("\"why\"".into())),
        ];
        let text = document(&cases);
        assert!(text.contains("<testsuite name=\"a\" tests=\"2\" failures=\"1\" skipped=\"0\">"));
        assert!(text.contains("1 &lt; 2 &amp; [0m"));
        assert!(text.contains("<skipped message=\"&quot;why&quot;\"/>"));
    }
}

//! Results as TAP version 14 while they come, and as JUnit XML at the end.

use std::fmt::Write as _;
use std::io::{Result, Write};
use std::time::Duration;

use crate::case::{Case, Outcome};

/// Collects results and writes TAP.
pub struct Reporter<'a> {
    tap: &'a mut dyn Write,
    count: usize,
    junit: String,
    failed: usize,
    skipped: usize,
    time: Duration,
}

impl<'a> Reporter<'a> {
    /// Writes TAP to `tap`.
    pub fn new(tap: &'a mut dyn Write) -> Self {
        Self { tap, count: 0, junit: String::new(), failed: 0, skipped: 0, time: Duration::ZERO }
    }

    /// Announces how many results will come.
    pub fn plan(&mut self, count: usize) -> Result<()> {
        writeln!(self.tap, "TAP version 14\n1..{count}")?;
        self.tap.flush()
    }

    /// Reports one result.
    pub fn result(&mut self, case: &Case, outcome: &Outcome, time: Duration) -> Result<()> {
        self.count += 1;
        self.time += time;
        let title = format!("{} - {} {}", self.count, case.id, case.name);
        match outcome {
            Outcome::Pass => writeln!(self.tap, "ok {title} # {} ms", time.as_millis())?,
            Outcome::Skip(why) => {
                self.skipped += 1;
                writeln!(self.tap, "ok {title} # SKIP {why}")?;
            }
            Outcome::Fail(why) => {
                self.failed += 1;
                writeln!(self.tap, "not ok {title}\n  ---\n  message: {why:?}\n  ...")?;
            }
        }
        self.add_junit(case, outcome, time);
        self.tap.flush()
    }

    /// All results as JUnit XML.
    pub fn junit(&self) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites><testsuite name=\"trustbox-device\" tests=\"{}\" \
             failures=\"{}\" skipped=\"{}\" time=\"{:.3}\">\n{}</testsuite></testsuites>\n",
            self.count,
            self.failed,
            self.skipped,
            self.time.as_secs_f64(),
            self.junit
        )
    }

    fn add_junit(&mut self, case: &Case, outcome: &Outcome, time: Duration) {
        let inner = match outcome {
            Outcome::Pass => String::new(),
            Outcome::Skip(why) => format!("<skipped message=\"{}\"/>", escape(why)),
            Outcome::Fail(why) => format!("<failure message=\"{}\"/>", escape(why)),
        };
        let (id, name, time) = (case.id, escape(case.name), time.as_secs_f64());
        let _ = writeln!(
            self.junit,
            "<testcase classname=\"{}xxx\" name=\"{id} {name}\" time=\"{time:.3}\">{inner}</testcase>",
            id / 1000
        );
    }
}

fn escape(text: &str) -> String {
    let entity = |c: char| match c {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '"' => "&quot;".to_owned(),
        c if c.is_control() => " ".to_owned(),
        c => c.to_string(),
    };
    text.chars().map(entity).collect()
}

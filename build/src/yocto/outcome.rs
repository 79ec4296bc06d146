//! What a log of bitbake or yocto-check-layer says: how often it failed, how often it warned of us, and its last words.

use std::time::Duration;

/// What is checked of a machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum Step {
    /// Every recipe of every layer is parsed
    Parse,
    /// Everything that ends in a file for a device is planned
    Plan,
    /// yocto-check-layer on our layer
    Layer,
}

impl Step {
    pub(crate) const ALL: [Self; 3] = [Self::Parse, Self::Plan, Self::Layer];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Parse => "parse",
            Self::Plan => "plan",
            Self::Layer => "layer",
        }
    }

    /// How the line starts that says it is done; without it a log is cut short, whatever the exit status.
    fn last_words(self) -> &'static str {
        match self {
            Self::Parse => "Parsing of ",
            Self::Plan => "NOTE: Tasks Summary: ",
            Self::Layer => "INFO: meta-trustbox",
        }
    }
}

/// How a step ended.
pub(crate) struct Outcome {
    machine: String,
    step: Step,
    pub(crate) passed: bool,
    errors: usize,
    warnings: usize,
    ours: usize,
    words: String,
    time: Duration,
}

impl Outcome {
    /// Reads a log.
    pub(crate) fn read(machine: &str, step: Step, log: &str, succeeded: bool, time: Duration) -> Self {
        let said = |what: &str| log.lines().filter(|line| line.starts_with(what)).collect::<Vec<_>>();
        let (errors, warnings) = (said("ERROR:").len(), said("WARNING:"));
        let ours = warnings.iter().filter(|line| line.contains("trustbox")).count();
        let found = log.lines().rev().find(|line| {
            line.starts_with(step.last_words()) && (step != Step::Layer || line.contains(" ... "))
        });
        let layer = step != Step::Layer || found.is_some_and(|line| line.ends_with("PASS"));
        Self {
            machine: machine.to_owned(),
            step,
            passed: succeeded && errors == 0 && ours == 0 && found.is_some() && layer,
            errors,
            warnings: warnings.len(),
            ours,
            words: found.unwrap_or("the log is cut short").trim_start_matches("NOTE: ").to_owned(),
            time,
        }
    }

    /// A line of the summary.
    pub(crate) fn line(&self) -> String {
        format!(
            "| {} | {} | {} | {} | {}, {} | {} | {} s |\n",
            self.machine,
            self.step.name(),
            if self.passed { "passed" } else { "failed" },
            self.errors,
            self.warnings,
            self.ours,
            self.words,
            self.time.as_secs()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(step: Step, log: &str) -> Outcome {
        Outcome::read("m", step, log, true, Duration::from_secs(1))
    }

    #[test]
    fn a_log_that_is_cut_short_is_no_success() {
        let whole = "Parsing of 3 .bb files complete (0 cached). 0 errors.\n";
        assert!(read(Step::Parse, whole).passed);
        assert!(!read(Step::Parse, "Parsing recipes...\n").passed);
        assert!(!Outcome::read("m", Step::Parse, whole, false, Duration::ZERO).passed);
    }

    #[test]
    fn errors_and_warnings_of_ours_fail_and_those_of_others_are_counted() {
        let end =
            "NOTE: Tasks Summary: Attempted 5 tasks of which 0 didn't need to be rerun and all succeeded.\n";
        let warned = read(Step::Plan, &format!("WARNING: uninative was not fetched\n{end}"));
        assert!(warned.passed && warned.line().contains("| 1, 0 |"));
        assert!(!read(Step::Plan, &format!("WARNING: /x/meta-trustbox/a.bb: odd\n{end}")).passed);
        assert!(!read(Step::Plan, &format!("ERROR: elsewhere\n{end}")).passed);
    }

    #[test]
    fn the_layer_check_says_pass_itself() {
        assert!(read(Step::Layer, "INFO: meta-trustbox-bsp ... PASS\n").passed);
        assert!(!read(Step::Layer, "INFO: meta-trustbox ... FAIL\n").passed);
        assert!(!read(Step::Layer, "INFO: meta-trustbox: LayerType.DISTRO, /x\n").passed);
        assert!(!read(Step::Layer, "INFO: meta-trustbox ... SKIPPED (Missing dependencies)\n").passed);
    }
}

//! All of OP-TEE's own tests, regression and pkcs11, on firmware that lets them install and has the PKCS#11 TA.

use std::time::Duration;

use anyhow::Result;

use crate::builder::Builder;
use crate::device::{BootOptions, Device};
use crate::guest::GuestKind;
use crate::suite::{Case, Outcome};

const GROUP: &str = "xtest";
const SUITES: [&str; 2] = ["regression", "pkcs11"];
/// A suite without KVM, beside other work.
const LIMIT: Duration = Duration::from_secs(2400);
/// Cases that must have run: they need the plugin of tee-supplicant, and trusted applications signed through subkeys.
const REQUIRED: [&str; 2] = ["regression_1033", "regression_1039"];

/// Cases that cannot pass on the firmware of the device suite: they install from Linux.
const NOT_AS_SHIPPED: [&str; 2] = ["regression_1008.4", "regression_1008"];

/// Runs both suites; each case is one of ours. Then the first of them on the firmware of the device suite, where exactly
/// the cases above must fail.
pub(crate) fn run(builder: &Builder) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for (suite, found) in SUITES.iter().zip(results(&builder.for_tests()?, &SUITES, "tests")?) {
        cases.extend(judged(suite, &found.0, found.1));
    }
    let missing = REQUIRED.iter().filter(|name| !cases.iter().any(|case| case.name == **name));
    let missing: Vec<_> = missing.map(|name| failed(name, "it did not run")).collect();
    cases.extend(missing);
    for (text, status) in results(builder, &SUITES[..1], "as-shipped")? {
        cases.push(Case::of(
            GROUP,
            "firmware as it is shipped",
            as_shipped(&judged(SUITES[0], &text, status)),
        ));
    }
    Ok(cases)
}

/// What xtest said, and its status, suite by suite; a log of each is kept.
fn results(builder: &Builder, suites: &[&str], firmware: &str) -> Result<Vec<(String, i32)>> {
    let images = builder.images(GuestKind::Xtest, false)?;
    let mut device = Device::boot(&images, &BootOptions { timeout: LIMIT, ..BootOptions::default() })?;
    let mut results = Vec::new();
    for suite in suites {
        let output = device.exec(&["xtest", "-l", "0", "-t", suite])?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        std::fs::write(builder.work("xtest")?.join(format!("{suite}-{firmware}.log")), &text)?;
        results.push((text, output.status));
    }
    device.power_off()?;
    Ok(results)
}

fn as_shipped(cases: &[Case]) -> Result<()> {
    let failed = cases.iter().filter(|case| case.outcome != Outcome::Passed);
    let failed: Vec<_> = failed.map(|case| case.name.as_str()).collect();
    anyhow::ensure!(cases.len() > NOT_AS_SHIPPED.len() && failed == NOT_AS_SHIPPED, "not passed: {failed:?}");
    Ok(())
}

/// The results that xtest lists at its end: a name, and OK or FAILED.
fn judged(suite: &str, text: &str, status: i32) -> Vec<Case> {
    let start = format!("{suite}_");
    let mut cases = Vec::new();
    for line in text.lines().filter(|line| line.starts_with(&start)) {
        let mut words = line.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some(name), Some("OK"), None) => cases.push(Case::new(GROUP, name, Outcome::Passed)),
            (Some(name), Some("FAILED"), _) => cases.push(failed(name, "see the log of xtest")),
            (Some(name), Some("SKIPPED"), _) => {
                cases.push(Case::new(GROUP, name, Outcome::Skipped("xtest left it out".to_owned())));
            }
            _ => {}
        }
    }
    let any_failed = cases.iter().any(|case| matches!(case.outcome, Outcome::Failed(_)));
    if cases.is_empty() || (status != 0 && !any_failed) {
        let end: Vec<_> = text.lines().rev().take(20).collect();
        let end: Vec<_> = end.into_iter().rev().collect();
        cases.push(failed(suite, &format!("xtest ended with status {status}\n{}", end.join("\n"))));
    }
    cases
}

fn failed(name: &str, why: &str) -> Case {
    Case::new(GROUP, name, Outcome::Failed(why.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_those_of_the_list_at_the_end() {
        let text = "* regression_1001 Core self tests\n  regression_1001 OK\nResult of testsuite\nregression_1001 OK\nregression_1002 FAILED first error at a.c:1\n";
        let names: Vec<_> = judged("regression", text, 1)
            .into_iter()
            .map(|case| (case.name, case.outcome == Outcome::Passed))
            .collect();
        assert_eq!(names, [("regression_1001".to_owned(), true), ("regression_1002".to_owned(), false)]);
    }

    #[test]
    fn an_end_that_no_case_explains_is_a_failure() {
        assert!(matches!(judged("pkcs11", "", 0)[..], [Case { outcome: Outcome::Failed(_), .. }]));
        assert_eq!(judged("pkcs11", "pkcs11_1000 OK\n", 1).len(), 2);
        assert_eq!(judged("pkcs11", "pkcs11_1000 OK\n", 0).len(), 1);
    }
}

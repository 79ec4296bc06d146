//! `tb test`: every check of the repository, each counted once. What did not run is never counted as passed.

mod boot;
mod budgets;
mod checks;
pub(crate) mod coverage;
pub(crate) mod examples;
mod firmware;
mod image;
mod invariants;
mod junit;
mod keys;
mod libtest;
pub(crate) mod miri;
pub(crate) mod on_device;
mod packages;
mod page;
mod remote;
mod signing;
pub(crate) mod station;
mod tap;
mod xtest;
mod yocto;

use std::process::ExitCode;

use anyhow::Result;
use trustbox_test::context::EXHAUSTIVE;

use crate::builder::Builder;
use crate::ui;

/// Runs every test.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Formatting, lints and host tests only: for the edit loop
    #[arg(long, conflicts_with = "device")]
    fast: bool,
    /// Only the device suite, or only the cases whose numbers contain these; ssh://[USER@]HOST[:PORT] in front of them
    /// names a device to run on, a board for example
    #[arg(long, value_name = "DEVICE|NUMBERS", num_args = 0..)]
    device: Option<Vec<String>>,
    /// Only the check of this name; `--list` has the names
    #[arg(long, value_name = "CHECK", conflicts_with_all = ["fast", "device"])]
    only: Option<String>,
    /// Only verified boot: signed boots, tampered and old ones refused, the other slot taken
    #[arg(long, conflicts_with_all = ["fast", "device", "only"])]
    boot: bool,
    /// Only the OS image: boots and is closed, tampered ones refused, power cuts on the first boot
    #[arg(long, conflicts_with_all = ["fast", "device", "only", "boot"])]
    image: bool,
    /// Only all of OP-TEE's own tests, on firmware that lets them install: regression and pkcs11
    #[arg(long, conflicts_with_all = ["fast", "device", "only", "boot", "image"])]
    xtest: bool,
    /// How thorough the device suite is, from 0 to 15
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=i64::from(EXHAUSTIVE)))]
    level: u32,
    /// Names the checks and the device suite's cases, and runs none
    #[arg(long)]
    list: bool,
    /// Shows which tests are evidence for which invariant, and runs none
    #[arg(long, conflicts_with_all = ["fast", "device", "list"])]
    invariants: bool,
    /// Shows which part of ta/core the tests on this host run through; exit status 1 below the floor
    #[arg(long, conflicts_with_all = ["fast", "device", "list", "invariants", "miri"])]
    coverage: bool,
    /// With --coverage: names the lines that no test runs through
    #[arg(long, requires = "coverage")]
    uncovered: bool,
    /// Runs tests of ta/api and ta/core under Miri, which needs a nightly compiler and some minutes
    #[arg(long, conflicts_with_all = ["fast", "device", "list", "invariants"])]
    miri: bool,
}

/// One test that ran, or that says why it did not.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Case {
    pub(crate) group: String,
    pub(crate) name: String,
    pub(crate) outcome: Outcome,
}

/// How a test ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
}

impl Case {
    pub(crate) fn new(group: &str, name: &str, outcome: Outcome) -> Self {
        Self { group: group.to_owned(), name: name.to_owned(), outcome }
    }

    /// A check that either holds or says what is wrong.
    pub(crate) fn of(group: &str, name: &str, result: Result<()>) -> Self {
        let outcome = result.map_or_else(|error| Outcome::Failed(format!("{error:#}")), |()| Outcome::Passed);
        Self::new(group, name, outcome)
    }
}

type Check = fn(&Builder, &Args) -> Result<Vec<Case>>;

/// Checks in the order in which they run: the quick ones first. The flag says which belong to `--fast`.
const CHECKS: &[(&str, bool, Check)] = &[
    ("checks", true, |_, _| Ok(invariants::check())),
    ("format", true, |builder, _| checks::format(builder)),
    ("lints", true, |builder, _| checks::lints(builder)),
    ("dependencies", false, |builder, _| checks::dependencies(builder)),
    ("ta-dependencies", false, |builder, _| checks::ta_dependencies(builder)),
    ("budgets", true, |builder, _| budgets::run(builder)),
    ("unit", true, |builder, _| libtest::run(builder)),
    ("signing", false, |builder, _| signing::run(builder)),
    ("packages", false, |builder, _| packages::run(builder)),
    ("keys", false, |builder, _| keys::run(builder)),
    ("page", false, |builder, _| page::run(builder)),
    ("yocto", false, |builder, _| yocto::run(builder)),
    ("firmware", false, |builder, _| firmware::run(builder)),
    ("boot", false, |builder, _| boot::run(builder)),
    ("image", false, |builder, _| image::run(builder)),
    ("device", false, |builder, args| on_device::suite(builder, &selected(args), args.level)),
    ("examples", false, |builder, _| examples::run(builder)),
    ("station", false, |builder, _| station::run(builder)),
    ("campaign", false, |builder, _| crate::campaign::check(builder)),
    ("demo", false, |builder, _| on_device::demo(builder)),
    ("xtest", false, |builder, _| on_device::xtest(builder)),
];

/// Runs `tb test`; the exit status says whether anything failed.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if args.invariants {
        return invariants::show();
    }
    let builder = Builder::open(crate::board::DEFAULT)?;
    if args.list {
        CHECKS.iter().for_each(|(name, ..)| println!("{name}"));
        return on_device::list(&builder).map(|()| ExitCode::SUCCESS);
    }
    if args.coverage {
        return coverage::run(&builder, args.uncovered);
    }
    let mut report = Report::default();
    println!("TAP version 14");
    if args.miri {
        report.add(ui::step("test miri", || miri::run(&builder))?);
        return report.finish(&builder);
    }
    if args.xtest {
        report.add(ui::step("test all of xtest", || xtest::run(&builder))?);
        return report.finish(&builder);
    }
    for (name, fast, check) in CHECKS {
        if wanted(args, name, *fast) {
            let result = ui::step(&format!("test {name}"), || check(&builder, args));
            report.add(result.unwrap_or_else(|error| vec![Case::of(name, name, Err(error))]));
        }
    }
    report.finish(&builder)
}

fn wanted(args: &Args, name: &str, fast: bool) -> bool {
    match (&args.only, &args.device) {
        _ if args.boot => name == "boot",
        _ if args.image => name == "image",
        (Some(only), _) => name == only,
        (None, Some(_)) => name == "device",
        (None, None) => fast || !args.fast,
    }
}

fn selected(args: &Args) -> Vec<String> {
    args.device.clone().unwrap_or_default()
}

/// All cases so far.
#[derive(Default)]
struct Report {
    cases: Vec<Case>,
}

impl Report {
    fn add(&mut self, cases: Vec<Case>) {
        for case in cases {
            println!("{}", tap::line(self.cases.len() + 1, &case));
            self.cases.push(case);
        }
    }

    fn finish(self, builder: &Builder) -> Result<ExitCode> {
        println!("1..{}", self.cases.len());
        let folder = builder.repo.cache().join("test");
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("junit.xml"), junit::document(&self.cases))?;
        let count =
            |wanted: fn(&Outcome) -> bool| self.cases.iter().filter(|case| wanted(&case.outcome)).count();
        let failed = count(|outcome| matches!(outcome, Outcome::Failed(_)));
        let passed = count(|outcome| matches!(outcome, Outcome::Passed));
        let skipped = count(|outcome| matches!(outcome, Outcome::Skipped(_)));
        println!("{passed} passed, {failed} failed, {skipped} skipped");
        Ok(if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

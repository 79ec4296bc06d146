//! The cases against the core on its deterministic fake, each as a test of its own.
//!
//! A case that needs OP-TEE shows as ignored here, never as passed.

mod support;

use libtest_mimic::{Arguments, Failed, Trial};
use trustbox_test::case::{Case, Outcome};
use trustbox_test::cases;

/// The case on a device of its own.
fn run(case: &Case) -> Outcome {
    let (target, parties) = support::blank();
    case.outcome(&mut support::context(&target, &parties, 3))
}

fn trial(case: &'static Case) -> Trial {
    let name = format!("{} {}", case.id, case.name);
    let skipped = matches!(run(case), Outcome::Skip(_));
    let test = move || match run(case) {
        Outcome::Pass => Ok(()),
        Outcome::Fail(why) => Err(Failed::from(why)),
        Outcome::Skip(why) => Err(Failed::from(format!("skipped after all: {why}"))),
    };
    Trial::test(name, test).with_ignored_flag(skipped)
}

fn main() {
    let trials = cases::all().into_iter().map(trial).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

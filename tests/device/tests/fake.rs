//! The cases against the core on its deterministic fake, each as a test of its own.
//!
//! A case that needs OP-TEE shows as ignored here, never as passed.

mod support;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use libtest_mimic::{Arguments, Failed, Trial};
use trustbox_test::case::{Case, Outcome};
use trustbox_test::cases;

/// The case on a device of its own.
fn run(case: &Case) -> Outcome {
    let (target, parties) = support::blank();
    case.outcome(&mut support::context(&target, &parties, 3))
}

/// Whether a case is ignored must be known before the tests run, so all have run before.
fn outcomes(cases: &[&'static Case]) -> Vec<Option<Outcome>> {
    let results = Mutex::new(cases.iter().map(|_| None).collect::<Vec<_>>());
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            let outcome = run(case);
            let at = cases.iter().position(|other| other.id == case.id);
            if let (Some(at), Ok(mut results)) = (at, results.lock()) {
                results[at] = Some(outcome);
            }
        }
    };
    thread::scope(|scope| {
        (0..thread::available_parallelism().map_or(1, usize::from)).for_each(|_| {
            scope.spawn(work);
        })
    });
    results.into_inner().expect("nobody panicked")
}

fn trial(case: &Case, outcome: Option<Outcome>) -> Trial {
    let ignored = matches!(outcome, Some(Outcome::Skip(_)));
    let test = move || match outcome {
        Some(Outcome::Pass) => Ok(()),
        Some(Outcome::Fail(why)) => Err(Failed::from(why)),
        Some(Outcome::Skip(why)) => Err(Failed::from(format!("not on the fake: {why}"))),
        None => Err(Failed::from("the case did not end")),
    };
    Trial::test(format!("{} {}", case.id, case.name), test).with_ignored_flag(ignored)
}

fn main() {
    let arguments = Arguments::from_args();
    let cases = cases::all();
    let outcomes = if arguments.list { cases.iter().map(|_| None).collect() } else { outcomes(&cases) };
    let trials = cases.into_iter().zip(outcomes).map(|(case, outcome)| trial(case, outcome)).collect();
    libtest_mimic::run(&arguments, trials).exit();
}

//! Every target on its seeds, on what was kept, and on a bounded number of changed inputs: each a test of its own.

use libtest_mimic::{Arguments, Failed, Trial};
use trustbox_fuzz::mutate::Changes;
use trustbox_fuzz::{corpus, targets};

/// Changed inputs of each target, and how many of the others: Miri, some hundred times slower, takes a few of each.
const CHANGED: usize = if cfg!(miri) { 2 } else { 1000 };
const GIVEN: usize = if cfg!(miri) { 2 } else { usize::MAX };

fn main() {
    let arguments = Arguments::from_args();
    let names: Vec<_> = targets::all().into_iter().map(|target| target.name).collect();
    let trials = names.into_iter().map(|name| Trial::test(name.clone(), move || run(&name))).collect();
    libtest_mimic::run(&arguments, trials).exit();
}

/// Targets keep devices that stay in their thread, so the thread makes its own.
fn run(name: &str) -> Result<(), Failed> {
    let target = targets::find(name).ok_or("no such target")?;
    let inputs = [target.seeds.clone(), corpus::kept(name).map_err(|error| format!("{error:#}"))?].concat();
    if inputs.is_empty() {
        return Err("nothing to start from".into());
    }
    inputs.iter().take(GIVEN).for_each(|input| try_one(&target, input));
    let mut changes = Changes::new(1);
    (0..CHANGED).for_each(|_| try_one(&target, &changes.next(&inputs)));
    Ok(())
}

/// Says which input it was.
fn try_one(target: &trustbox_fuzz::Target, input: &[u8]) {
    let run = std::panic::AssertUnwindSafe(|| target.run(input));
    if let Err(panic) = std::panic::catch_unwind(run) {
        eprintln!("{}: {}", target.name, corpus::encode(input));
        std::panic::resume_unwind(panic);
    }
}

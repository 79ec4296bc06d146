//! `tb run`: from the sources of a project to its output on the emulated device, in one go or after every change.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, anyhow, bail, ensure};
use trustbox_keys::dev;

use crate::builder::Builder;
use crate::device::{BootOptions, Device};
use crate::guest::GuestKind;
use crate::owned::{CLASS, Owned};
use crate::project::{Built, Language, Profile, Project};
use crate::{debugger, ui};

/// Where the device has the host program.
const PROGRAM: &str = "/tmp/program";
/// How often the sources are looked at.
const LOOK: Duration = Duration::from_millis(300);

/// Builds, signs, packs, boots, installs and runs a project.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Stay, and do it again after every change; the device stays on
    #[arg(long)]
    watch: bool,
    /// Start from a new device
    #[arg(long)]
    fresh: bool,
    /// Wait for a debugger and say how to reach the enclave
    #[arg(long, conflicts_with = "watch")]
    gdb: bool,
    /// Run the project's tests instead of its host program
    #[arg(long, conflicts_with_all = ["gdb", "watch"])]
    tests: bool,
    /// Only build, as small as it gets, for `tb pack` with the publisher's keys
    #[arg(long, conflicts_with_all = ["watch", "fresh", "gdb", "tests"])]
    build: bool,
    /// How long the host program may take
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
    /// Arguments of the host program
    #[arg(last = true, value_name = "ARGS")]
    program: Vec<String>,
}

impl Args {
    /// One run on a new device.
    pub(crate) fn on_new_device(tests: bool, program: &[&str]) -> Self {
        let program = program.iter().map(|word| (*word).to_owned()).collect();
        Self { watch: false, fresh: true, gdb: false, tests, build: false, timeout: 600, program }
    }
}

/// Runs `tb run`; the result is the host program's exit status.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let project = Project::find()?;
    if args.build {
        let built = project.build(&open()?, Profile::Publish)?;
        println!("{}", built.stripped.display());
        return Ok(ExitCode::SUCCESS);
    }
    ensure!(
        project.description().class_key.name.as_str() == CLASS,
        "the package is for class key {}, the emulated device has {CLASS}\nhelp: give the publisher's class key to `tb pack` instead",
        project.description().class_key.name
    );
    ui::only_long_steps();
    if args.tests && project.language() == Language::Rust {
        print!("{}", project.host_tests(&open()?)?);
        return Ok(ExitCode::SUCCESS);
    }
    let builder = open()?;
    let mut session = Session::start(&builder, &project, args)?;
    // The build's lock is free again before anything runs.
    drop(builder);
    let status = session.round(&project, args, &mut io::stdout())?;
    if args.watch {
        return session.watch(&project, args);
    }
    session.owned.device.power_off()?;
    Ok(ExitCode::from(u8::try_from(status).unwrap_or(u8::MAX)))
}

/// The same for a test that holds the lock, from a new device to power off: what the host program writes, and its status.
pub(crate) fn once(builder: &Builder, project: &Project, args: &Args) -> Result<(i32, String)> {
    let mut output = Vec::new();
    let mut session = Session::start(builder, project, args)?;
    let status = session.round(project, args, &mut output)?;
    session.owned.device.power_off()?;
    Ok((status, String::from_utf8(output)?))
}

fn open() -> Result<Builder> {
    Builder::open(crate::board::DEFAULT)
}

/// A device that is on, and what is to run on it.
struct Session {
    owned: Owned,
    built: Built,
}

impl Session {
    /// Builds while the device boots.
    fn start(builder: &Builder, project: &Project, args: &Args) -> Result<Self> {
        fs::create_dir_all(project.kept())
            .with_context(|| format!("cannot make {}", project.kept().display()))?;
        let keys = dev::ensure(&builder.repo().dev_keys())?;
        let images = builder.images(GuestKind::Plain, args.gdb)?;
        let timeout = Duration::from_secs(args.timeout);
        let state = Some(state(project, args.fresh)?);
        let options = BootOptions { state, gdb: args.gdb, timeout, ..BootOptions::default() };
        let build = || project.build(builder, Profile::Run);
        let (built, device) = if args.gdb {
            let built = build()?;
            debugger::explain(&images, "an enclave", &built.uuid.to_string(), &built.elf);
            (built, Device::boot(&images, &options)?)
        } else {
            // A device ends with the thread that boots it: this one.
            let (device, built) = at_once(|| ui::step("boot", || Device::boot(&images, &options)), build)?;
            (built, device)
        };
        let owned = ui::step("provision", || Owned::take(device, keys, &[built.uuid]))?;
        Ok(Self { owned, built })
    }

    /// Installs and runs what is built.
    fn round(&mut self, project: &Project, args: &Args, output: &mut dyn Write) -> Result<i32> {
        let (built, owned) = (&self.built, &mut self.owned);
        ui::step("install", || owned.install(&built.image, &project.description()))?;
        let program = match &built.tests {
            Some(tests) if args.tests => tests,
            None if args.tests => bail!("{} has no tests for the device", project.root().display()),
            _ => &built.program,
        };
        owned.device.push(program, PROGRAM)?;
        let words: Vec<&str> = [PROGRAM].into_iter().chain(args.program.iter().map(String::as_str)).collect();
        let status = owned.device.exec_to(&words, output, &mut io::stderr())?;
        if status != 0 {
            ui::line(&format!("the host program ended with status {status}"));
        }
        Ok(status)
    }

    /// Goes on until somebody ends it; an error of a build is shown, and the next change is another try.
    fn watch(mut self, project: &Project, args: &Args) -> Result<ExitCode> {
        let mut seen = sources(project.root())?;
        ui::line("waiting for changes; Ctrl-C ends this");
        loop {
            thread::sleep(LOOK);
            let now = sources(project.root())?;
            if now == seen {
                continue;
            }
            seen = now;
            let began = Instant::now();
            match self.again(project, args) {
                Ok(()) => ui::line(&format!("from change to result: {:.1} s", began.elapsed().as_secs_f32())),
                Err(error) => eprintln!("error: {error:#}"),
            }
        }
    }

    fn again(&mut self, project: &Project, args: &Args) -> Result<()> {
        // A package.toml that changed counts as well.
        let project = Project::open(project.root())?;
        self.built = project.build(&open()?, Profile::Run)?;
        self.round(&project, args, &mut io::stdout()).map(drop)
    }
}

/// Both at the same time; the first error counts.
fn at_once<A, B: Send>(
    here: impl FnOnce() -> Result<A>,
    there: impl FnOnce() -> Result<B> + Send,
) -> Result<(A, B)> {
    thread::scope(|scope| {
        let there = scope.spawn(there);
        let here = here();
        let there = there.join().map_err(|_| anyhow!("a thread panicked"))?;
        Ok((here?, there?))
    })
}

/// The file that keeps the device's storage from run to run.
fn state(project: &Project, fresh: bool) -> Result<PathBuf> {
    let state = project.kept().join("device.img");
    if fresh && state.exists() {
        fs::remove_file(&state).map_err(|error| anyhow!("cannot remove {}: {error}", state.display()))?;
    }
    Ok(state)
}

/// Every source with its size and the time of its last change.
fn sources(root: &Path) -> Result<BTreeMap<PathBuf, (u64, Option<SystemTime>)>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let hidden = entry.file_name().to_string_lossy().starts_with('.');
            if hidden || entry.file_name() == "target" {
                continue;
            }
            // An editor may have taken a file away meanwhile.
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                folders.push(entry.path());
            } else if entry.file_name() != "Cargo.lock" {
                found.insert(entry.path(), (metadata.len(), metadata.modified().ok()));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_what_people_write() {
        let root = std::env::temp_dir().join(format!("tb-sources-{}", std::process::id()));
        for name in ["src/a.rs", "target/b", ".git/c", "Cargo.lock"] {
            fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            fs::write(root.join(name), "x").unwrap();
        }
        let before = sources(&root).unwrap();
        assert_eq!(before.keys().collect::<Vec<_>>(), [&root.join("src/a.rs")]);
        fs::write(root.join("src/a.rs"), "xy").unwrap();
        assert_ne!(sources(&root).unwrap(), before);
        fs::remove_dir_all(root).unwrap();
    }
}

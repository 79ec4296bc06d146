//! `tb lock`: moves a pin to the newest version, or adds one, found through Debian's signed metadata in a private apt root.

use anyhow::{Result, ensure};

use crate::apt::AptRoot;
use crate::builder::Builder;
use crate::lock::{Kind, LockFile, Package};
use crate::ui;

/// What is added is of the release that everything else on a device is of.
const SUITE: &str = "trixie";

/// Lists pins, moves one forward, or adds some.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Package to move to the newest version of its suite
    #[arg(long, value_name = "PACKAGE")]
    update: Option<String>,
    /// Binary packages of the device to add
    #[arg(long, value_name = "PACKAGE", num_args = 1.., conflicts_with = "update")]
    add: Vec<String>,
}

/// Runs `tb lock`.
pub(crate) fn run(args: &Args) -> Result<()> {
    let builder = Builder::open(crate::board::DEFAULT)?;
    match &args.update {
        Some(name) => update(&builder, name),
        None if !args.add.is_empty() => add(&builder, &args.add),
        None => {
            for package in &builder.lock.packages {
                println!("{} {} ({})", package.name, package.version, package.suite);
            }
            Ok(())
        }
    }
}

fn update(builder: &Builder, name: &str) -> Result<()> {
    let old = builder.lock.package(name)?.clone();
    let log = builder.log("lock");
    let new =
        ui::step(&format!("look up {name}"), || AptRoot::create(builder, &old.suite, &log)?.newest(&old))?;
    if new.version == old.version && new.files == old.files {
        println!("{name} {} is the newest in {}", old.version, old.suite);
        return Ok(());
    }
    println!("{name}: {} -> {}; not tested yet, run build/tb test", old.version, new.version);
    let mut lock: LockFile = builder.lock.clone();
    for package in &mut lock.packages {
        if package.name == name {
            package.clone_from(&new);
        }
    }
    lock.save(&LockFile::path(&builder.repo))
}

fn add(builder: &Builder, names: &[String]) -> Result<()> {
    let root = AptRoot::create(builder, SUITE, &builder.log("lock"))?;
    let mut lock: LockFile = builder.lock.clone();
    for name in names {
        ensure!(
            lock.package(name).is_err(),
            "{name} is in platform/lock.toml already\nhelp: --update moves it forward"
        );
        let (version, suite) = (String::new(), SUITE.to_owned());
        let none = Package { name: name.clone(), version, kind: Kind::Binary, suite, files: Vec::new() };
        let new = ui::step(&format!("look up {name}"), || root.newest(&none))?;
        println!("{name} {}", new.version);
        lock.packages.push(new);
    }
    lock.save(&LockFile::path(&builder.repo))
}

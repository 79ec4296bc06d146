//! `tb lock --update`: moves one pin to the newest version, found through Debian's signed metadata in a private apt root.

use anyhow::Result;

use crate::apt::AptRoot;
use crate::builder::Builder;
use crate::lock::LockFile;
use crate::ui;

/// Lists pins, or moves one forward.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Package to move to the newest version of its suite
    #[arg(long, value_name = "PACKAGE")]
    update: Option<String>,
}

/// Runs `tb lock`.
pub(crate) fn run(args: &Args) -> Result<()> {
    let builder = Builder::open(crate::board::DEFAULT)?;
    match &args.update {
        Some(name) => update(&builder, name),
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

//! The targets without a fuzzer: what there is, and what was kept.
#![forbid(unsafe_code)]

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use trustbox_fuzz::{Target, corpus, targets};

/// Lists targets, and moves their inputs between the repository and a folder.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
enum Args {
    /// Names the targets and what each feeds
    List,
    /// Writes seeds and kept inputs of a target as files
    Unpack {
        /// The target
        target: String,
        /// Folder for the files
        folder: PathBuf,
    },
    /// Adds the files of a folder to the kept inputs of a target
    Keep {
        /// The target
        target: String,
        /// Folder with the files
        folder: PathBuf,
    },
    /// Runs a target on files
    Run {
        /// The target
        target: String,
        /// Inputs
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<()> {
    match args {
        Args::List => {
            targets::all().iter().for_each(|target| println!("{:<18}{}", target.name, target.about))
        }
        Args::Unpack { target, folder } => corpus::unpack(&find(&target)?, &folder)?,
        Args::Keep { target, folder } => {
            let target = find(&target)?;
            let inputs: Vec<_> = corpus::files(&folder)?;
            let inputs: Vec<_> = inputs.into_iter().filter(|input| !target.seeds.contains(input)).collect();
            println!("{}: {} inputs kept", target.name, corpus::keep(&target.name, &inputs)?);
        }
        Args::Run { target, files } => {
            let target = find(&target)?;
            for path in files {
                target.run(&fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?);
                println!("{}: holds", path.display());
            }
        }
    }
    Ok(())
}

fn find(name: &str) -> Result<Target> {
    targets::find(name)
        .with_context(|| format!("no fuzz target {name}\nhelp: `build/tb fuzz --list` names them"))
}

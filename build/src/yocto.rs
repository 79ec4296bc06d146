//! `tb yocto`: what the Yocto layers share with this builder, and the checks of the layers.
//!
//! The layers of `yocto/` take flags, versions, patches and crates from files that are written here from `platform/` and
//! `Cargo.lock`; a test fails on any difference. Recipes run this program for boot images, so that both ways make the same.

pub(crate) mod check;
mod configure;
pub(crate) mod generate;
mod images;
pub(crate) mod layers;
mod outcome;

use std::process::ExitCode;

use anyhow::Result;

/// The Yocto layers: generated files, checks, boot images for recipes.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Task,
}

#[derive(clap::Subcommand)]
enum Task {
    /// Writes the files of the layers that follow from platform/ and Cargo.lock
    Generate(generate::Args),
    /// Parses and plans with bitbake, and runs yocto-check-layer, on layers that are already on this machine
    Check(check::Args),
    /// Boot images of one medium, from the parts that recipes built
    Images(Box<images::Args>),
}

/// Runs `tb yocto`.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    match &args.command {
        Task::Generate(args) => generate::run(args).map(|()| ExitCode::SUCCESS),
        Task::Check(args) => check::run(args),
        Task::Images(args) => images::run(args).map(|()| ExitCode::SUCCESS),
    }
}

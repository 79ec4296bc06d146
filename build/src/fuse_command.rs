//! `tb fuse`: what a board's fuses are to hold. Shows; never writes.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Subcommand;
use trustbox_keys::fuses::Plan;

use crate::boot::certificates::Counters;
use crate::boot::fuses;
use crate::boot::root_keys::Choice;
use crate::builder::Builder;

/// Plans a board's fuses.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// What is to be written in which order, and what can never be taken back: FUSES.md and fuses.json
    Plan {
        #[command(flatten)]
        board: BoardKeys,
        /// Where both files go
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Says what would become irreversible, and refuses
    Write {
        #[command(flatten)]
        board: BoardKeys,
    },
}

/// For which board and keys.
#[derive(clap::Args)]
struct BoardKeys {
    /// Board
    #[arg(long, value_name = "BOARD")]
    platform: String,
    #[command(flatten)]
    keys: Choice,
}

impl BoardKeys {
    fn plan(&self) -> Result<Plan> {
        let builder = Builder::open(&self.platform)?;
        builder
            .board
            .hardware()
            .with_context(|| format!("{} is emulated: it has no fuses", self.platform))?;
        Ok(fuses::plan(&builder.board, &builder.root_keys(&self.keys)?, Counters::default()))
    }
}

/// Runs `tb fuse`.
pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.action {
        Action::Plan { board, out } => {
            std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
            fuses::write(&board.plan()?, out)?;
            println!("{}", out.join("FUSES.md").display());
            Ok(())
        }
        Action::Write { board } => fuses::refuse(&board.plan()?),
    }
}

//! `trustbox-keys fuse`: the fuses of a board on the table.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use trustbox_keys::fuses::Plan;
use trustbox_keys::station::fuse::Writing;
use trustbox_keys::station::fuse::board::{OnTable, Table};
use trustbox_keys::station::link::Place;

/// Writes a board's fuses by its plan, and has its firmware give RPMB its key. NOT TRIED ON HARDWARE. Says what can never be taken
/// back, and refuses unless it is told that this is meant. The same again goes on where the board is.
#[derive(Args)]
pub(crate) struct Fuse {
    /// How the board is reached, TOML: plan, medium, image-offset, rpmb, power-cycle, supply-on, supply-off
    #[arg(long, value_name = "FILE")]
    table: PathBuf,
    /// The board: ssh:[USER@]HOST, or unix:PATH
    #[arg(long, value_name = "PLACE")]
    device: Place,
    /// Also write protection: no fuse can be written any more, rollback counters and revocations of keys too
    #[arg(long)]
    write_protect: bool,
    /// Writes the fuses, for ever
    #[arg(long)]
    dangerously_write_fuses: bool,
}

impl Fuse {
    pub(crate) fn run(&self) -> Result<()> {
        let table = Table::load(&self.table)?;
        let plan = Plan::read(&table.plan)?;
        eprint!("{}", plan.text());
        if !self.dangerously_write_fuses {
            let many = plan.fuses.len();
            bail!(
                "fuses of {} are not written: {many} steps above can never be taken back, and nobody tried this on hardware\n\
                 help: with --dangerously-write-fuses it does so",
                plan.board
            );
        }
        let mut board = OnTable::open(table, self.device.clone())?;
        let mut said = |step: &str, detail: &str| println!("{step:<16}{detail}");
        let mut writing =
            Writing { board: &mut board, plan: &plan, write_protect: self.write_protect, said: &mut said };
        match writing.all() {
            Ok(()) => {
                println!("PASS");
                Ok(())
            }
            Err(failure) => bail!("{failure}\nhelp: {}", failure.help),
        }
    }
}

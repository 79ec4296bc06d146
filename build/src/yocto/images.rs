//! `tb yocto images`: the builder's own step from parts to boot images, for a recipe that built the parts.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::board::Board;
use crate::board::soc::MediumKind;
use crate::builder::Repo;
use crate::firmware::boards::write_images;
use crate::firmware::images::{Inputs, assemble};

/// Puts the images of one medium together.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The board
    #[arg(long, value_name = "BOARD")]
    platform: String,
    /// The medium: sd, emmc, nor
    #[arg(long, value_name = "MEDIUM")]
    medium: String,
    /// Folder with bl2.bin, bl2.elf, bl31.bin and bl31.elf
    #[arg(long, value_name = "DIR")]
    tfa: PathBuf,
    /// Folder with tee-raw.bin and tee.elf
    #[arg(long, value_name = "DIR")]
    optee: PathBuf,
    /// u-boot.bin
    #[arg(long, value_name = "FILE")]
    u_boot: PathBuf,
    /// Where the images go
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Runs `tb yocto images`.
pub(crate) fn run(args: &Args) -> Result<()> {
    let board = Board::load(&Repo::find()?, &args.platform)?;
    let hardware = board.hardware().with_context(|| {
        format!("{} is emulated, it has no boot images\nhelp: --platform names a real board", args.platform)
    })?;
    let kind = medium(&args.medium, hardware.media.keys())?;
    let inputs = Inputs { tfa: &args.tfa, optee: &args.optee, u_boot: &args.u_boot };
    let images = assemble(&hardware, kind, &inputs)?;
    fs::create_dir_all(&args.out).with_context(|| format!("cannot make {}", args.out.display()))?;
    write_images(&args.out, kind, &images)?.iter().for_each(|path| println!("{}", path.display()));
    Ok(())
}

fn medium<'a>(name: &str, known: impl Iterator<Item = &'a MediumKind> + Clone) -> Result<MediumKind> {
    if let Some(kind) = known.clone().find(|kind| kind.name() == name) {
        return Ok(*kind);
    }
    let names: Vec<_> = known.map(|kind| kind.name()).collect();
    bail!("the board has no medium {name}\nhelp: media are {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_are_those_of_the_board() {
        let board = [MediumKind::Sd, MediumKind::Emmc];
        assert_eq!(medium("emmc", board.iter()).unwrap(), MediumKind::Emmc);
        let error = medium("nor", board.iter()).unwrap_err().to_string();
        assert_eq!(error, "the board has no medium nor\nhelp: media are sd, emmc");
    }
}

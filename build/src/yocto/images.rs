//! `tb yocto images`: the builder's own step from parts to boot images, for a recipe that built the parts.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::board::Board;
use crate::board::soc::MediumKind;
use crate::boot::certificates::Counters;
use crate::boot::fuses;
use crate::boot::keys::Keys;
use crate::boot::root_keys::{Choice, RootKeys};
use crate::builder::Repo;
use crate::firmware::boards::write_images;
use crate::firmware::images::{Inputs, Signatures, assemble};
use crate::usage::Usage;

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
    /// Folder with the keys of verified boot: then images are signed, and a plan for the fuses is beside them
    #[arg(long, value_name = "DIR")]
    boot_keys: Option<PathBuf>,
    #[command(flatten)]
    root_keys: Choice,
    /// The firmware's counter: devices take none below the highest they ran
    #[arg(long, value_name = "N", default_value_t = 0, requires = "boot_keys")]
    counter: u32,
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
    let (out, keys) = (&args.out, keys(args)?);
    let counters = Counters { trusted: args.counter, normal: args.counter };
    let signatures = keys.as_ref().map(|(root, keys)| Signatures { root, keys, counters });
    let images = assemble(&hardware, kind, &inputs, signatures.as_ref())?;
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    if let Some(Signatures { root, .. }) = signatures {
        fuses::write(&fuses::plan(&board, root, counters), out)?;
    }
    write_images(out, kind, &images.files())?.iter().for_each(|path| println!("{}", path.display()));
    Ok(())
}

/// The keys that sign, if any were named.
fn keys(args: &Args) -> Result<Option<(RootKeys, Keys)>> {
    match (&args.boot_keys, args.root_keys.development()) {
        (None, true) => Ok(None),
        (Some(folder), false) => Ok(Some((args.root_keys.load()?, Keys::load(folder)?))),
        (Some(_), true) => {
            Err(Usage("no super root key\nhelp: --root-key-public names it".to_owned()).into())
        }
        (None, false) => {
            Err(Usage("no keys of certificates\nhelp: --boot-keys names them".to_owned()).into())
        }
    }
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

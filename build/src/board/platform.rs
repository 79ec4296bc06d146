//! `tb platform`: which boards there are, where things are on one, what a boot image says.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::json;
use trustbox_boot_image::describe::{self, FileKind};

use crate::board::{Board, draw, inherit};
use crate::builder::Repo;

/// Shows boards and boot images; builds nothing.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Task,
}

#[derive(clap::Subcommand)]
enum Task {
    /// Names all boards
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Draws a board's memory and flash maps
    Show {
        /// The board
        #[arg(value_name = "BOARD")]
        board: String,
        /// Writes a picture instead
        #[arg(long, value_name = "FILE")]
        svg: Option<PathBuf>,
    },
    /// Explains a PBL or a FIP, every field and command by name
    Inspect {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// Runs `tb platform`.
pub(crate) fn run(args: &Args) -> Result<()> {
    let text = match &args.command {
        Task::List { json } => list(&Repo::find()?, *json)?,
        Task::Show { board, svg: None } => draw::text(&Board::load(&Repo::find()?, board)?),
        Task::Show { board, svg: Some(file) } => {
            let picture = draw::svg(&Board::load(&Repo::find()?, board)?);
            std::fs::write(file, picture).with_context(|| format!("cannot write {}", file.display()))?;
            format!("{}\n", file.display())
        }
        Task::Inspect { file } => inspect(file)?,
    };
    // Whoever stops reading, as `head` does, has read enough.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(())
}

fn list(repo: &Repo, as_json: bool) -> Result<String> {
    let names = inherit::names(repo)?;
    let boards = names.iter().map(|name| Board::load(repo, name)).collect::<Result<Vec<_>>>()?;
    if as_json {
        let list: Vec<_> = boards
            .iter()
            .map(|board| {
                json!({"name": board.name.get_ref(), "title": board.title, "profile": board.profile.name(),
                       "emulated": board.hardware().is_none()})
            })
            .collect();
        return Ok(format!("{}\n", serde_json::to_string_pretty(&list)?));
    }
    let line = |board: &Board| {
        let media: Vec<_> =
            board.hardware().iter().flat_map(|all| all.media.keys()).map(|kind| kind.name()).collect();
        let media = if media.is_empty() { "emulated".to_owned() } else { media.join(" ") };
        format!("{:<24}{:<12}{media:<16}{}\n", board.name.get_ref(), board.profile.name(), board.title)
    };
    Ok(boards.iter().map(line).collect())
}

fn inspect(file: &Path) -> Result<String> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let lines = match FileKind::of(&bytes) {
        Some(FileKind::Pbl) => describe::pbl(&bytes),
        Some(FileKind::Fip) => describe::fip(&bytes),
        None => bail!(
            "{} is neither a PBL nor a FIP\nhelp: a boot region starts with the PBL at its offset; see `tb platform show`",
            file.display()
        ),
    };
    let lines = lines.with_context(|| format!("cannot read {}", file.display()))?;
    Ok(lines.join("\n") + "\n")
}

//! `tb platform`: which boards there are, and where things are on one.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::json;

use crate::board::{Board, draw, inherit};
use crate::builder::Repo;

/// Shows boards; builds nothing.
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

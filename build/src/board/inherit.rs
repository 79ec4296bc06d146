//! Boards that are another board with another profile: their whole text is `inherits` and `profile`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use toml::Spanned;

use crate::board::{Profile, place};
use crate::builder::Repo;

/// What a board's file is.
pub(crate) enum Text {
    /// A board of its own.
    Whole { path: PathBuf, text: String },
    /// Another board, whose file this is, with another profile.
    Inherits { path: PathBuf, text: String, parent: String, profile: Profile },
}

/// The text of an inheriting board.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Heir {
    inherits: Spanned<String>,
    profile: Spanned<Profile>,
}

/// Reads a board's file, and that of the board it inherits.
pub(crate) fn read(repo: &Repo, name: &str) -> Result<Text> {
    let (path, text) = read_file(repo, name)?;
    if !is_heir(&text) {
        return Ok(Text::Whole { path, text });
    }
    let heir = parse(&path, &text)?;
    check(&path, &text, name, &heir)?;
    let parent = heir.inherits.into_inner();
    let (parent_path, parent_text) = read_file(repo, &parent).with_context(|| format!("board {name}"))?;
    if is_heir(&parent_text) {
        bail!("{}: {parent} inherits a board itself\nhelp: inherit that one", place(&path, &text, None));
    }
    Ok(Text::Inherits { path: parent_path, text: parent_text, parent, profile: heir.profile.into_inner() })
}

/// Names of all boards, sorted.
pub(crate) fn names(repo: &Repo) -> Result<Vec<String>> {
    let root = repo.root().join("platform");
    let entries = std::fs::read_dir(&root).with_context(|| format!("cannot read {}", root.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.path().join("board.toml").is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn read_file(repo: &Repo, name: &str) -> Result<(PathBuf, String)> {
    let path = repo.platform(name).join("board.toml");
    let text = std::fs::read_to_string(&path).with_context(|| {
        let known = names(repo).unwrap_or_default().join(", ");
        format!("no board {name}: cannot read {}\nhelp: boards are {known}", path.display())
    })?;
    Ok((path, text))
}

fn is_heir(text: &str) -> bool {
    text.lines().any(|line| line.trim_start().starts_with("inherits"))
}

fn parse(path: &Path, text: &str) -> Result<Heir> {
    toml::from_str(text).map_err(|error| {
        let place = place(path, text, error.span());
        anyhow::anyhow!(
            "{place}: {}\nhelp: a board that inherits has `inherits` and `profile` only",
            error.message()
        )
    })
}

/// Only a `-dev` board inherits, and its name says what it is.
fn check(path: &Path, text: &str, name: &str, heir: &Heir) -> Result<()> {
    if *heir.profile.get_ref() != Profile::Dev {
        bail!(
            "{}: a board that inherits has the profile \"dev\"",
            place(path, text, Some(heir.profile.span()))
        );
    }
    let wanted = format!("{}-dev", heir.inherits.get_ref());
    if name != wanted {
        bail!("{}: board {name} must be named {wanted}", place(path, text, Some(heir.inherits.span())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str, name: &str) -> String {
        let path = Path::new("board.toml");
        let result = parse(path, text).and_then(|heir| check(path, text, name, &heir));
        result.map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn heirs_are_two_lines() {
        assert_eq!(error("inherits = \"b\"\nprofile = \"dev\"\n", "b-dev"), "");
        assert!(
            error("inherits = \"b\"\nprofile = \"dev\"\nname = \"x\"\n", "b-dev")
                .starts_with("board.toml:3: ")
        );
        assert!(error("inherits = \"b\"\nprofile = \"production\"\n", "b-dev").starts_with("board.toml:2: "));
        assert!(error("inherits = \"b\"\nprofile = \"dev\"\n", "c-dev").contains("must be named b-dev"));
    }
}

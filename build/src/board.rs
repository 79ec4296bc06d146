//! `platform/<board>/board.toml`: a raw form that refuses unknown fields, then a checked type with file and line in errors.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use toml::Spanned;

use crate::builder::Repo;

/// The board every command takes when none is named.
pub(crate) const DEFAULT: &str = "qemu-armv8a";

/// Flags that a production board must switch off, and why.
const WEAK_FLAGS: [(&str, &str); 2] = [
    ("CFG_REE_FS_TA", "loads trusted applications from Linux's file system"),
    ("CFG_INSECURE", "accepts a stub hardware key and storage without rollback protection"),
];

/// What a board is allowed to be used for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Profile {
    Dev,
    Production,
}

/// A board's facts, checked.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Board {
    pub(crate) name: Spanned<String>,
    pub(crate) profile: Profile,
    pub(crate) ta: Facts,
    pub(crate) optee: Optee,
    pub(crate) tfa: TrustedFirmware,
    pub(crate) u_boot: UBoot,
    pub(crate) linux: Linux,
    pub(crate) emulator: Emulator,
}

/// What the TrustBox TA is told about the board.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Facts {
    pub(crate) huk: Huk,
    pub(crate) max_image: u32,
}

/// What the hardware unique key is worth.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Huk {
    Unique,
    TestKey,
    Stub,
}

impl Huk {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Unique => "unique",
            Self::TestKey => "test-key",
            Self::Stub => "stub",
        }
    }
}

impl Profile {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Production => "production",
        }
    }
}

/// OP-TEE's platform and build flags.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Optee {
    pub(crate) platform: String,
    pub(crate) flags: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    pub(crate) debug_flags: BTreeMap<String, Spanned<String>>,
}

/// TF-A's platform and build flags.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct TrustedFirmware {
    pub(crate) platform: String,
    pub(crate) flags: BTreeMap<String, String>,
}

/// U-Boot as a pinned binary.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct UBoot {
    pub(crate) package: String,
    pub(crate) file: String,
    #[serde(default)]
    pub(crate) environment: BTreeMap<String, Spanned<Replacement>>,
}

/// A default value and what replaces it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Replacement {
    pub(crate) from: String,
    pub(crate) to: String,
}

/// The kernel, its command line and its modules.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Linux {
    pub(crate) package: String,
    pub(crate) image: String,
    pub(crate) command_line: String,
    /// Modules by the occasion they are loaded on.
    pub(crate) modules: BTreeMap<String, Vec<String>>,
}

/// How QEMU is started.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Emulator {
    pub(crate) program: String,
    pub(crate) machine: String,
    pub(crate) cpu: String,
    pub(crate) cpus: u32,
    pub(crate) memory_mib: u32,
}

impl Board {
    /// Reads a board by the name of its folder.
    pub(crate) fn load(repo: &Repo, name: &str) -> Result<Self> {
        let path = repo.platform(name).join("board.toml");
        let text = std::fs::read_to_string(&path).with_context(|| {
            format!(
                "no board {name}: cannot read {}\nhelp: boards are the folders of platform/",
                path.display()
            )
        })?;
        Self::parse(&text, &path, name)
    }

    fn parse(text: &str, path: &Path, name: &str) -> Result<Self> {
        let board: Self = toml::from_str(text).map_err(|error| {
            let place = place(path, text, error.span());
            anyhow::anyhow!("{place}: {}", error.message())
        })?;
        let complaint = board.complaint(name);
        match complaint {
            Some((span, what)) => bail!("{}: {what}", place(path, text, Some(span))),
            None => Ok(board),
        }
    }

    /// The first thing that is wrong, with its place.
    fn complaint(&self, folder: &str) -> Option<(Range<usize>, String)> {
        if self.name.get_ref() != folder {
            let what = format!("board {} is in folder {folder}", self.name.get_ref());
            return Some((self.name.span(), what));
        }
        self.weak_flag().or_else(|| self.unequal_replacement())
    }

    /// OP-TEE's own defaults are weak, so a production board must say "n" itself.
    fn weak_flag(&self) -> Option<(Range<usize>, String)> {
        if self.profile == Profile::Dev {
            return None;
        }
        WEAK_FLAGS.iter().find_map(|(flag, why)| {
            let value = self.optee.flags.get(*flag);
            let off = value.is_some_and(|value| value.get_ref() == "n");
            let what = format!("{flag} {why}\nhelp: set it to \"n\", or the profile to \"dev\"");
            (!off).then(|| (value.map_or(self.name.span(), Spanned::span), what))
        })
    }

    fn unequal_replacement(&self) -> Option<(Range<usize>, String)> {
        self.u_boot.environment.iter().find_map(|(name, value)| {
            let (from, to) = (&value.get_ref().from, &value.get_ref().to);
            let what = format!("{name}: \"{from}\" and \"{to}\" must have the same length");
            (from.len() != to.len()).then(|| (value.span(), what))
        })
    }

    /// OP-TEE's flags, with those of a debugging build where asked.
    pub(crate) fn optee_flags(&self, debug: bool) -> BTreeMap<&str, &str> {
        let extra = self.optee.debug_flags.iter().filter(|_| debug);
        let all = self.optee.flags.iter().chain(extra);
        all.map(|(name, value)| (name.as_str(), value.get_ref().as_str())).collect()
    }
}

fn place(path: &Path, text: &str, span: Option<Range<usize>>) -> String {
    let start = span.map_or(0, |span| span.start.min(text.len()));
    let line = 1 + text.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count();
    format!("{}:{line}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = include_str!("../../platform/qemu-armv8a/board.toml");

    fn error_of(text: &str) -> String {
        Board::parse(text, Path::new("board.toml"), DEFAULT).unwrap_err().to_string()
    }

    fn line_of(needle: &str) -> usize {
        1 + TEXT.lines().position(|line| line.starts_with(needle)).unwrap()
    }

    #[test]
    fn the_emulated_board_is_valid() {
        let board = Board::parse(TEXT, Path::new("board.toml"), DEFAULT).unwrap();
        assert_eq!(board.optee_flags(false)["CFG_NUM_THREADS"], "4");
        assert_eq!(board.optee_flags(true)["CFG_TA_ASLR"], "n");
    }

    #[test]
    fn unknown_field_is_named_with_its_line() {
        let text = TEXT.replace("cpus = 2", "cores = 2");
        let error = error_of(&text);
        assert!(error.starts_with(&format!("board.toml:{}: ", line_of("cpus"))), "{error}");
        assert!(error.contains("cores"));
    }

    #[test]
    fn production_refuses_weak_flags() {
        let error = error_of(&TEXT.replace("profile = \"dev\"", "profile = \"production\""));
        assert!(error.starts_with(&format!("board.toml:{}: ", line_of("CFG_REE_FS_TA"))), "{error}");
        assert!(error.contains("help: "));
    }

    #[test]
    fn name_and_replacement_are_checked() {
        assert!(
            error_of(&TEXT.replace("name = \"qemu-armv8a\"", "name = \"other\"")).contains("board other")
        );
        let error = error_of(&TEXT.replace("to = \"0\"", "to = \"10\""));
        assert!(error.contains("same length"), "{error}");
    }
}

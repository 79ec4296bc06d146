//! `yocto/layers.toml`: the layers of others at one commit each, and the kas files that follow from it.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::builder::Repo;
use crate::yocto::generate;

/// The file, below the repository.
const FILE: &str = "yocto/layers.toml";
/// The version of kas' format that the files are written in.
const KAS_FORMAT: u32 = 14;

/// Layers of others that ours need.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Layers {
    pub(crate) series: String,
    #[serde(rename = "repository")]
    pub(crate) repositories: Vec<Repository>,
}

/// One repository with layers.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Repository {
    /// Its folder beside the others.
    pub(crate) name: String,
    url: String,
    branch: String,
    pub(crate) commit: String,
    /// Folders in it; bitbake itself has none.
    pub(crate) layers: Vec<String>,
    /// Whether only boards need it.
    #[serde(default)]
    only_bsp: bool,
}

impl Layers {
    /// Reads the repository's file.
    pub(crate) fn load(repo: &Repo) -> Result<Self> {
        let path = repo.root().join(FILE);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let layers: Self =
            toml::from_str(&text).with_context(|| format!("{} is not valid", path.display()))?;
        for repository in &layers.repositories {
            let commit = &repository.commit;
            let whole = commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
            ensure!(whole, "{FILE}: commit {commit} of {} is no whole commit", repository.name);
        }
        Ok(layers)
    }

    /// Those that a machine needs.
    pub(crate) fn needed(&self, bsp: bool) -> impl Iterator<Item = &Repository> {
        self.repositories.iter().filter(move |repository| bsp || !repository.only_bsp)
    }

    /// The part of the kas files that names repositories: of every machine, or only of boards.
    pub(crate) fn kas(&self, only_bsp: bool) -> Result<String> {
        let mut text = generate::head(FILE);
        writeln!(text, "header:\n  version: {KAS_FORMAT}")?;
        if only_bsp {
            text.push_str("  includes:\n    - yocto/kas/common.yml\n");
        } else {
            text.push_str("  includes:\n    - yocto/kas/settings.yml\n");
        }
        text.push_str("\nrepos:\n");
        for repository in self.repositories.iter().filter(|repository| repository.only_bsp == only_bsp) {
            repository.write(&mut text)?;
        }
        Ok(text)
    }
}

impl Repository {
    fn write(&self, text: &mut String) -> Result<()> {
        writeln!(text, "  {}:\n    url: {}\n    branch: \"{}\"", self.name, self.url, self.branch)?;
        writeln!(text, "    commit: {}\n    layers:", self.commit)?;
        if self.layers.is_empty() {
            writeln!(text, "      {}: disabled", self.name)?;
        }
        for layer in &self.layers {
            writeln!(text, "      {layer}:")?;
        }
        Ok(())
    }

    /// Its layers below the folder that has all repositories.
    pub(crate) fn folders(&self, all: &Path) -> impl Iterator<Item = PathBuf> {
        let folder = all.join(&self.name);
        self.layers.iter().map(move |layer| if layer == "." { folder.clone() } else { folder.join(layer) })
    }
}

//! `platform/lock.toml`: the Debian packages everything is made of, each file pinned by size and SHA-256.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::builder::Repo;

/// The comment at the head of the lock file, kept when it is rewritten.
const HEAD: &str = "\
# What the device and its firmware are made of: Debian packages, each file pinned by size and SHA-256.
#
# Paths are relative to a Debian mirror; which mirror is the host's own apt configuration. Everything here was built and
# tested together. To move one pin forward: build/tb lock --update PACKAGE
";

/// All pins.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LockFile {
    #[serde(rename = "package")]
    pub(crate) packages: Vec<Package>,
}

/// One pinned package.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) kind: Kind,
    /// The Debian suite a newer version is looked up in.
    pub(crate) suite: String,
    #[serde(rename = "file")]
    pub(crate) files: Vec<PinnedFile>,
}

/// Source package or arm64 binary package.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Source,
    Binary,
}

/// One file of a package.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PinnedFile {
    /// Path below a mirror's base, as in a URI.
    pub(crate) path: String,
    /// Octets.
    pub(crate) size: u64,
    pub(crate) sha256: String,
}

impl LockFile {
    /// Reads the repository's lock file.
    pub(crate) fn load(repo: &Repo) -> Result<Self> {
        let path = Self::path(repo);
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("{} is not valid", path.display()))
    }

    /// Where the lock file is.
    pub(crate) fn path(repo: &Repo) -> PathBuf {
        repo.root().join("platform/lock.toml")
    }

    /// Finds a package by name.
    pub(crate) fn package(&self, name: &str) -> Result<&Package> {
        self.packages.iter().find(|package| package.name == name).with_context(|| {
            let names: Vec<_> = self.packages.iter().map(|package| package.name.as_str()).collect();
            format!("package {name} is not in platform/lock.toml\nhelp: it has {}", names.join(", "))
        })
    }

    /// Writes the lock file.
    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        let text = format!("{HEAD}\n{}", toml::to_string(self)?);
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let lock: Self = toml::from_str(text)?;
        for package in &lock.packages {
            package.check()?;
        }
        Ok(lock)
    }
}

impl Package {
    /// The version without Debian's epoch and revision.
    pub(crate) fn upstream_version(&self) -> &str {
        let version = self.version.split_once(':').map_or(&*self.version, |(_, version)| version);
        version.rsplit_once('-').map_or(version, |(version, _)| version)
    }

    fn check(&self) -> Result<()> {
        if self.files.is_empty() {
            bail!("package {} {} pins no file", self.name, self.version);
        }
        self.files.iter().try_for_each(|file| file.check(&self.name))
    }
}

impl PinnedFile {
    /// The file's name in the download folder.
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    fn check(&self, package: &str) -> Result<()> {
        let relative = !self.path.starts_with('/') && !self.path.contains("://") && !self.path.contains("..");
        if !relative {
            bail!("package {package}: path {} is not below a mirror", self.path);
        }
        let digits = self.sha256.len() == 64 && self.sha256.bytes().all(|b| b.is_ascii_hexdigit());
        if !digits {
            bail!("package {package}: sha256 {} is not 64 hexadecimal digits", self.sha256);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[[package]]\nname = \"p\"\nversion = \"1\"\nkind = \"binary\"\nsuite = \"trixie\"\n\
        [[package.file]]\npath = \"pool/p_1.deb\"\nsize = 3\nsha256 = \"";

    fn with_hash(hash: &str) -> String {
        format!("{GOOD}{hash}\"\n")
    }

    #[test]
    fn upstream_version_has_no_epoch_and_no_revision() {
        let package = |version: &str| Package {
            name: "p".into(),
            version: version.into(),
            kind: Kind::Source,
            suite: "sid".into(),
            files: Vec::new(),
        };
        for (version, upstream) in [("4.10.0-2", "4.10.0"), ("1:1.37.0-6+b9", "1.37.0"), ("3", "3")] {
            assert_eq!(package(version).upstream_version(), upstream);
        }
    }

    #[test]
    fn good_lock_parses() {
        let lock = LockFile::parse(&with_hash(&"0".repeat(64))).unwrap();
        assert_eq!(lock.package("p").unwrap().files[0].name(), "p_1.deb");
        assert!(lock.package("q").unwrap_err().to_string().contains("help: it has p"));
    }

    #[test]
    fn bad_locks_are_refused() {
        assert!(LockFile::parse(&with_hash("00")).is_err());
        let absolute = with_hash(&"0".repeat(64)).replace("pool/", "/pool/");
        assert!(LockFile::parse(&absolute).is_err());
        let unknown = with_hash(&"0".repeat(64)).replace("size = 3", "size = 3\nmirror = \"x\"");
        assert!(LockFile::parse(&unknown).is_err());
    }

    #[test]
    fn the_repository_lock_is_valid_and_names_no_host() {
        let text = include_str!("../../platform/lock.toml");
        let lock = LockFile::parse(text).unwrap();
        assert!(text.starts_with(HEAD) && !text.contains("://"));
        assert!(lock.packages.iter().any(|package| package.kind == Kind::Source));
    }

    #[test]
    fn saving_keeps_every_pin() {
        let path = std::env::temp_dir().join(format!("tb-lockfile-{}", std::process::id()));
        let lock = LockFile::parse(&with_hash(&"a".repeat(64))).unwrap();
        lock.save(&path).unwrap();
        let again = LockFile::parse(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(again.packages[0].files, lock.packages[0].files);
        std::fs::remove_file(path).unwrap();
    }
}

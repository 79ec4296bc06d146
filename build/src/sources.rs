//! Unpacks pinned packages: sources with Debian's patches and then ours, binary packages as plain folders.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::builder::{Builder, Repo};
use crate::hash::Key;
use crate::tool::Tool;

/// An unpacked source and the key of its content.
pub(crate) struct Source {
    pub(crate) folder: PathBuf,
    pub(crate) key: String,
}

impl Builder {
    /// A source package, Debian's patches and `platform/patches/<name>/*.patch` applied.
    pub(crate) fn source(&self, name: &str) -> Result<Source> {
        self.source_with(name, &format!("{name}-source"), &self.repo.patches(name)?)
    }

    /// A source package as Debian has it, to compare ours with.
    pub(crate) fn source_of_debian(&self, name: &str) -> Result<Source> {
        self.source_with(name, &format!("{name}-of-debian-source"), &[])
    }

    fn source_with(&self, name: &str, step: &str, ours: &[PathBuf]) -> Result<Source> {
        let package = self.lock.package(name)?;
        let mut key = Key::new("source").texts(package.files.iter().map(|file| &file.sha256));
        for patch in ours {
            key = key.file(patch)?;
        }
        let key = key.finish();
        let archives = self.package_files(name)?;
        let folder = self.cached(step, &key, |dirs| {
            unpack_source(&archives, &dirs.out, &dirs.log)?;
            ours.iter().try_for_each(|patch| apply(patch, &dirs.out, &dirs.log))
        })?;
        Ok(Source { folder, key })
    }

    /// A binary package's files; its scripts do not run.
    pub(crate) fn binary(&self, name: &str) -> Result<PathBuf> {
        let package = self.lock.package(name)?;
        let key = Key::new("binary").texts(package.files.iter().map(|file| &file.sha256)).finish();
        let archives = self.package_files(name)?;
        self.cached(&format!("packages/{name}"), &key, |dirs| {
            archives.iter().try_for_each(|archive| {
                Tool::new("dpkg-deb").arg("-x").arg(archive).arg(&dirs.out).run(&dirs.log)
            })
        })
    }
}

impl Repo {
    /// Our patches to a package, in the order in which they are applied.
    pub(crate) fn patches(&self, name: &str) -> Result<Vec<PathBuf>> {
        let folder = self.root().join("platform/patches").join(name);
        if !folder.is_dir() {
            return Ok(Vec::new());
        }
        let mut patches: Vec<_> =
            fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
        patches.retain(|path| path.extension().is_some_and(|extension| extension == "patch"));
        patches.sort();
        Ok(patches)
    }
}

fn unpack_source(archives: &[PathBuf], out: &Path, log: &Path) -> Result<()> {
    let is_debian = |path: &&PathBuf| path.to_string_lossy().contains(".debian.tar.");
    for archive in archives.iter().filter(|path| !is_debian(path)) {
        tar(archive, out, &["--strip-components=1"], log)?;
    }
    for archive in archives.iter().filter(is_debian) {
        tar(archive, out, &[], log)?;
    }
    let series = out.join("debian/patches/series");
    let text = fs::read_to_string(&series).with_context(|| format!("cannot read {}", series.display()))?;
    for name in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        apply(&out.join("debian/patches").join(name), out, log)?;
    }
    Ok(())
}

fn tar(archive: &Path, out: &Path, extra: &[&str], log: &Path) -> Result<()> {
    Tool::new("tar").arg("-xf").arg(archive).arg("-C").arg(out).args(extra).run(log)
}

fn apply(patch: &Path, folder: &Path, log: &Path) -> Result<()> {
    Tool::new("patch")
        .args(["-p1", "--batch", "--forward", "--fuzz=0", "--no-backup-if-mismatch", "-i"])
        .arg(patch)
        .dir(folder)
        .help("the patch does not fit this version of the source: rework it")
        .run(log)
}

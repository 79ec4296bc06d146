//! Downloads pinned files with apt's own downloader, so that the host's mirror, proxy and credentials apply.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::builder::Builder;
use crate::hash::sha256_hex;
use crate::lock::{Package, PinnedFile};
use crate::tool::{Tool, tail};
use crate::ui;

/// Apt's downloader; it is not in the search path.
const APT_HELPER: &str = "/usr/lib/apt/apt-helper";

impl Builder {
    /// All files of a pinned package, downloaded unless they are in the cache.
    pub(crate) fn package_files(&self, name: &str) -> Result<Vec<PathBuf>> {
        let package = self.lock.package(name)?;
        package.files.iter().map(|file| self.pinned_file(package, file)).collect()
    }

    fn pinned_file(&self, package: &Package, file: &PinnedFile) -> Result<PathBuf> {
        if let Some(archive) = &self.archive {
            return archive.file(file);
        }
        let folder = self.repo.cache().join("downloads").join(&file.sha256[..16]);
        let path = folder.join(file.name());
        if path.is_file() {
            return Ok(path);
        }
        let text = format!("download {} {}", package.name, package.version);
        ui::step(&text, || self.fetch(package, file, &folder, &path))?;
        Ok(path)
    }

    fn fetch(&self, package: &Package, file: &PinnedFile, folder: &Path, path: &Path) -> Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let part = folder.join("unfinished");
        let log = self.log(&format!("download-{}", package.name));
        let _ = fs::remove_file(&log);
        for base in mirrors()? {
            let _ = fs::remove_file(&part);
            if fetch_from(&base, file, &part, &log).is_ok() {
                verify(file, &part)?;
                return Ok(fs::rename(&part, path)?);
            }
        }
        bail!(explain(package, &tail(&log), &log))
    }
}

fn fetch_from(base: &str, file: &PinnedFile, part: &Path, log: &Path) -> Result<()> {
    Tool::new(APT_HELPER)
        .args(["-o", "Acquire::Retries=2", "download-file"])
        .arg(format!("{}/{}", base.trim_end_matches('/'), file.path))
        .arg(part)
        .arg(format!("SHA256:{}", file.sha256))
        .run(log)
}

/// The downloader checks the digest; this holds even if its option is ignored one day.
fn verify(file: &PinnedFile, part: &Path) -> Result<()> {
    let bytes = fs::read(part)?;
    let found = sha256_hex(&bytes);
    if bytes.len() as u64 != file.size || found != file.sha256 {
        fs::remove_file(part)?;
        bail!(
            "{}: expected {} octets with sha256 {}, got {} with {found}\nhelp: try again; if it stays so, the mirror is wrong",
            file.name(),
            file.size,
            file.sha256,
            bytes.len()
        );
    }
    Ok(())
}

fn explain(package: &Package, log_tail: &str, log: &Path) -> String {
    let (name, version) = (&package.name, &package.version);
    if log_tail.contains("404") {
        return format!(
            "the mirror no longer has {name} {version}, which is pinned\nlog: {}\nhelp: build/tb lock --update {name} pins the newest version instead",
            log.display()
        );
    }
    format!(
        "cannot download {name} {version}\n{log_tail}\nlog: {}\nhelp: check the network and the mirror in this host's apt sources",
        log.display()
    )
}

/// Base URIs of the Debian mirrors in the host's apt configuration, main archive first.
pub(crate) fn mirrors() -> Result<Vec<String>> {
    let listed = Tool::new("apt-get").args(["indextargets", "--format", "$(REPO_URI)"]).output()?;
    let mut bases: Vec<String> = Vec::new();
    for line in listed.lines().map(str::trim).filter(|line| line.contains("debian")) {
        if !bases.iter().any(|base| base == line) {
            bases.push(line.to_owned());
        }
    }
    bases.sort_by_key(|base| base.contains("security"));
    if bases.is_empty() {
        bail!("no Debian mirror in this host's apt configuration\nhelp: add one to /etc/apt/sources.list.d");
    }
    Ok(bases)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::Kind;

    #[test]
    fn gone_and_unreachable_are_told_apart() {
        let package = Package {
            name: "p".into(),
            version: "1".into(),
            kind: Kind::Binary,
            suite: "trixie".into(),
            files: vec![],
        };
        let gone = explain(&package, "Err 404  Not Found", Path::new("log"));
        assert!(gone.contains("p 1") && gone.ends_with("lock --update p pins the newest version instead"));
        assert!(explain(&package, "Could not resolve", Path::new("log")).contains("check the network"));
    }
}

//! Debian's signed metadata, in a private apt root: the newest version of a pin, and the source packages of what is pinned.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::builder::Builder;
use crate::download::mirrors;
use crate::lock::{Kind, Package, PinnedFile};
use crate::tool::Tool;

/// The key that signs Debian's metadata.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Apt's state in a folder of its own, for one suite and architecture arm64; gone with this.
pub(crate) struct AptRoot {
    folder: PathBuf,
    config: PathBuf,
    log: PathBuf,
}

impl Drop for AptRoot {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl AptRoot {
    /// With what the suite has now.
    pub(crate) fn create(builder: &Builder, suite: &str, log: &Path) -> Result<Self> {
        let folder = builder.repo.cache().join("apt").join(suite);
        for name in ["etc", "lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(name))?;
        }
        fs::write(folder.join("status"), "")?;
        fs::write(folder.join("sources.list"), sources(suite)?)?;
        let config = folder.join("apt.conf");
        fs::write(&config, settings(&folder))?;
        let root = Self { folder, config, log: log.to_path_buf() };
        root.apt().arg("update").help("check the network and the mirror in apt's sources").run(log)?;
        Ok(root)
    }

    /// A pin of the newest version.
    pub(crate) fn newest(&self, old: &Package) -> Result<Package> {
        let listing = match old.kind {
            Kind::Source => {
                self.apt().args(["source", "--download-only", "--print-uris"]).arg(&old.name).output()?
            }
            Kind::Binary => self.apt().args(["download", "--print-uris"]).arg(&old.name).output()?,
        };
        let files: Vec<_> = listing.lines().filter_map(parse_uri_line).collect();
        let wanted = |file: &&PinnedFile| !file.path.ends_with(".dsc") && !file.path.ends_with(".asc");
        let files: Vec<_> = files.iter().filter(wanted).cloned().collect();
        if files.is_empty() {
            bail!("{} is not in {}\nhelp: correct its suite in platform/lock.toml", old.name, old.suite);
        }
        Ok(Package { version: self.version(old)?, files, ..old.clone() })
    }

    /// Source packages, each as `NAME=VERSION`, with everything of them; what is there and whole is not fetched again. Returns which
    /// files no mirror gave.
    pub(crate) fn fetch_sources(&self, wanted: &[String], into: &Path) -> Result<Vec<String>> {
        let tool = self.apt().args(["source", "--download-only", "--only-source"]).args(wanted).dir(into);
        let fetched = tool.run(&self.log);
        // What is there has no line any more.
        let listing = tool.arg("--print-uris").output()?;
        let lines = listing.lines().filter(|line| parse_uri_line(line).is_some());
        let lacking: Vec<_> = lines.filter_map(|line| Some(line.split(' ').nth(1)?.to_owned())).collect();
        if lacking.is_empty() { fetched.map(|()| lacking) } else { Ok(lacking) }
    }

    fn version(&self, old: &Package) -> Result<String> {
        let tool = Tool::new("apt-cache").env("APT_CONFIG", &self.config);
        let (tool, field) = match old.kind {
            Kind::Source => (tool.args(["showsrc", "--only-source"]), "Version: "),
            Kind::Binary => (tool.args(["show", "--no-all-versions"]), "Version: "),
        };
        let shown = tool.arg(&old.name).output()?;
        let version = shown.lines().filter_map(|line| line.strip_prefix(field)).next_back();
        version.map(str::to_owned).with_context(|| format!("apt names no version of {}", old.name))
    }

    fn apt(&self) -> Tool {
        Tool::new("apt-get").env("APT_CONFIG", &self.config)
    }
}

fn sources(suite: &str) -> Result<String> {
    let mut text = String::new();
    for base in mirrors()?.iter().filter(|base| !base.contains("security")) {
        for kind in ["deb", "deb-src"] {
            text.push_str(&format!("{kind} [arch=arm64 signed-by={KEYRING}] {base} {suite} main\n"));
        }
    }
    Ok(text)
}

/// A pin's hash makes freshness of the index irrelevant, and snapshots of mirrors expire.
fn settings(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "Dir::Etc \"{folder}/etc/\";\nDir::Etc::sourcelist \"{folder}/sources.list\";\nDir::Etc::sourceparts \"-\";\n\
         Dir::State \"{folder}\";\nDir::State::lists \"{folder}/lists\";\nDir::State::status \"{folder}/status\";\n\
         Dir::Cache \"{folder}/cache\";\nAPT::Architecture \"arm64\";\nAPT::Architectures {{ \"arm64\"; }};\n\
         Acquire::Languages \"none\";\nAcquire::Check-Valid-Until \"false\";\nAcquire::ForceHash \"SHA256\";\n"
    )
}

/// Reads `'URI' NAME SIZE SHA256:HEX`, keeping what follows the mirror's base.
fn parse_uri_line(line: &str) -> Option<PinnedFile> {
    let (uri, rest) = line.strip_prefix('\'')?.split_once("' ")?;
    let (_, path) = uri.split_once("/pool/")?;
    let mut words = rest.split(' ').skip(1);
    let size = words.next()?.parse().ok()?;
    let sha256 = words.next()?.strip_prefix("SHA256:")?.to_owned();
    Some(PinnedFile { path: format!("pool/{path}"), size, sha256 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uri_lines_lose_their_host() {
        let line = "'http://mirror.example/debian/pool/main/p/p_1%2b2.deb' p_1+2.deb 12 SHA256:ab";
        let file = parse_uri_line(line).unwrap();
        assert_eq!(
            (file.path.as_str(), file.size, file.sha256.as_str()),
            ("pool/main/p/p_1%2b2.deb", 12, "ab")
        );
        assert!(parse_uri_line("Reading package lists...").is_none());
    }
}

//! `tb lock`: moves a pin to the newest version, or adds one, found through Debian's signed metadata in a private apt root.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::builder::Builder;
use crate::download::mirrors;
use crate::lock::{Kind, LockFile, Package, PinnedFile};
use crate::tool::Tool;
use crate::ui;

/// The key that signs Debian's metadata.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// What is added is of the release that everything else on a device is of.
const SUITE: &str = "trixie";

/// Lists pins, moves one forward, or adds some.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Package to move to the newest version of its suite
    #[arg(long, value_name = "PACKAGE")]
    update: Option<String>,
    /// Binary packages of the device to add
    #[arg(long, value_name = "PACKAGE", num_args = 1.., conflicts_with = "update")]
    add: Vec<String>,
}

/// Runs `tb lock`.
pub(crate) fn run(args: &Args) -> Result<()> {
    let builder = Builder::open(crate::board::DEFAULT)?;
    match &args.update {
        Some(name) => update(&builder, name),
        None if !args.add.is_empty() => add(&builder, &args.add),
        None => {
            for package in &builder.lock.packages {
                println!("{} {} ({})", package.name, package.version, package.suite);
            }
            Ok(())
        }
    }
}

fn update(builder: &Builder, name: &str) -> Result<()> {
    let old = builder.lock.package(name)?.clone();
    let root = AptRoot::create(&builder.repo.cache().join("apt"), &old.suite)?;
    let new = ui::step(&format!("look up {name}"), || root.newest(&old, &builder.log("lock")))?;
    fs::remove_dir_all(&root.folder)?;
    if new.version == old.version && new.files == old.files {
        println!("{name} {} is the newest in {}", old.version, old.suite);
        return Ok(());
    }
    println!("{name}: {} -> {}; not tested yet, run build/tb test", old.version, new.version);
    let mut lock: LockFile = builder.lock.clone();
    for package in &mut lock.packages {
        if package.name == name {
            package.clone_from(&new);
        }
    }
    lock.save(&LockFile::path(&builder.repo))
}

fn add(builder: &Builder, names: &[String]) -> Result<()> {
    let root = AptRoot::create(&builder.repo.cache().join("apt"), SUITE)?;
    let mut lock: LockFile = builder.lock.clone();
    for name in names {
        ensure!(
            lock.package(name).is_err(),
            "{name} is in platform/lock.toml already\nhelp: --update moves it forward"
        );
        let (version, suite) = (String::new(), SUITE.to_owned());
        let none = Package { name: name.clone(), version, kind: Kind::Binary, suite, files: Vec::new() };
        let new = ui::step(&format!("look up {name}"), || root.newest(&none, &builder.log("lock")))?;
        println!("{name} {}", new.version);
        lock.packages.push(new);
    }
    fs::remove_dir_all(&root.folder)?;
    lock.save(&LockFile::path(&builder.repo))
}

/// Apt's state in a folder of ours, for one suite and architecture arm64.
struct AptRoot {
    folder: PathBuf,
    config: PathBuf,
}

impl AptRoot {
    fn create(folder: &Path, suite: &str) -> Result<Self> {
        for name in ["etc", "lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(name))?;
        }
        fs::write(folder.join("status"), "")?;
        fs::write(folder.join("sources.list"), sources(suite)?)?;
        let config = folder.join("apt.conf");
        fs::write(&config, settings(folder))?;
        Ok(Self { folder: folder.to_path_buf(), config })
    }

    fn newest(&self, old: &Package, log: &Path) -> Result<Package> {
        self.apt().arg("update").help("check the network and the mirror in apt's sources").run(log)?;
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

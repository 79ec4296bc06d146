//! `tb archive`: everything that an image is made of in one folder, so that it can be made again when mirrors are gone.
//!
//! `debian/` has every file of `platform/lock.toml`, `crates/` every crate of `Cargo.lock`. `tb image --from` takes both from there and
//! asks nobody else; the image is the same. `sources/` has the source packages of all that Debian built, which licences ask of whoever
//! gives an image away.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::apt::AptRoot;
use crate::builder::Builder;
use crate::cargo::REGISTRY;
use crate::hash::{files_below, sha256_hex};
use crate::lock::{Kind, Package, PinnedFile};
use crate::tool::Tool;
use crate::ui;

const PACKAGES: &str = "debian";
const CRATES: &str = "crates";
const SOURCES: &str = "sources";
const SUMS: &str = "SHA256SUMS";

/// Stores everything that an image is made of.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder to make
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Leave out the source packages of what Debian built: no build needs them
    #[arg(long)]
    without_sources: bool,
}

/// Runs `tb archive`.
pub(crate) fn run(args: &Args) -> Result<()> {
    let builder = Builder::open(crate::board::DEFAULT)?;
    let out = &args.out;
    fs::create_dir_all(out.join(PACKAGES)).with_context(|| format!("cannot make {}", out.display()))?;
    let packages = stored(&builder)?;
    for package in &packages {
        for (file, from) in package.files.iter().zip(builder.package_files(&package.name)?) {
            let to = packed(out, file);
            fs::create_dir_all(to.parent().context("no folder above")?)?;
            fs::copy(&from, &to).with_context(|| format!("cannot write {}", to.display()))?;
        }
    }
    let vendor =
        builder.cargo().args(["vendor", "--locked", "--versioned-dirs", "--quiet"]).arg(out.join(CRATES));
    ui::step("crates", || vendor.help("check the network").run(&builder.log("archive")))?;
    let lacking = match args.without_sources {
        true => Vec::new(),
        false => ui::step("sources", || fetch_sources(&builder, &packages, &out.join(SOURCES)))?,
    };
    let mut text = String::new();
    let files = files_below(out)?;
    for path in files.iter().filter(|path| !path.ends_with(SUMS)) {
        let name = path.strip_prefix(out)?.display().to_string();
        text.push_str(&format!("{}  {name}\n", sha256_hex(&fs::read(path)?)));
    }
    fs::write(out.join(SUMS), text)?;
    println!("{}: {} packages, {} files", out.display(), packages.len(), files.len());
    ensure!(
        lacking.is_empty(),
        "no mirror has {} files of source packages: {}\nhelp: images build from this archive; the same command with a mirror that has them \
         fetches the rest, --without-sources leaves all of them out",
        lacking.len(),
        lacking.join(", ")
    );
    Ok(())
}

/// What is pinned, but not what only the campaign of scripts runs.
fn stored(builder: &Builder) -> Result<Vec<&Package>> {
    let tools = crate::campaign::tools_of_no_image(builder)?;
    Ok(builder.lock.packages.iter().filter(|package| !tools.contains(&package.name)).collect())
}

/// The source packages of all that is pinned as binary, and of what Debian linked into it; returns which files no mirror gave.
fn fetch_sources(builder: &Builder, packages: &[&Package], into: &Path) -> Result<Vec<String>> {
    fs::create_dir_all(into).with_context(|| format!("cannot make {}", into.display()))?;
    let mut wanted: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for package in packages.iter().filter(|package| package.kind == Kind::Binary) {
        for file in builder.package_files(&package.name)? {
            wanted.entry(&package.suite).or_default().extend(sources_of(&file)?);
        }
    }
    let mut lacking = Vec::new();
    for (suite, sources) in wanted {
        let sources: Vec<_> = sources.into_iter().collect();
        lacking
            .extend(AptRoot::create(builder, suite, &builder.log("archive"))?.fetch_sources(&sources, into)?);
    }
    Ok(lacking)
}

/// Sources of a binary package, as `NAME=VERSION` (Debian Policy 5.6.1 and 7.8).
fn sources_of(package: &Path) -> Result<BTreeSet<String>> {
    let format = "${source:Package} (= ${source:Version}), ${Built-Using}, ${Static-Built-Using}";
    let fields = Tool::new("dpkg-deb").arg(format!("--showformat={format}")).arg("--show").arg(package);
    named(&fields.output()?).with_context(|| package.display().to_string())
}

fn named(fields: &str) -> Result<BTreeSet<String>> {
    let all = fields.split(',').map(str::trim).filter(|field| !field.is_empty());
    let one = |field: &str| {
        let (name, version) = field.strip_suffix(')')?.split_once(" (= ")?;
        Some(format!("{name}={version}"))
    };
    all.map(|field| one(field).with_context(|| format!("a source without its version: {field}"))).collect()
}

/// Where an archive has a file.
fn packed(archive: &Path, file: &PinnedFile) -> PathBuf {
    archive.join(PACKAGES).join(&file.sha256[..16]).join(file.name())
}

/// An archive that builds take from.
#[derive(Clone, Debug)]
pub(crate) struct Archive {
    folder: PathBuf,
}

impl Archive {
    /// Opens one.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let folder = fs::canonicalize(folder).with_context(|| format!("cannot open {}", folder.display()))?;
        let plain = folder.to_str().is_some_and(|text| !text.contains(['"', '\\', '\n']));
        ensure!(plain, "{}: a name that cargo does not take", folder.display());
        for name in [PACKAGES, CRATES] {
            ensure!(
                folder.join(name).is_dir(),
                "{} is no archive: it has no {name}\nhelp: `build/tb archive` makes one",
                folder.display()
            );
        }
        Ok(Self { folder })
    }

    /// A pinned file, verified.
    pub(crate) fn file(&self, file: &PinnedFile) -> Result<PathBuf> {
        let path = packed(&self.folder, file);
        let content = fs::read(&path).with_context(|| format!("the archive lacks {}", path.display()))?;
        if sha256_hex(&content) != file.sha256 {
            bail!(
                "{} has not the digest of platform/lock.toml\nhelp: the archive is damaged, or of another version",
                path.display()
            );
        }
        Ok(path)
    }

    /// Cargo that asks nobody for crates.
    pub(crate) fn cargo(&self, cargo: Tool) -> Tool {
        let place = format!("source.trustbox-archive.directory=\"{}\"", self.crates().display());
        cargo.args([
            "--offline",
            "--config",
            "source.crates-io.replace-with=\"trustbox-archive\"",
            "--config",
            &place,
        ])
    }

    /// Where its crates are, and what they are called in what is built.
    pub(crate) fn remapped(&self) -> (String, &'static str) {
        (self.crates().display().to_string(), REGISTRY)
    }

    fn crates(&self) -> PathBuf {
        self.folder.join(CRATES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_named_with_those_that_were_linked() {
        let found = named("linux-signed-arm64 (= 6.12.107+1), linux (= 6.12.107-1), ").unwrap();
        assert_eq!(
            found.into_iter().collect::<Vec<_>>(),
            ["linux-signed-arm64=6.12.107+1", "linux=6.12.107-1"]
        );
        assert!(named("linux (>= 6)").is_err());
    }

    #[test]
    fn only_what_is_pinned_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Archive::open(folder.path()).unwrap_err().to_string().contains("is no archive"));
        for name in [PACKAGES, CRATES] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let archive = Archive::open(folder.path()).unwrap();
        let file = PinnedFile { path: "pool/p_1.deb".into(), size: 1, sha256: sha256_hex(b"x") };
        assert!(archive.file(&file).unwrap_err().to_string().contains("the archive lacks"));
        let path = packed(folder.path(), &file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "y").unwrap();
        assert!(archive.file(&file).unwrap_err().to_string().contains("has not the digest"));
        fs::write(&path, "x").unwrap();
        assert!(archive.file(&file).is_ok());
    }
}

//! Files of the Yocto layers that are written from `platform/` and `Cargo.lock`, and never by hand.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::board::soc::{Hardware, MediumKind};
use crate::board::{Board, inherit};
use crate::boot::chain::TRUSTED_BOOT;
use crate::boot::keys::Role;
use crate::boot::u_boot::{ROOM_FOR_A_KEY, SHELL, asked_of};
use crate::builder::Repo;
use crate::cargo::TA_FLAGS;
use crate::firmware::parts::QUIET_DTC;
use crate::firmware::{NO_HISTORY, OPTIMIZATION, facts};
use crate::lock::{LockFile, Package, PinnedFile};
use crate::ta::MAX_TA_SIZE;
use crate::yocto::layers::Layers;

/// Sources that the layer builds from, and the recipe's file that names them.
const SOURCES: [(&str, &str); 3] = [
    ("optee-os", "meta-trustbox/recipes-security/optee/optee-os-source.inc"),
    ("arm-trusted-firmware", "meta-trustbox/recipes-bsp/trusted-firmware-a/trusted-firmware-a-source.inc"),
    ("u-boot", "meta-trustbox-bsp/recipes-bsp/u-boot/u-boot-source.inc"),
];
/// A source that is built into TF-A where it verifies what it loads.
const MBEDTLS: &str = "meta-trustbox-bsp/recipes-bsp/trusted-firmware-a/mbedtls-source.inc";
const CRATES: &str = "meta-trustbox/recipes-trustbox/trustbox/trustbox-crates.inc";
const BUILD: &str = "meta-trustbox/conf/trustbox/build.inc";
const EMULATED: &str = "meta-trustbox/conf/trustbox";
const REAL: &str = "meta-trustbox-bsp/conf/trustbox";
const REAL_FACTS: &str = "meta-trustbox-bsp/files";

/// Writes the generated files.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Writes nothing; an error names the first file that differs
    #[arg(long)]
    check: bool,
}

/// Runs `tb yocto generate`.
pub(crate) fn run(args: &Args) -> Result<()> {
    let repo = Repo::find()?;
    let files = files(&repo)?;
    let folder = repo.root().join("yocto");
    for (name, text) in &files {
        if args.check {
            same(&folder.join(name), text)?;
        } else {
            write(&folder.join(name), text)?;
        }
    }
    println!("{} files follow from platform/ and Cargo.lock", files.len());
    Ok(())
}

/// Every generated file below `yocto/`, by its path there.
pub(crate) fn files(repo: &Repo) -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    let lock = LockFile::load(repo)?;
    for (package, path) in SOURCES {
        files.insert(path.to_owned(), source(repo, &lock, package)?);
    }
    files.insert(MBEDTLS.to_owned(), mbedtls(&lock)?);
    let text = fs::read_to_string(repo.root().join("Cargo.lock")).context("cannot read Cargo.lock")?;
    files.insert(CRATES.to_owned(), crates(&text)?);
    files.insert(BUILD.to_owned(), build()?);
    let layers = Layers::load(repo)?;
    files.insert("kas/common.yml".to_owned(), layers.kas(false)?);
    files.insert("kas/ls1028a.yml".to_owned(), layers.kas(true)?);
    for name in inherit::names(repo)? {
        let board = Board::load(repo, &name)?;
        let folder = if board.hardware().is_some() { REAL } else { EMULATED };
        files.insert(format!("{folder}/board-{name}.inc"), variables(repo, &board)?);
        files.extend(facts_of(&board)?);
    }
    Ok(files)
}

/// A generated file is what would be written now.
pub(crate) fn same(path: &Path, text: &str) -> Result<()> {
    let found = fs::read_to_string(path).unwrap_or_default();
    let line = found.lines().zip(text.lines()).take_while(|(found, wanted)| found == wanted).count();
    ensure!(
        found == text,
        "{}:{}: \"{}\" there, \"{}\" follows from platform/ and Cargo.lock\nhelp: build/tb yocto generate",
        path.display(),
        line + 1,
        found.lines().nth(line).unwrap_or("nothing"),
        text.lines().nth(line).unwrap_or("nothing")
    );
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

pub(super) fn head(from: &str) -> String {
    format!("# Written by `build/tb yocto generate` from {from}: edit that, not this\n\n")
}

/// A pinned Debian source and our patches on it, in the order in which the builder applies them.
fn source(repo: &Repo, lock: &LockFile, name: &str) -> Result<String> {
    let package = lock.package(name)?;
    let mut text = head(&format!("platform/lock.toml and platform/patches/{name}"));
    let (uris, sums) = archives(package, ["upstream", "debian"], "source")?;
    write!(text, "SRC_URI = \"\\\n{uris}")?;
    for patch in repo.patches(name)? {
        writeln!(text, "    file://{} \\", patch.file_name().unwrap_or_default().display())?;
    }
    writeln!(text, "\"\n{sums}")?;
    writeln!(text, "TRUSTBOX_SOURCE_VERSION = \"{}\"", package.upstream_version())?;
    writeln!(text, "TRUSTBOX_PATCHES = \"{name}\"")?;
    Ok(text)
}

/// The same of a source beside the recipe's own, which we have no patches on.
fn mbedtls(lock: &LockFile) -> Result<String> {
    let (uris, sums) = archives(lock.package("mbedtls")?, ["mbedtls", "mbedtls-debian"], "mbedtls")?;
    Ok(format!("{}SRC_URI:append:ls1028a = \" \\\n{uris}\"\n{sums}", head("platform/lock.toml")))
}

/// Upstream's archive and Debian's, unpacked into one folder: what recipes fetch, and the digests of it.
fn archives(package: &Package, [upstream, debian]: [&str; 2], folder: &str) -> Result<(String, String)> {
    let (theirs, originals): (Vec<_>, Vec<_>) =
        package.files.iter().partition(|file| file.path.contains(".debian.tar."));
    let [original] = originals.as_slice() else {
        anyhow::bail!("{} pins {} archives", package.name, originals.len())
    };
    let mut uris = format!("    {};name={upstream};striplevel=1;subdir={folder} \\\n", uri(original)?);
    let mut sums = format!("SRC_URI[{upstream}.sha256sum] = \"{}\"\n", original.sha256);
    for file in &theirs {
        writeln!(uris, "    {};name={debian};subdir={folder} \\", uri(file)?)?;
        writeln!(sums, "SRC_URI[{debian}.sha256sum] = \"{}\"", file.sha256)?;
    }
    Ok((uris, sums))
}

/// The place in Debian's pool, whose mirror bitbake has a variable for.
fn uri(file: &PinnedFile) -> Result<String> {
    let path =
        file.path.strip_prefix("pool/").with_context(|| format!("{} is not in the pool", file.path))?;
    Ok(format!("${{DEBIAN_MIRROR}}/{}", path.replace("%2b", "+").replace("%7e", "~")))
}

#[derive(Deserialize)]
struct CargoLock {
    package: Vec<Crate>,
}

#[derive(Deserialize)]
struct Crate {
    name: String,
    version: String,
    source: Option<String>,
    checksum: Option<String>,
}

/// Every crate of the workspace, since cargo wants all of `Cargo.lock` to be there whatever is built.
fn crates(lock: &str) -> Result<String> {
    let lock: CargoLock = toml::from_str(lock).context("Cargo.lock is not valid")?;
    let mut uris = String::from("TRUSTBOX_CRATES = \"\\\n");
    let mut sums = String::new();
    for package in lock.package.iter().filter(|package| package.source.is_some()) {
        let (name, version) = (&package.name, &package.version);
        let sum = package.checksum.as_ref().with_context(|| format!("{name} {version} has no checksum"))?;
        writeln!(uris, "    crate://${{TRUSTBOX_CRATE_REGISTRY}}/{name}/{version} \\")?;
        writeln!(sums, "SRC_URI[{name}-{version}.sha256sum] = \"{sum}\"")?;
    }
    Ok(format!("{}{uris}\"\n\n{sums}", head("Cargo.lock")))
}

/// What the builder gives to compilers whatever the board is.
fn build() -> Result<String> {
    let mut text = head("build/src");
    let (flag, value) = NO_HISTORY;
    let words = [
        ("TRUSTBOX_UUID", crate::TRUSTBOX_UUID.to_owned()),
        ("TRUSTBOX_TA_LIMIT", MAX_TA_SIZE.to_string()),
        ("TRUSTBOX_TA_RUSTFLAGS", TA_FLAGS.split_whitespace().collect::<Vec<_>>().join(" ")),
        ("TRUSTBOX_DTC_FLAGS", QUIET_DTC.join(" ")),
        ("TRUSTBOX_UBOOT_SHELL", SHELL.join("|")),
        ("TRUSTBOX_ROOM_FOR_A_KEY", ROOM_FOR_A_KEY.to_owned()),
        ("TRUSTBOX_TRUSTED_BOOT", TRUSTED_BOOT.map(|(name, value)| format!("{name}={value}")).join(" ")),
        ("TRUSTBOX_BOOT_ROLES", Role::ALL.map(Role::name).join(" ")),
        (
            "TRUSTBOX_OPTEE_COMMON",
            format!("{flag}={value} CFG_BUILD_IN_TREE_TA=n platform-cflags-optimization='{OPTIMIZATION}'"),
        ),
    ];
    for (name, value) in words {
        writeln!(text, "{name} = \"{value}\"")?;
    }
    Ok(text)
}

/// What recipes are told of a board.
fn variables(repo: &Repo, board: &Board) -> Result<String> {
    let mut text =
        head(&format!("platform/{}/board.toml and platform/image/command-line", board.name.get_ref()));
    let facts = &board.ta;
    let more = fs::read_to_string(repo.root().join("platform/image/command-line"))?;
    let words = [
        ("TRUSTBOX_PROFILE", board.profile.name().to_owned()),
        ("TRUSTBOX_ROLLBACK_PROTECTION", facts.rollback_protection.name().to_owned()),
        ("TRUSTBOX_MAX_IMAGE", facts.max_image.to_string()),
        ("TRUSTBOX_OPTEE_PLATFORM", board.optee.platform.clone()),
        ("TRUSTBOX_TFA_PLATFORM", board.tfa.platform.clone()),
        ("TRUSTBOX_COMMAND_LINE", format!("{} {}", board.linux.command_line, more.trim())),
    ];
    for (name, value) in words {
        writeln!(text, "{name} = \"{value}\"")?;
    }
    text.push_str(&list("TRUSTBOX_OPTEE_FLAGS", assignments(&board.optee_flags(false))));
    text.push_str(&list("TRUSTBOX_TFA_FLAGS", assignments(&board.tfa.flags)));
    if let Some(hardware) = board.hardware() {
        text.push_str(&media(board, &hardware)?);
    }
    Ok(text)
}

fn media(board: &Board, hardware: &Hardware<'_>) -> Result<String> {
    let mut text = list("TRUSTBOX_MEDIA", hardware.media.keys().map(|kind| kind.name().to_owned()));
    for (kind, medium) in hardware.media {
        let name = kind.name();
        writeln!(text, "TRUSTBOX_BOOT_MODE[{name}] = \"{}\"", kind.boot_mode())?;
        writeln!(text, "TRUSTBOX_BOOT_SIZE[{name}] = \"{}\"", medium.size)?;
        writeln!(text, "TRUSTBOX_BOOT_OFFSET[{name}] = \"{}\"", medium.pbl_offset.get_ref())?;
    }
    let facts = board.verified()?;
    let state = hardware.boot_state().context("no medium has a region boot-state")?;
    writeln!(text, "TRUSTBOX_UBOOT_DEFCONFIG = \"{}\"", facts.defconfig)?;
    writeln!(text, "TRUSTBOX_KERNEL_ADDRESS = \"0x{:x}\"", facts.kernel)?;
    writeln!(text, "TRUSTBOX_BOOT_STATE = \"{state}\"")?;
    Ok(text)
}

fn assignments(flags: &BTreeMap<String, String>) -> impl Iterator<Item = String> {
    flags.iter().map(|(name, value)| format!("{name}={value}"))
}

/// A variable with a word a line.
fn list(name: &str, words: impl Iterator<Item = String>) -> String {
    let lines: String = words.map(|word| format!("    {word} \\\n")).collect();
    if lines.is_empty() { format!("{name} = \"\"\n") } else { format!("{name} = \"\\\n{lines}\"\n") }
}

/// What TF-A, U-Boot and the device tree of a real board are told; none of it differs in a `-dev` board.
fn facts_of(board: &Board) -> Result<BTreeMap<String, String>> {
    let name = board.name.get_ref();
    let Some(hardware) = board.hardware().filter(|_| !name.ends_with("-dev")) else {
        return Ok(BTreeMap::new());
    };
    let file = |file: &str| format!("{REAL_FACTS}/{name}/{file}");
    Ok(BTreeMap::from([
        (file("trustbox_board.h"), facts::header(&hardware)?),
        (file("facts.dtsi"), facts::device_tree(&hardware)?),
        (file("u-boot.cfg"), u_boot(board, &hardware)?),
        (file("rcw.txt"), reset_words(&hardware)?),
    ]))
}

/// What a U-Boot that boots signed images only must have, and must not have.
fn u_boot(board: &Board, hardware: &Hardware<'_>) -> Result<String> {
    let mut text =
        head(&format!("platform/{}/board.toml and build/src/boot/options.rs", board.name.get_ref()));
    let state = hardware.boot_state().context("no medium has a region boot-state")?;
    for (name, value) in asked_of(board.verified()?, state) {
        let off = value == "n";
        text.push_str(&if off { format!("# {name} is not set\n") } else { format!("{name}={value}\n") });
    }
    Ok(text)
}

/// The digests that the recipe compares what it made with: RCW and PBI commands of each medium.
fn reset_words(hardware: &Hardware<'_>) -> Result<String> {
    let line = |kind: &MediumKind| -> Result<String> {
        let rcw = hardware.pbl(*kind)?.encode()?;
        Ok(format!("{}  {}-rcw.bin\n", crate::hash::sha256_hex(&rcw), kind.name()))
    };
    hardware.media.keys().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_without_checksum_is_refused() {
        let lock = "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"registry\"\n";
        assert!(crates(lock).unwrap_err().to_string().contains("a 1.0.0 has no checksum"));
        let text = crates(&format!("{lock}checksum = \"00\"\n")).unwrap();
        assert!(text.contains("    crate://${TRUSTBOX_CRATE_REGISTRY}/a/1.0.0 \\\n"));
        assert!(text.contains("SRC_URI[a-1.0.0.sha256sum] = \"00\"\n"));
    }

    #[test]
    fn flags_are_those_of_the_board() {
        let repo = Repo::find().unwrap();
        let files = files(&repo).unwrap();
        let edge = &files["meta-trustbox-bsp/conf/trustbox/board-trustbox-edge-201.inc"];
        assert!(edge.contains("    CFG_REE_FS_TA=n \\\n") && edge.contains("    CFG_NXP_CAAM=y \\\n"));
        assert!(edge.contains("    CFG_HUK_TEST_KEY=n \\\n"));
        let dev = &files["meta-trustbox-bsp/conf/trustbox/board-trustbox-edge-201-dev.inc"];
        assert!(dev.contains("    CFG_REE_FS_TA=y \\\n") && dev.contains("TRUSTBOX_PROFILE = \"dev\"\n"));
        let optee = &files["meta-trustbox/recipes-security/optee/optee-os-source.inc"];
        assert!(optee.contains("    file://0001-secstor-only-trustbox.patch \\\n"));
    }

    #[test]
    fn a_difference_is_named_with_both_lines() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "a\nb\n").unwrap();
        let error = same(file.path(), "a\nc\n").unwrap_err().to_string();
        assert!(error.contains(":2: \"b\" there, \"c\" follows"), "{error}");
        assert!(same(file.path(), "a\nb\n").is_ok());
        assert!(same(file.path(), "a\nb\nc\n").is_err());
    }
}

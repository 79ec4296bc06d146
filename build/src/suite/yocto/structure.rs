//! What every layer and recipe of ours must be like, and what must be in none.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::GROUP;
use crate::builder::Builder;
use crate::hash::files_below;
use crate::image::layout::Plan;
use crate::suite::Case;
use crate::yocto::check::MACHINES;
use crate::yocto::layers::Layers;

const LAYERS: [&str; 2] = ["meta-trustbox", "meta-trustbox-bsp"];
/// Lines of a recipe at most; the generated list of crates excepted.
const MAX_LINES: usize = 80;
/// The one file that may name the registry of crates, which bitbake's syntax wants.
const REGISTRY: &str = "meta-trustbox/classes-recipe/trustbox_cargo.bbclass";
const TABLE: &str = "meta-trustbox/files/wic/trustbox.wks.in";
/// Where the builder's images have their units, and the class whose recipes take some of them.
const UNITS: &str = "platform/image/files/usr/lib/systemd/system";
const TAKES_UNITS: &str = "trustbox_units";
/// A unit that the class leaves out of what others require.
const NOT_REQUIRED: &str = "trustbox-modules.service";
const DISK: &str = "meta-trustbox/recipes-trustbox/images/trustbox-disk-image.bb";
/// Recipes with the version of a pinned source, and the setting that asks for it.
const VERSIONS: [(&str, &str, &str); 4] = [
    ("optee-os", "meta-trustbox/recipes-security/optee/optee-os_", "PREFERRED_VERSION_optee-os"),
    (
        "optee-os",
        "meta-trustbox/recipes-security/optee/optee-os-tadevkit_",
        "PREFERRED_VERSION_optee-os-tadevkit",
    ),
    (
        "arm-trusted-firmware",
        "meta-trustbox/recipes-bsp/trusted-firmware-a/trusted-firmware-a_",
        "PREFERRED_VERSION_trusted-firmware-a",
    ),
    ("u-boot", "meta-trustbox-bsp/recipes-bsp/u-boot/u-boot_", "PREFERRED_VERSION_u-boot"),
];

pub(super) fn run(builder: &Builder) -> Result<Vec<Case>> {
    let folder = builder.repo.root().join("yocto");
    let files = texts(&folder)?;
    let case = |name: &str, result| Case::of(GROUP, name, result);
    Ok(vec![
        case("layers say what they are", layers(builder, &folder)),
        case("recipes are short", short(&files)),
        case("recipes are there for our distributions only", guarded(&files)),
        case("versions are those of the pinned sources", versions(builder, &files)),
        case("every machine has a board", machines(&files)),
        case("units are the builder's, with all that they require", units(builder, &files)),
        case("media have the partitions of the builder's", partitions(builder, &files)),
        case("no key is in a layer", no_key(&files)),
        case("the registry is named once", registry_once(&files)),
        case("bitbake's build folder is not build/", build_folder(&files)),
    ])
}

type Texts = Vec<(String, String)>;

/// Every file below the folder, with its path there.
fn texts(folder: &Path) -> Result<Texts> {
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok((path.strip_prefix(folder)?.to_string_lossy().into_owned(), text))
    };
    files_below(folder)?
        .into_iter()
        .filter(|path| path.extension().is_none_or(|kind| kind != "pyc"))
        .map(read)
        .collect()
}

fn layers(builder: &Builder, folder: &Path) -> Result<()> {
    let series = Layers::load(&builder.repo)?.series;
    for layer in LAYERS {
        let read = |name: &str| {
            let path = folder.join(layer).join(name);
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let (settings, readme) = (read("conf/layer.conf")?, read("README.md")?);
        let wanted = format!("LAYERSERIES_COMPAT_{} = \"{series}\"", layer.trim_start_matches("meta-"));
        ensure!(settings.contains(&wanted), "{layer}/conf/layer.conf lacks {wanted}");
        ensure!(settings.contains("LAYERDEPENDS_"), "{layer}/conf/layer.conf depends on nothing");
        ensure!(readme.contains("maintainer"), "{layer}/README.md names no maintainer");
        ensure!(!read("SECURITY.md")?.is_empty(), "{layer}/SECURITY.md is empty");
    }
    Ok(())
}

fn is_recipe(path: &str) -> bool {
    path.ends_with(".bb") || path.ends_with(".bbappend") || path.ends_with(".bbclass")
}

fn short(files: &Texts) -> Result<()> {
    for (path, text) in files.iter().filter(|(path, _)| is_recipe(path)) {
        let lines = text.lines().count();
        ensure!(lines <= MAX_LINES, "{path} has {lines} lines, the limit is {MAX_LINES}");
    }
    Ok(())
}

/// Whoever adds a layer of ours and keeps another distribution gets nothing else than before.
fn guarded(files: &Texts) -> Result<()> {
    let ours = ["REQUIRED_DISTRO_FEATURES", "trustbox_cargo", "trustbox_ta_cargo", "trustbox_debian_source"];
    let required = ["require trustbox-image.inc", "require optee-os-trustbox.inc"];
    for (path, text) in files.iter().filter(|(path, _)| path.ends_with(".bb")) {
        let guarded = ours.iter().chain(&required).any(|word| text.contains(word));
        ensure!(guarded, "{path} is there whatever DISTRO is\nhelp: REQUIRED_DISTRO_FEATURES = \"trustbox\"");
    }
    Ok(())
}

fn versions(builder: &Builder, files: &Texts) -> Result<()> {
    for (package, start, setting) in VERSIONS {
        let pinned = builder.lock.package(package)?.upstream_version();
        let version = pinned.split('+').next().unwrap_or(pinned);
        let path = format!("{start}{version}.bb");
        ensure!(files.iter().any(|(found, _)| *found == path), "no {path}, but {package} {pinned} is pinned");
        let wanted = format!("{setting} = \"{version}\"");
        ensure!(files.iter().any(|(_, text)| text.contains(&wanted)), "no setting {wanted}");
    }
    Ok(())
}

fn machines(files: &Texts) -> Result<()> {
    for machine in MACHINES {
        let layer = if machine.bsp { LAYERS[1] } else { LAYERS[0] };
        let path = format!("{layer}/conf/trustbox/machine-{}.inc", machine.name);
        let text = files.iter().find(|(found, _)| *found == path).map(|(_, text)| text);
        let text = text.with_context(|| format!("no {path}"))?;
        let board = text.lines().find_map(|line| line.strip_prefix("TRUSTBOX_BOARD = \"")?.strip_suffix('"'));
        let board = board.with_context(|| format!("{path} names no board"))?;
        let board = board.replace("${TRUSTBOX_BOARD_SUFFIX}", "");
        let wanted = format!("{layer}/conf/trustbox/board-{board}.inc");
        ensure!(files.iter().any(|(found, _)| *found == wanted), "no {wanted}");
        let kas = format!("kas/{}.yml", machine.name);
        ensure!(files.iter().any(|(found, _)| *found == kas), "no {kas}");
    }
    Ok(())
}

/// A unit that nobody installs, or that requires one of ours that nobody installs, never starts.
fn units(builder: &Builder, files: &Texts) -> Result<()> {
    let recipes = files.iter().filter(|(path, text)| path.ends_with(".bb") && text.contains(TAKES_UNITS));
    let words =
        recipes.flat_map(|(_, text)| text.split(|sign: char| "\"'".contains(sign) || sign.is_whitespace()));
    let taken: Vec<&str> = words.filter(|word| word.ends_with(".service") && !word.contains('/')).collect();
    ensure!(!taken.is_empty(), "no recipe takes a unit by {TAKES_UNITS}");
    for unit in &taken {
        let path = builder.repo.root().join(UNITS).join(unit);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let required = text.lines().filter_map(|line| line.strip_prefix("Requires="));
        let ours = required.flat_map(str::split_whitespace).filter(|name| name.starts_with("trustbox-"));
        for name in ours.filter(|name| *name != NOT_REQUIRED) {
            ensure!(taken.contains(&name), "{unit} requires {name}, which no recipe takes");
        }
    }
    Ok(())
}

/// Names, order and sizes are those of `platform/image/layout.toml`.
fn partitions(builder: &Builder, files: &Texts) -> Result<()> {
    let plan = Plan::of(builder, None)?;
    let wanted: Vec<_> =
        plan.partitions.iter().map(|one| format!("{} {}M", one.name, one.size >> 20)).collect();
    let read = |path: &str| {
        let text = files.iter().find(|(found, _)| found == path).map(|(_, text)| &**text);
        text.with_context(|| format!("no {path}"))
    };
    let root =
        read(DISK)?.lines().find_map(|line| line.strip_prefix("TRUSTBOX_ROOT_SIZE ?= \"")?.strip_suffix('"'));
    let table =
        read(TABLE)?.replace("${TRUSTBOX_ROOT_SIZE}", root.with_context(|| format!("{DISK} has no size"))?);
    let found: Vec<_> = table.lines().filter_map(partition).collect();
    ensure!(found == wanted, "{TABLE} has [{}], not [{}]", found.join(", "), wanted.join(", "));
    Ok(())
}

fn partition(line: &str) -> Option<String> {
    let words: Vec<_> = line.split_whitespace().collect();
    let value = |flag: &str| words.iter().skip_while(|word| **word != flag).nth(1);
    (words.first() == Some(&"part")).then_some(())?;
    Some(format!("{} {}", value("--part-name")?, value("--fixed-size")?))
}

fn no_key(files: &Texts) -> Result<()> {
    for (path, text) in files.iter().filter(|(path, _)| !path.starts_with("tests/")) {
        let key = text.lines().any(|line| line.starts_with("-----BEGIN "));
        ensure!(!key, "{path} has a key or a certificate\nhelp: recipes take them by path");
        let named = [".pem", ".key", ".crt", ".p12"].iter().any(|end| path.ends_with(end));
        ensure!(!named, "{path} has the name of a key");
    }
    Ok(())
}

/// The name is put together here, so that this file is not one more.
fn registry_once(files: &Texts) -> Result<()> {
    let name = ["crates", "io"].join(".");
    let found: Vec<_> =
        files.iter().filter(|(_, text)| text.contains(&name)).map(|(path, _)| &**path).collect();
    ensure!(found == [REGISTRY], "named in [{}], not only in {REGISTRY}", found.join(", "));
    Ok(())
}

/// kas makes it where KAS_BUILD_DIR says; the guide and the command that it shows say so.
fn build_folder(files: &Texts) -> Result<()> {
    let guide = files.iter().find(|(path, _)| path == "README.md").context("no yocto/README.md")?;
    let right =
        guide.1.contains("KAS_WORK_DIR=target/yocto") && guide.1.contains("KAS_BUILD_DIR=target/yocto/build");
    if !right {
        bail!("yocto/README.md builds elsewhere than below target/");
    }
    Ok(())
}

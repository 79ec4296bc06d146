//! What is written about a board's firmware: manifest, bill of materials, reference values, and a summary for people.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::board::Profile;
use crate::board::soc::MediumKind;
use crate::builder::Builder;
use crate::firmware::images::Images;
use crate::firmware::measurement::Measurements;
use crate::firmware::reference;
use crate::hash::{files_below, sha256_hex};

/// Changes when what is written changes.
pub(crate) const FORMAT: &str = "4";
/// The source packages that are inside.
const PACKAGES: [&str; 3] = ["arm-trusted-firmware", "optee-os", "u-boot"];
/// Where and when, which differ from build to build.
const NOT_LISTED: [&str; 1] = ["build.log"];

/// Writes everything; the images and the hardening report are there already.
pub(crate) fn write(
    builder: &Builder,
    out: &Path,
    ta: &Path,
    measured: &Measurements,
    media: &[(MediumKind, Images)],
) -> Result<()> {
    let reasons = reasons(builder);
    let text = format!("{}: {}\n", builder.board.name.get_ref(), reasons.join("; "));
    fs::write(out.join("NOT-TRUSTED"), text)?;
    save(out, "sbom.cdx.json", &bill_of_materials(builder)?)?;
    save(out, "reference-values.json", &reference_values(builder, out, ta, media)?)?;
    reference::write(builder, out, measured)?;
    fs::write(out.join("SUMMARY"), summary(builder, out, media)?)?;
    save(out, "manifest.json", &manifest(builder, out, media, &reasons)?)
}

/// Why nobody should trust a device with this firmware. Keys of this clone are worth nothing on any board.
fn reasons(builder: &Builder) -> Vec<String> {
    let mut reasons = Vec::new();
    if builder.board.profile == Profile::Dev {
        reasons.push("development firmware: loads TAs from Linux and accepts the test key".to_owned());
    }
    let keys = builder.anchors.development();
    if !keys.is_empty() {
        reasons.push(format!("built with development keys of target/dev-keys: {}", keys.join(", ")));
    }
    reasons.push("not signed for the boot ROM: `tb firmware --verified` makes images that are".to_owned());
    reasons
}

fn manifest(
    builder: &Builder,
    out: &Path,
    media: &[(MediumKind, Images)],
    reasons: &[String],
) -> Result<Value> {
    let board = &builder.board;
    let mut files = Vec::new();
    for path in listed(out)? {
        let content = fs::read(&path)?;
        files.push(json!({"name": name(&path), "size": content.len(), "sha256": sha256_hex(&content)}));
    }
    let media = media.iter().map(|(kind, images)| {
        json!({"name": kind.name(), "image": format!("{}-boot.img", kind.name()), "write_at": images.boot_offset,
               "size": images.boot.len(), "bl2_margin": images.bl2_margin})
    });
    Ok(json!({
        "format": FORMAT, "board": board.name.get_ref(), "title": board.title, "profile": board.profile.name(),
        "trusted": false, "not_trusted_because": reasons, "tried_on_hardware": false,
        "components": components(builder)?, "media": media.collect::<Vec<_>>(), "files": files,
    }))
}

fn components(builder: &Builder) -> Result<Vec<Value>> {
    let one = |name: &&str| {
        let package = builder.lock.package(name)?;
        let patches = builder.repo.patches(name)?;
        let patches = patches
            .iter()
            .map(|path| Ok(json!({"name": self::name(path), "sha256": sha256_hex(&fs::read(path)?)})));
        let archives = package.files.iter().map(|file| json!({"name": file.name(), "sha256": file.sha256}));
        Ok(json!({"name": name, "version": package.version, "archives": archives.collect::<Vec<_>>(),
                  "patches": patches.collect::<Result<Vec<_>>>()?}))
    };
    PACKAGES.iter().map(one).collect()
}

/// A bill of materials in CycloneDX's form: the source packages, and the crates inside the TrustBox TA.
fn bill_of_materials(builder: &Builder) -> Result<Value> {
    let mut components = Vec::new();
    for name in PACKAGES {
        let package = builder.lock.package(name)?;
        let hashes = package.files.iter().map(|file| json!({"alg": "SHA-256", "content": file.sha256}));
        components.push(json!({
            "type": "firmware", "name": name, "version": package.version,
            "purl": format!("pkg:deb/debian/{name}@{}?arch=source", package.version.replace('+', "%2B")),
            "hashes": hashes.collect::<Vec<_>>(),
        }));
    }
    components.extend(crates(builder.repo.root())?);
    let board = &builder.board;
    Ok(json!({
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "metadata": {"component": {"type": "firmware", "name": format!("trustbox-firmware-{}", board.name.get_ref()),
                                   "version": env!("CARGO_PKG_VERSION")}},
        "components": components,
    }))
}

/// The crates that `ta/dependencies.allow` lists, with their versions from the lock file.
fn crates(root: &Path) -> Result<Vec<Value>> {
    let allowed = fs::read_to_string(root.join("ta/dependencies.allow"))?;
    let lines = allowed.lines().filter(|line| !line.starts_with('#'));
    let names: Vec<_> = lines.filter_map(|line| line.split_whitespace().next()).collect();
    let lock: toml::Table = toml::from_str(&fs::read_to_string(root.join("Cargo.lock"))?)?;
    let packages =
        lock.get("package").and_then(toml::Value::as_array).context("Cargo.lock has no packages")?;
    let text = |package: &toml::Value, field: &str| Some(package.get(field)?.as_str()?.to_owned());
    let component = |package: &toml::Value| {
        let (name, version) = (text(package, "name")?, text(package, "version")?);
        let hash = text(package, "checksum").map(|sum| json!({"alg": "SHA-256", "content": sum}));
        names.contains(&name.as_str()).then(|| {
            json!({"type": "library", "name": name, "version": version, "purl": format!("pkg:cargo/{name}@{version}"),
                   "hashes": hash.into_iter().collect::<Vec<_>>()})
        })
    };
    Ok(packages.iter().filter_map(component).collect())
}

/// Digests of what runs: for whoever verifies a device or an image.
fn reference_values(
    builder: &Builder,
    out: &Path,
    ta: &Path,
    media: &[(MediumKind, Images)],
) -> Result<Value> {
    let digest = |name: &str| Ok::<_, anyhow::Error>(sha256_hex(&fs::read(out.join(name))?));
    let media = media.iter().map(|(kind, images)| {
        json!({"name": kind.name(), "rcw": sha256_hex(&images.rcw), "pbl": sha256_hex(&images.pbl),
               "fip": sha256_hex(&images.fip), "boot": sha256_hex(&images.boot)})
    });
    Ok(json!({
        "board": builder.board.name.get_ref(), "profile": builder.board.profile.name(),
        "optee": digest("tee-raw.bin")?, "trustbox_ta": sha256_hex(&fs::read(ta)?),
        "u_boot": digest("u-boot.bin")?, "device_tree": digest("linux.dtb")?, "media": media.collect::<Vec<_>>(),
    }))
}

fn summary(builder: &Builder, out: &Path, media: &[(MediumKind, Images)]) -> Result<String> {
    let board = &builder.board;
    let mut text =
        format!("{} ({}), NOT-TRUSTED: {}\n", board.title, board.profile.name(), reasons(builder).join("; "));
    for (kind, images) in media {
        writeln!(
            text,
            "{:<5}{}-boot.img, {} octets, to be written from octet {} of the medium; BL2 ends {} octets below its limit",
            kind.name(),
            kind.name(),
            images.boot.len(),
            images.boot_offset,
            images.bl2_margin
        )?;
    }
    for name in ["tee-raw.bin", "u-boot.bin", "linux.dtb"] {
        writeln!(text, "{name:<14}{} octets", fs::metadata(out.join(name))?.len())?;
    }
    writeln!(
        text,
        "HARDENING.md says what is closed and what is open; platform/BRINGUP.md how to boot the first time"
    )?;
    Ok(text)
}

fn listed(out: &Path) -> Result<Vec<PathBuf>> {
    let mut files = files_below(out)?;
    files.retain(|path| !NOT_LISTED.contains(&name(path).as_str()));
    Ok(files)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn save(out: &Path, name: &str, value: &Value) -> Result<()> {
    Ok(fs::write(out.join(name), serde_json::to_string_pretty(value)? + "\n")?)
}

//! What is written beside an image for whoever answers for it: manifest, bills of materials in both formats, reference values of
//! what it boots and of what a token says of it, how
//! each service is closed, a VEX document to fill, how long its parts are supported.
//!
//! Nothing in it depends on time or place: the same image has the same evidence.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::builder::Builder;
use crate::image::manifest::{Manifest, Package};
use crate::sbom::cargo_graph::Graph;

/// Crates of which the programs and the TA are built, by their manifests.
const CRATES: [&str; 3] = ["host/cli/Cargo.toml", "host/system/Cargo.toml", "ta/bin/Cargo.toml"];
/// Until when the distribution of the packages gets security updates, as Debian's package distro-info-data has it: by its security
/// team, and by LTS.
const SUPPORT: [(&str, &str); 2] = [("security team", "2028-08-09"), ("LTS", "2030-06-30")];
/// An SPDX document needs a date; this is that of everything in the image.
const CREATED: &str = "2025-01-01T00:00:00Z";

/// A part of the image with what a bill says of it.
struct Component {
    name: String,
    version: String,
    purl: String,
    sha256: Vec<String>,
    /// As the package itself names them.
    licences: Vec<String>,
    firmware: bool,
}

/// The folder beside an image.
pub(crate) fn beside(image: &Path) -> PathBuf {
    let mut name = image.file_name().unwrap_or_default().to_owned();
    name.push(".evidence");
    image.with_file_name(name)
}

/// Writes everything.
pub(crate) fn write(builder: &Builder, manifest: &Manifest, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    builder.write_reference(folder)?;
    let components = components(builder, manifest)?;
    for (name, document) in [
        ("manifest.json", serde_json::to_value(manifest)?),
        ("sbom.cdx.json", cyclonedx(manifest, &components)),
        ("sbom.spdx.json", spdx(manifest, &components)),
        ("reference-values.json", reference_values(manifest)),
        ("vex.json", vex(manifest)),
        ("support.json", support(builder, manifest)),
    ] {
        let path = folder.join(name);
        let text = serde_json::to_string_pretty(&document)? + "\n";
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn components(builder: &Builder, manifest: &Manifest) -> Result<Vec<Component>> {
    let mut all =
        manifest.packages.iter().map(|package| debian(builder, package)).collect::<Result<Vec<_>>>()?;
    let mut crates = BTreeSet::new();
    for path in CRATES {
        let graph = Graph::with(builder.cargo(), &builder.repo.root().join(path))?;
        for part in graph.linked() {
            if crates.insert((part.name.clone(), part.version.clone())) {
                all.push(Component {
                    name: part.name.clone(),
                    version: part.version.clone(),
                    purl: part.reference(),
                    sha256: part.checksum.iter().cloned().collect(),
                    licences: part.licence.iter().cloned().collect(),
                    firmware: false,
                });
            }
        }
    }
    all.sort_by(|a, b| (&a.purl, &a.version).cmp(&(&b.purl, &b.version)));
    Ok(all)
}

fn debian(builder: &Builder, package: &Package) -> Result<Component> {
    let (name, version) = (&package.name, package.version.replace('+', "%2B"));
    let (architecture, copyright) = if package.source {
        ("source", builder.source(name)?.folder.join("debian/copyright"))
    } else {
        ("arm64", builder.binary(name)?.join("usr/share/doc").join(name).join("copyright"))
    };
    let text =
        fs::read(&copyright).map(|octets| String::from_utf8_lossy(&octets).into_owned()).unwrap_or_default();
    Ok(Component {
        name: name.clone(),
        version: package.version.clone(),
        purl: format!("pkg:deb/debian/{name}@{version}?arch={architecture}"),
        sha256: package.sha256.clone(),
        licences: licences(&text),
        firmware: package.source,
    })
}

/// Short names of licences in a machine-readable copyright file; none where it is prose.
fn licences(copyright: &str) -> Vec<String> {
    if !copyright.starts_with("Format:") {
        return Vec::new();
    }
    let names: BTreeSet<&str> = copyright
        .lines()
        .filter_map(|line| line.strip_prefix("License:"))
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect();
    names.into_iter().map(str::to_owned).collect()
}

fn cyclonedx(manifest: &Manifest, components: &[Component]) -> Value {
    let component = |part: &Component| {
        let hashes = part.sha256.iter().map(|sum| json!({"alg": "SHA-256", "content": sum}));
        json!({
            "type": if part.firmware { "firmware" } else { "library" }, "bom-ref": part.purl, "name": part.name,
            "version": part.version, "purl": part.purl, "hashes": hashes.collect::<Vec<_>>(),
            "licenses": part.licences.iter().map(|name| json!({"license": {"name": name}})).collect::<Vec<_>>(),
        })
    };
    json!({
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "metadata": {"component": {"type": "firmware", "name": format!("trustbox-{}", manifest.board), "version": manifest.version}},
        "components": components.iter().map(component).collect::<Vec<_>>(),
    })
}

/// SPDX 2.3. Debian's names of licences are none of SPDX, so they are said as comments.
fn spdx(manifest: &Manifest, components: &[Component]) -> Value {
    let image = format!("trustbox-{}", manifest.board);
    let package = |number: usize, part: &Component| {
        // The digest of several files is of none of them.
        let sums: Vec<_> = part
            .sha256
            .iter()
            .filter(|_| part.sha256.len() == 1)
            .map(|sum| json!({"algorithm": "SHA256", "checksumValue": sum}))
            .collect();
        json!({
            "SPDXID": format!("SPDXRef-{number}"), "name": part.name, "versionInfo": part.version, "downloadLocation": "NOASSERTION",
            "filesAnalyzed": false, "checksums": sums, "licenseConcluded": "NOASSERTION", "licenseDeclared": "NOASSERTION",
            "licenseComments": part.licences.join(", "), "copyrightText": "NOASSERTION",
            "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": part.purl}],
        })
    };
    let whole = json!({
        "SPDXID": "SPDXRef-image", "name": image, "versionInfo": manifest.version, "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false, "licenseConcluded": "NOASSERTION", "licenseDeclared": "NOASSERTION", "copyrightText": "NOASSERTION",
    });
    let contains = (0..components.len()).map(|number| {
        json!({"spdxElementId": "SPDXRef-image", "relationshipType": "CONTAINS", "relatedSpdxElement": format!("SPDXRef-{number}")})
    });
    let describes = json!({"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": "SPDXRef-image"});
    let packages = components.iter().enumerate().map(|(number, part)| package(number, part));
    json!({
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": image,
        "documentNamespace": format!("urn:trustbox:image:{}", identity(manifest)),
        "creationInfo": {"created": CREATED, "creators": [format!("Tool: trustbox-build-{}", env!("CARGO_PKG_VERSION"))]},
        "packages": std::iter::once(whole).chain(packages).collect::<Vec<_>>(),
        "relationships": std::iter::once(describes).chain(contains).collect::<Vec<_>>(),
    })
}

/// SHA-256 over the digests of all regions.
fn identity(manifest: &Manifest) -> String {
    let digest =
        manifest.regions.iter().fold(Sha256::new(), |digest, region| digest.chain_update(&region.sha256));
    crate::hash::hex(&digest.finalize())
}

/// Digests of what boots, for whoever compares a device or a medium with it.
fn reference_values(manifest: &Manifest) -> Value {
    let regions = manifest
        .regions
        .iter()
        .filter(|region| !region.name.starts_with("gpt") && region.name != "boot-state");
    let digests = regions.map(|region| (region.name.clone(), region.sha256.clone().into()));
    json!({
        "board": manifest.board, "version": manifest.version, "dev": manifest.dev, "root": manifest.root,
        "firmware_counters": manifest.counters, "sha256": digests.collect::<serde_json::Map<_, _>>(),
    })
}

/// OpenVEX with nothing in it: whoever ships the image says what is known to affect it.
fn vex(manifest: &Manifest) -> Value {
    json!({
        "@context": "https://openvex.dev/ns/v0.2.0", "@id": format!("urn:trustbox:vex:{}", identity(manifest)),
        "author": "whoever ships this image", "timestamp": CREATED, "version": 1, "statements": [],
    })
}

fn support(builder: &Builder, manifest: &Manifest) -> Value {
    let suite = |package: &Package| {
        builder.lock.package(&package.name).map(|found| found.suite.clone()).unwrap_or_default()
    };
    let parts = manifest
        .packages
        .iter()
        .map(|package| json!({"name": package.name, "version": package.version, "suite": suite(package)}));
    json!({
        "trixie": SUPPORT.map(|(who, until)| json!({"by": who, "until": until})),
        "sid": "no security support: follow the package, or pin the version that a release of Debian has",
        "packages": parts.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_are_named_where_a_file_is_machine_readable() {
        let text =
            "Format: x\n\nFiles: *\nLicense: GPL-2+\n text\n\nFiles: a\nLicense: BSD\n\nLicense: GPL-2+\n";
        assert_eq!(licences(text), ["BSD", "GPL-2+"]);
        assert!(licences("This package\nLicense: prose\n").is_empty());
    }

    #[test]
    fn support_ends_when_debian_says() {
        let path = "/usr/share/distro-info/debian.csv";
        let text = fs::read_to_string(path).expect("help: install Debian package distro-info-data");
        let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let names = lines.next().unwrap();
        let trixie = lines.find(|fields| fields.contains(&"trixie")).unwrap();
        let until =
            ["eol", "eol-lts"].map(|name| trixie[names.iter().position(|found| *found == name).unwrap()]);
        assert_eq!(until, SUPPORT.map(|(_, until)| until));
    }

    #[test]
    fn both_bills_name_the_same_parts() {
        let manifest = Manifest {
            format: 1,
            board: "b".into(),
            dev: false,
            version: "1".into(),
            size: 0,
            counters: [0, 0],
            root: String::new(),
            regions: Vec::new(),
            packages: Vec::new(),
        };
        let part = |name: &str| Component {
            name: name.into(),
            version: "1".into(),
            purl: format!("pkg:deb/debian/{name}@1"),
            sha256: vec!["00".into()],
            licences: vec!["GPL-2+".into()],
            firmware: false,
        };
        let parts = [part("a"), part("b")];
        let (cyclonedx, spdx) = (cyclonedx(&manifest, &parts), spdx(&manifest, &parts));
        assert_eq!(cyclonedx["components"].as_array().unwrap().len(), 2);
        let packages = spdx["packages"].as_array().unwrap();
        assert_eq!((packages.len(), packages[2]["name"].as_str()), (3, Some("b")));
        assert_eq!(spdx["relationships"].as_array().unwrap().len(), 3);
        assert_eq!(packages[1]["externalRefs"][0]["referenceLocator"], cyclonedx["components"][0]["purl"]);
    }
}

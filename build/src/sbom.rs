//! Software bills of materials, CycloneDX 1.5 in JSON: read far enough to show them, and made from what cargo says of an enclave.

pub(crate) mod cargo_graph;

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};
use trustbox_package::annex::MAX_ATTACHMENT;
use trustbox_package::image::Image;
use trustbox_package::words::printable;

use crate::hash::sha256_hex;
use crate::input;
use cargo_graph::{Crate, Graph};

/// Versions of the format that are taken.
const VERSIONS: [&str; 4] = ["1.4", "1.5", "1.6", "1.7"];
const VERSION_WRITTEN: &str = "1.5";

/// An SBOM, as far as tools show it.
#[derive(Debug)]
pub(crate) struct Sbom {
    /// The file.
    pub(crate) bytes: Vec<u8>,
    /// Version of the format.
    pub(crate) version: String,
    /// What is in the enclave: name, version, licence.
    pub(crate) components: Vec<Component>,
}

/// A part of an enclave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Component {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) licence: String,
    /// It helped to build the enclave and is not in it.
    pub(crate) build_only: bool,
}

impl Sbom {
    /// Reads a file.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let bytes = input::read(path, MAX_ATTACHMENT as u64)?;
        Self::read(bytes).with_context(|| path.display().to_string())
    }

    /// Reads bytes.
    pub(crate) fn read(bytes: Vec<u8>) -> Result<Self> {
        let help = "help: an SBOM is CycloneDX in JSON";
        let Ok(Value::Object(document)) = serde_json::from_slice(&bytes) else {
            bail!("not a JSON object\n{help}")
        };
        let text = |name: &str| document.get(name).and_then(Value::as_str).unwrap_or_default();
        ensure!(
            text("bomFormat") == "CycloneDX",
            "bomFormat is {:?}, expected \"CycloneDX\"\n{help}",
            text("bomFormat")
        );
        let version = text("specVersion").to_owned();
        ensure!(
            VERSIONS.contains(&version.as_str()),
            "specVersion is {version:?}, expected one of {}",
            VERSIONS.join(", ")
        );
        let components = document.get("components").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let components = components.iter().map(Component::read).collect();
        Ok(Self { bytes, version, components })
    }

    /// For people and programs.
    pub(crate) fn describe(&self) -> Value {
        let shown = |component: &Component| {
            json!({
                "name": component.name, "version": component.version, "licence": component.licence,
                "build_only": component.build_only,
            })
        };
        json!({
            "format": format!("CycloneDX {}", self.version),
            "bytes": self.bytes.len(),
            "components": self.components.iter().map(shown).collect::<Vec<_>>(),
        })
    }
}

impl Component {
    fn read(value: &Value) -> Self {
        let text = |value: &Value| printable(value.as_str().unwrap_or_default());
        let first = &value["licenses"][0];
        let licence = [&first["expression"], &first["license"]["id"], &first["license"]["name"]];
        Self {
            name: text(&value["name"]),
            version: text(&value["version"]),
            licence: licence.into_iter().map(text).find(|licence| !licence.is_empty()).unwrap_or_default(),
            build_only: value["scope"] == "excluded",
        }
    }
}

/// The SBOM of an image that was built from a crate. Nothing in it depends on the time.
///
/// Cargo resolves a workspace as a whole: where other members turn on more features, the SBOM names more than is linked in,
/// never less.
pub(crate) fn of_crate(manifest: &Path, image: &[u8]) -> Result<Vec<u8>> {
    let graph = Graph::load(manifest)?;
    let facts = Image::read(image)?;
    let document = document(&graph, &facts, image)?;
    let text = serde_json::to_vec(&document)?;
    ensure!(text.len() <= MAX_ATTACHMENT, "the SBOM has {} bytes, the limit is {MAX_ATTACHMENT}", text.len());
    Ok(text)
}

fn document(graph: &Graph, facts: &Image, image: &[u8]) -> Result<Value> {
    let root = graph.root()?;
    let mut enclave = component(root, "application", "required");
    enclave.insert("hashes".to_owned(), json!([{"alg": "SHA-256", "content": sha256_hex(image)}]));
    let uuid = json!({"name": "trustbox:uuid", "value": facts.uuid.to_string()});
    let version = json!({"name": "trustbox:version", "value": facts.version.to_string()});
    enclave.insert("properties".to_owned(), json!([uuid, version]));
    let others = graph.linked().map(|part| component(part, "library", "required"));
    let tools = graph.build_only().map(|part| component(part, "library", "excluded"));
    let itself =
        json!({"type": "application", "name": "trustbox-build", "version": env!("CARGO_PKG_VERSION")});
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": VERSION_WRITTEN,
        "version": 1,
        "metadata": {"tools": {"components": [itself]}, "component": enclave},
        "components": others.chain(tools).collect::<Vec<_>>(),
        "dependencies": graph.edges().map(|(part, on)| json!({"ref": part, "dependsOn": on})).collect::<Vec<_>>(),
    }))
}

fn component(part: &Crate, kind: &str, scope: &str) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    put("type", kind.into());
    put("bom-ref", part.reference().into());
    put("name", part.name.as_str().into());
    put("version", part.version.as_str().into());
    put("scope", scope.into());
    if let Some(licence) = &part.licence {
        put("licenses", json!([{"expression": licence}]));
    }
    if let Some(checksum) = &part.checksum {
        put("hashes", json!([{"alg": "SHA-256", "content": checksum}]));
    }
    if part.published {
        put("purl", part.reference().into());
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_documents_are_refused() {
        let said = |text: &str| Sbom::read(text.as_bytes().to_vec()).unwrap_err().to_string();
        assert!(said("[]").starts_with("not a JSON object\nhelp: "));
        assert!(said("{").starts_with("not a JSON object"));
        assert!(said("{}").starts_with("bomFormat is \"\", expected \"CycloneDX\""));
        assert!(
            said(r#"{"bomFormat":"CycloneDX","specVersion":"2.0"}"#).starts_with("specVersion is \"2.0\"")
        );
    }

    #[test]
    fn components_are_shown_without_tricks() {
        let text = r#"{"bomFormat":"CycloneDX","specVersion":"1.6","components":[
            {"name":"a\u001b[2J","version":"1","licenses":[{"license":{"id":"MIT"}}]},
            {"name":"b","version":"2","scope":"excluded","licenses":[{"expression":"MIT OR Apache-2.0"}]},{}]}"#;
        let sbom = Sbom::read(text.as_bytes().to_vec()).unwrap();
        let shown = |index: usize| {
            let part: &Component = &sbom.components[index];
            (part.name.as_str(), part.version.as_str(), part.licence.as_str(), part.build_only)
        };
        assert_eq!(shown(0), ("a\u{fffd}[2J", "1", "MIT", false));
        assert_eq!(shown(1), ("b", "2", "MIT OR Apache-2.0", true));
        assert_eq!(shown(2), ("", "", "", false));
        assert_eq!(sbom.describe()["format"], "CycloneDX 1.6");
    }

    /// This very crate has all kinds of dependencies.
    #[test]
    fn an_sbom_of_a_crate_names_what_cargo_names() {
        let image = crate::sign_ta::tests::sample_image(*b"an enclave uuid!", 7);
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ta/api/Cargo.toml");
        let bytes = of_crate(&manifest, &image).unwrap();
        assert!(bytes == of_crate(&manifest, &image).unwrap());
        let document: Value = serde_json::from_slice(&bytes).unwrap();
        let enclave = &document["metadata"]["component"];
        assert_eq!(
            (&enclave["name"], &enclave["hashes"][0]["content"]),
            (&json!("trustbox-api"), &json!(sha256_hex(&image)))
        );
        let sbom = Sbom::read(bytes).unwrap();
        let scope =
            |name: &str| sbom.components.iter().find(|part| part.name == name).map(|part| part.build_only);
        assert_eq!(
            (scope("postcard"), scope("sha2"), scope("serde_derive")),
            (Some(false), Some(false), Some(true))
        );
        assert_eq!((scope("trustbox-api"), scope("proptest"), scope("clap")), (None, None, None));
        let postcard = document["components"]
            .as_array()
            .unwrap()
            .iter()
            .find(|part| part["name"] == "postcard")
            .unwrap();
        assert!(postcard["purl"].as_str().unwrap().starts_with("pkg:cargo/postcard@1."));
        assert_eq!(postcard["hashes"][0]["content"].as_str().unwrap().len(), 64);
        let references: Vec<&Value> =
            document["components"].as_array().unwrap().iter().map(|part| &part["bom-ref"]).collect();
        for edge in document["dependencies"].as_array().unwrap() {
            let known =
                |reference: &Value| references.contains(&reference) || *reference == enclave["bom-ref"];
            assert!(known(&edge["ref"]) && edge["dependsOn"].as_array().unwrap().iter().all(known), "{edge}");
        }
    }
}

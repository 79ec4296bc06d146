//! What an enclave is built from, as cargo resolves it for the device: what is linked in, and what only helped to build it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use serde::Deserialize;

use crate::cargo::TARGET;
use crate::tool::Tool;

/// A crate.
#[derive(Debug)]
pub(crate) struct Crate {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) licence: Option<String>,
    /// SHA-256 of the archive in the registry.
    pub(crate) checksum: Option<String>,
    /// Whether it is in a registry.
    pub(crate) published: bool,
    runs_on_host: bool,
}

/// Crates and what they need, from one of them on.
pub(crate) struct Graph {
    crates: BTreeMap<String, Crate>,
    needs: BTreeMap<String, Vec<Edge>>,
    root: String,
    linked: BTreeSet<String>,
    all: BTreeSet<String>,
}

struct Edge {
    to: String,
    /// At run time, not only when building.
    normal: bool,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
    workspace_root: String,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
    manifest_path: String,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    kind: Option<String>,
}

#[derive(Deserialize)]
struct LockFile {
    #[serde(default)]
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
    checksum: Option<String>,
}

impl Crate {
    /// Its package URL.
    pub(crate) fn reference(&self) -> String {
        format!("pkg:cargo/{}@{}", self.name, self.version)
    }
}

impl Graph {
    /// Asks cargo for the crate of a `Cargo.toml`.
    pub(crate) fn load(manifest: &Path) -> Result<Self> {
        Self::with(Tool::new("cargo"), manifest)
    }

    /// The same, with a cargo that was told more.
    pub(crate) fn with(cargo: Tool, manifest: &Path) -> Result<Self> {
        let shown = manifest.display();
        let manifest = fs::canonicalize(manifest).with_context(|| format!("cannot read {shown}"))?;
        let tool = cargo.args(["metadata", "--format-version=1", "--quiet", "--filter-platform", TARGET]);
        let tool = tool
            .arg("--manifest-path")
            .arg(&manifest)
            .help("cargo must be able to resolve the enclave's crate");
        let metadata: Metadata =
            serde_json::from_str(&tool.output()?).context("cargo metadata is not as expected")?;
        let root = metadata.packages.iter().find(|package| Path::new(&package.manifest_path) == manifest);
        let root = root.map(|package| package.id.clone());
        let root = root.ok_or_else(|| {
            anyhow!("{shown} is no crate's\nhelp: name that of the enclave, not that of a workspace")
        })?;
        let checksums = checksums(Path::new(&metadata.workspace_root))?;
        Ok(Self::new(metadata, root, &checksums))
    }

    fn new(metadata: Metadata, root: String, checksums: &BTreeMap<(String, String), String>) -> Self {
        let crates =
            metadata.packages.into_iter().map(|package| (package.id.clone(), package.crate_of(checksums)));
        let needs = metadata.resolve.nodes.into_iter().map(|node| (node.id.clone(), node.edges()));
        let mut graph = Self {
            crates: crates.collect(),
            needs: needs.collect(),
            root: root.clone(),
            linked: BTreeSet::new(),
            all: BTreeSet::new(),
        };
        graph.linked = graph.reach(&root, |graph, edge| edge.normal && !graph.runs_on_host(&edge.to));
        graph.all = graph.reach(&root, |_, _| true);
        graph
    }

    /// The enclave's crate.
    pub(crate) fn root(&self) -> Result<&Crate> {
        self.crates.get(&self.root).context("cargo metadata lacks the crate")
    }

    /// What is linked into the enclave.
    pub(crate) fn linked(&self) -> impl Iterator<Item = &Crate> {
        self.linked.iter().filter(|id| **id != self.root).filter_map(|id| self.crates.get(id))
    }

    /// What only helped to build it: macros, build scripts and what those need.
    pub(crate) fn build_only(&self) -> impl Iterator<Item = &Crate> {
        self.all.difference(&self.linked).filter_map(|id| self.crates.get(id))
    }

    /// Who needs whom.
    pub(crate) fn edges(&self) -> impl Iterator<Item = (String, Vec<String>)> {
        let reference = |id: &String| self.crates.get(id).map(Crate::reference);
        self.all.iter().filter_map(move |id| {
            let needs = self.needs.get(id).into_iter().flatten();
            let on: BTreeSet<String> = needs.filter_map(|edge| reference(&edge.to)).collect();
            Some((reference(id)?, on.into_iter().collect()))
        })
    }

    fn runs_on_host(&self, id: &str) -> bool {
        self.crates.get(id).is_some_and(|part| part.runs_on_host)
    }

    fn reach(&self, from: &str, follow: impl Fn(&Self, &Edge) -> bool) -> BTreeSet<String> {
        let mut found = BTreeSet::from([from.to_owned()]);
        let mut open = vec![from.to_owned()];
        while let Some(id) = open.pop() {
            for edge in self.needs.get(&id).into_iter().flatten().filter(|edge| follow(self, edge)) {
                if found.insert(edge.to.clone()) {
                    open.push(edge.to.clone());
                }
            }
        }
        found
    }
}

impl Package {
    fn crate_of(self, checksums: &BTreeMap<(String, String), String>) -> Crate {
        let checksum = checksums.get(&(self.name.clone(), self.version.clone())).cloned();
        Crate {
            name: self.name,
            version: self.version,
            // Old crates write a slash where a licence expression has OR.
            licence: self.license.map(|licence| licence.replace('/', " OR ")),
            checksum,
            published: self.source.is_some(),
            runs_on_host: self
                .targets
                .iter()
                .any(|target| target.kind.iter().any(|kind| kind == "proc-macro")),
        }
    }
}

impl Node {
    /// Needs of tests are left out.
    fn edges(self) -> Vec<Edge> {
        let edge = |dependency: Dependency| {
            let kinds = || dependency.dep_kinds.iter().map(|kind| kind.kind.as_deref());
            let normal = kinds().any(|kind| kind.is_none());
            let wanted = normal || kinds().any(|kind| kind == Some("build"));
            wanted.then_some(Edge { to: dependency.pkg, normal })
        };
        self.deps.into_iter().filter_map(edge).collect()
    }
}

fn checksums(workspace: &Path) -> Result<BTreeMap<(String, String), String>> {
    let path = workspace.join("Cargo.lock");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let lock: LockFile =
        toml::from_str(&text).with_context(|| format!("{} is not as expected", path.display()))?;
    let entry = |locked: Locked| Some(((locked.name, locked.version), locked.checksum?));
    Ok(lock.package.into_iter().filter_map(entry).collect())
}

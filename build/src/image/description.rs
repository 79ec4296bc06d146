//! `platform/image/root.toml`: which files of which packages an image has.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use serde::Deserialize;

use crate::image::parts::Edition;

/// The whole description.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Description {
    /// Empty folders of the root.
    pub(crate) folders: Vec<String>,
    /// Symbolic links and what they point to.
    pub(crate) links: BTreeMap<String, String>,
    #[serde(rename = "package")]
    pub(crate) packages: Vec<Part>,
    /// Packages of the RAM disk.
    #[serde(rename = "early-package")]
    pub(crate) early: Vec<Part>,
    /// What an image for containers has besides.
    #[serde(rename = "container-package")]
    containers: Vec<Part>,
    /// What a `-dev` image has besides.
    #[serde(rename = "dev-package")]
    dev: Vec<Part>,
    pub(crate) dev_links: BTreeMap<String, String>,
}

/// Files of one package.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Part {
    pub(crate) name: String,
    /// For whoever reviews it.
    #[expect(dead_code, reason = "people read it; the field must be there")]
    why: String,
    /// Paths; a `*` at the end stands for the rest of a name.
    pub(crate) files: Vec<String>,
}

impl Description {
    /// Reads the folder's description.
    pub(crate) fn load(folder: &Path) -> Result<Self> {
        let path = folder.join("root.toml");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text).map_err(|error| anyhow!("{}: {error}", path.display()))
    }

    /// Packages of the root, those for development last.
    pub(crate) fn root(&self, edition: Edition) -> impl Iterator<Item = &Part> {
        let containers = self.containers.iter().filter(move |_| edition.containers);
        let dev = self.dev.iter().filter(move |_| edition.dev);
        self.packages.iter().chain(containers).chain(dev)
    }

    /// Names of all packages of an image, each once.
    pub(crate) fn names(&self, edition: Edition) -> Vec<&str> {
        let mut names: Vec<&str> =
            self.root(edition).chain(&self.early).map(|part| part.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

impl Part {
    /// The paths that a pattern stands for, below an unpacked package.
    pub(crate) fn matches(&self, package: &Path) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for pattern in &self.files {
            let paths = expand(package, pattern)?;
            anyhow::ensure!(
                !paths.is_empty(),
                "package {} has no {pattern}\nhelp: correct platform/image/root.toml",
                self.name
            );
            found.extend(paths);
        }
        Ok(found)
    }
}

fn expand(package: &Path, pattern: &str) -> Result<Vec<String>> {
    let Some(start) = pattern.strip_suffix('*') else {
        let there = package.join(pattern).symlink_metadata().is_ok();
        return Ok(there.then(|| pattern.to_owned()).into_iter().collect());
    };
    let (folder, start) = start.rsplit_once('/').unwrap_or(("", start));
    let Ok(entries) = fs::read_dir(package.join(folder)) else { return Ok(Vec::new()) };
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names = names.collect::<Result<Vec<_>>>()?;
    names.retain(|name| name.starts_with(start));
    names.sort();
    Ok(names.into_iter().map(|name| format!("{folder}/{name}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository() -> Description {
        Description::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../platform/image")).unwrap()
    }

    #[test]
    fn a_pattern_is_the_beginning_of_a_name() {
        let package = tempfile::tempdir().unwrap();
        fs::create_dir_all(package.path().join("usr/lib")).unwrap();
        for name in ["liba.so.1", "liba.so.1.2", "libb.so.1"] {
            fs::write(package.path().join("usr/lib").join(name), "").unwrap();
        }
        let part = |files: &[&str]| Part {
            name: "p".into(),
            why: String::new(),
            files: files.iter().map(|name| (*name).to_owned()).collect(),
        };
        let found = part(&["usr/lib/liba.so.1*", "usr/lib/libb.so.1"]).matches(package.path()).unwrap();
        assert_eq!(found, ["usr/lib/liba.so.1", "usr/lib/liba.so.1.2", "usr/lib/libb.so.1"]);
        let error = part(&["usr/lib/libc*"]).matches(package.path()).unwrap_err().to_string();
        assert!(error.starts_with("package p has no usr/lib/libc*\nhelp: "), "{error}");
    }

    /// What production lacks is what one list brings.
    #[test]
    fn development_images_differ_by_one_list() {
        let description = repository();
        let production = description.names(Edition::default());
        let dev = description.names(Edition { dev: true, ..Edition::default() });
        let more: Vec<_> = dev.iter().filter(|name| !production.contains(name)).collect();
        let listed: std::collections::BTreeSet<_> = description.dev.iter().map(|part| &*part.name).collect();
        assert!(more.iter().all(|name| listed.contains(*name)), "{more:?}");
        for wanted in ["busybox-static", "dropbear-bin", "optee-test-qemu"] {
            assert!(more.contains(&&wanted), "{more:?}");
        }
        let containers = Edition { containers: true, ..Edition::default() };
        let paths = description.root(containers).chain(&description.early).flat_map(|part| &part.files);
        assert!(paths.chain(description.links.keys()).all(|path| {
            !["sh", "bash", "dash", "busybox", "sshd", "dropbear", "xtest", "login", "agetty"]
                .contains(&path.rsplit('/').next().unwrap())
        }));
    }
}

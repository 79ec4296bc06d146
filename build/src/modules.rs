//! Picks kernel modules and what they depend on, from the modules themselves: Debian's package has no `modules.dep`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::elf;
use crate::hash::files_below;
use crate::tool::Tool;

/// Modules by name, as files of an unpacked kernel package.
pub(crate) struct ModuleTree {
    paths: BTreeMap<String, PathBuf>,
}

/// One decompressed module.
pub(crate) struct Module {
    pub(crate) name: String,
    pub(crate) content: Vec<u8>,
}

impl ModuleTree {
    /// Indexes every `.ko.xz` below a folder.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let files = files_below(root)?;
        let named = files.into_iter().filter_map(|path| {
            let name = path.file_name()?.to_str()?.strip_suffix(".ko.xz")?;
            Some((plain(name), path.clone()))
        });
        Ok(Self { paths: named.collect() })
    }

    /// The named modules with their dependencies, in an order in which they can be loaded.
    pub(crate) fn in_load_order(&self, wanted: &[String]) -> Result<Vec<Module>> {
        let mut loaded = Vec::new();
        for name in wanted {
            self.add(&plain(name), &mut loaded)?;
        }
        Ok(loaded)
    }

    fn add(&self, name: &str, loaded: &mut Vec<Module>) -> Result<()> {
        if loaded.iter().any(|module| module.name == name) {
            return Ok(());
        }
        let content = self.decompressed(name)?;
        for needed in dependencies(&content).with_context(|| format!("kernel module {name}"))? {
            self.add(&needed, loaded)?;
        }
        loaded.push(Module { name: name.to_owned(), content });
        Ok(())
    }

    fn decompressed(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.paths.get(name).with_context(|| {
            format!("the kernel package has no module {name}\nhelp: correct linux.modules in board.toml")
        })?;
        let output =
            Tool::new("xz").args(["--decompress", "--stdout", "--keep"]).arg(path).command().output();
        let output = output.context("cannot start xz\nhelp: install Debian package xz-utils")?;
        anyhow::ensure!(output.status.success(), "{} is not xz data", path.display());
        Ok(output.stdout)
    }
}

/// Names of the modules that a module needs.
fn dependencies(module: &[u8]) -> Result<Vec<String>> {
    let info = elf::section(module, ".modinfo")?;
    let fields = info.split(|byte| *byte == 0).filter_map(|field| std::str::from_utf8(field).ok());
    let names = fields.filter_map(|field| field.strip_prefix("depends=")).flat_map(|list| list.split(','));
    Ok(names.filter(|name| !name.is_empty()).map(plain).collect())
}

/// File names have dashes where the kernel has underscores.
fn plain(name: &str) -> String {
    name.replace('-', "_")
}

/// The folder of a kernel package that has its modules.
pub(crate) fn module_folder(package: &Path) -> Result<PathBuf> {
    let root = package.join("usr/lib/modules");
    let mut entries = fs::read_dir(&root).with_context(|| format!("cannot read {}", root.display()))?;
    Ok(entries.next().with_context(|| format!("{} is empty", root.display()))??.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_read_from_the_module() {
        let module = crate::elf::tests::sample(".modinfo", b"license=GPL\0depends=tee,virtio-ring\0");
        assert_eq!(dependencies(&module).unwrap(), ["tee", "virtio_ring"]);
        let alone = crate::elf::tests::sample(".modinfo", b"depends=\0");
        assert!(dependencies(&alone).unwrap().is_empty());
    }
}

//! Builds enclaves in C: folders of `tests/enclaves` with a makefile for OP-TEE's development kit.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::builder::Builder;
use crate::tool::Tool;
use crate::ui;

const CROSS: &str = "aarch64-linux-gnu-";
/// What an outer make, or the host's shell, must not put into an enclave.
const FOREIGN: [&str; 6] = ["MAKEFLAGS", "MFLAGS", "CFLAGS", "CPPFLAGS", "LDFLAGS", "LDADD"];

/// An enclave in C and the ELF file it was built to.
pub(crate) struct CEnclave {
    pub(crate) name: String,
    pub(crate) elf: PathBuf,
}

impl Builder {
    /// Builds every enclave in C; `kit` is OP-TEE's development kit.
    pub(super) fn c_enclaves(&self, kit: &Path) -> Result<Vec<CEnclave>> {
        let folders = folders(&self.repo.root().join("tests/enclaves"))?;
        let out = self.work("c-enclaves")?;
        let build =
            |folder: &PathBuf| self.c_enclave(kit, folder, &out.join(folder.file_name().unwrap_or_default()));
        folders.iter().map(build).collect()
    }

    /// Only the ELF file is asked of the kit: stripping and signing are ours.
    pub(crate) fn c_enclave(&self, kit: &Path, folder: &Path, out: &Path) -> Result<CEnclave> {
        let name = folder.file_name().and_then(|name| name.to_str()).context("enclave without a name")?;
        let out = objects(out, kit);
        let elf = out.join(format!("{name}.elf"));
        let make = FOREIGN.iter().fold(Tool::new("make"), |tool, variable| tool.without_env(variable));
        let make = make
            .arg("-s")
            .arg("-C")
            .arg(folder)
            .assign("TA_DEV_KIT_DIR", kit)
            .assign("CROSS_COMPILE64", CROSS)
            .assign("BINARY", name)
            .assign("O", &out)
            .assign("TRUSTBOX", self.repo.root())
            .arg(&elf);
        let log = self.log(name);
        let _ = fs::remove_file(&log);
        ui::step(name, || make.help("the compiler's message above names the line").run(&log))?;
        Ok(CEnclave { name: name.to_owned(), elf })
    }
}

/// The folder for objects of one kit: what they depend on names the kit's files, which go when the cache is cleaned.
fn objects(out: &Path, kit: &Path) -> PathBuf {
    out.join(kit.file_name().unwrap_or_default())
}

/// Folders below `root` that have a makefile, in name order.
fn folders(root: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(root).with_context(|| format!("cannot read {}", root.display()))?;
    let mut folders = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    folders.retain(|folder| folder.join("Makefile").is_file());
    folders.sort();
    Ok(folders)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_of_one_kit_are_not_made_with_another() {
        let [old, new] = ["/kits/1", "/kits/2"].map(|kit| objects(Path::new("/out"), Path::new(kit)));
        assert!(old.starts_with("/out") && new.starts_with("/out") && old != new);
    }

    #[test]
    fn only_folders_with_a_makefile_count() {
        let root = std::env::temp_dir().join(format!("tb-c-enclaves-{}", std::process::id()));
        for name in ["b", "a", "rust"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        for name in ["b/Makefile", "a/Makefile", "rust/Cargo.toml"] {
            fs::write(root.join(name), "").unwrap();
        }
        assert_eq!(folders(&root).unwrap(), [root.join("a"), root.join("b")]);
        fs::remove_dir_all(root).unwrap();
    }
}

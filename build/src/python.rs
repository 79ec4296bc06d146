//! Tools from Python's package index, each set in a folder of its own below target/, and the Python that runs them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::builder::Builder;
use crate::tool::Tool;

/// Debian's own: what it lacks is installed as Debian packages.
const PYTHON: &str = "/usr/bin/python3";

impl Builder {
    /// A folder with these packages, as `NAME==VERSION`, and what they need; installed once, whole or not at all.
    pub(crate) fn python_packages(&self, packages: &[&str]) -> Result<PathBuf> {
        let name = packages.join("-").replace("==", "-");
        let folder = self.repo().cache().join("tools").join(&name);
        if folder.is_dir() {
            return Ok(folder);
        }
        let unfinished = folder.with_file_name(format!("unfinished-{name}"));
        let _ = fs::remove_dir_all(&unfinished);
        let pip = Tool::new(PYTHON).args(["-m", "pip", "install", "--quiet", "--target"]).arg(&unfinished);
        pip.args(packages)
            .help("check the network and pip's index")
            .run(&self.log(&format!("pip-{name}")))?;
        fs::rename(&unfinished, &folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(folder)
    }
}

/// Python with the packages of such a folder, and nothing written beside what it reads.
pub(crate) fn with(packages: &Path) -> Tool {
    alone().env("PYTHONPATH", packages)
}

/// Python with what Debian has of it.
pub(crate) fn alone() -> Tool {
    Tool::new(PYTHON).arg("-B")
}

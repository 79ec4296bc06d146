//! Folders and files of one boot.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

use crate::device::BootOptions;
use crate::guest::Images;
use crate::step::remove_oldest;
use crate::tool::{Tool, find_program};

/// Size of a new state file: sparse, so it costs what is in it.
const STATE_SIZE: &str = "64M";
/// Boots whose logs are kept.
const KEPT_BOOTS: usize = 20;

/// The boot's folder, for logs and /mnt/share, and a short one for sockets, whose paths are limited to 107 octets.
pub(crate) fn new_folders(images: &Images) -> Result<(PathBuf, PathBuf)> {
    static BOOTS: AtomicU32 = AtomicU32::new(0);
    let number = BOOTS.fetch_add(1, Ordering::Relaxed);
    let name = format!("{}-{number}", std::process::id());
    let boots = images.repo.cache().join("qemu");
    let folder = boots.join(&name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("share")).with_context(|| format!("cannot make {}", folder.display()))?;
    remove_oldest(&boots, KEPT_BOOTS)?;
    let sockets = std::env::temp_dir().join(format!("tb-{name}"));
    let _ = fs::remove_dir_all(&sockets);
    fs::create_dir_all(&sockets)?;
    Ok((folder, sockets))
}

/// The options with absolute paths and a state file that exists.
pub(crate) fn prepared(options: &BootOptions) -> Result<BootOptions> {
    let mut options = options.clone();
    if let Some(folder) = &options.copy {
        let absolute = folder.canonicalize();
        options.copy = Some(absolute.with_context(|| format!("cannot open folder {}", folder.display()))?);
    }
    if let Some(file) = &options.state {
        make_state(file)?;
    }
    Ok(options)
}

/// A state file: an empty file system, unless it is there.
pub(crate) fn make_state(file: &Path) -> Result<()> {
    if file.exists() {
        return Ok(());
    }
    let program =
        find_program("mke2fs").context("mke2fs is missing\nhelp: install Debian package e2fsprogs")?;
    let part = file.with_extension("unfinished");
    let _ = fs::remove_file(&part);
    let tool = Tool::new(program).args(["-q", "-t", "ext4", "-F"]).arg(&part).arg(STATE_SIZE);
    tool.output().with_context(|| format!("cannot make state file {}", file.display()))?;
    Ok(fs::rename(part, file)?)
}

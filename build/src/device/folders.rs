//! Folders and files of one boot.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

use crate::device::BootOptions;
use crate::device::flash::DISK_SIZE;
use crate::guest::Images;
use crate::step::remove_oldest;
use crate::tool::{Tool, find_program};

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

/// The options with absolute paths.
pub(crate) fn prepared(options: &BootOptions) -> Result<BootOptions> {
    let mut options = options.clone();
    if let Some(folder) = &options.copy {
        let absolute = folder.canonicalize();
        options.copy = Some(absolute.with_context(|| format!("cannot open folder {}", folder.display()))?);
    }
    Ok(options)
}

/// An empty file system for secure storage, sparse, so that it costs what is in it.
pub(crate) fn make_file_system(file: &Path) -> Result<()> {
    let program =
        find_program("mke2fs").context("mke2fs is missing\nhelp: install Debian package e2fsprogs")?;
    let size = format!("{}k", DISK_SIZE / 1024);
    let tool = Tool::new(program).args(["-q", "-t", "ext4", "-F"]).arg(file).arg(size);
    tool.output().with_context(|| format!("cannot make state file {}", file.display())).map(drop)
}

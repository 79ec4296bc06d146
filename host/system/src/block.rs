//! Partitions by the name that the partition table gives them, as the kernel lists them: there is no udev.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Where the kernel lists block devices.
const CLASS: &str = "/sys/class/block";
/// How long a medium may take to show its partitions.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(20);

/// Waits for a partition; its device node.
pub(crate) fn wait_for(name: &str) -> Result<PathBuf> {
    let start = Instant::now();
    loop {
        if let Some(node) = find(Path::new(CLASS), name) {
            return Ok(Path::new("/dev").join(node));
        }
        if start.elapsed() > PATIENCE {
            bail!("no partition {name} after {} s", PATIENCE.as_secs());
        }
        std::thread::sleep(LOOK);
    }
}

/// The first device whose events name this partition.
fn find(class: &Path, name: &str) -> Option<String> {
    let wanted = format!("PARTNAME={name}");
    let mut devices: Vec<_> = fs::read_dir(class).ok()?.flatten().map(|entry| entry.path()).collect();
    devices.sort();
    devices.iter().find_map(|device| {
        let text = fs::read_to_string(device.join("uevent")).ok()?;
        let node = text.lines().find_map(|line| line.strip_prefix("DEVNAME="))?;
        text.lines().any(|line| line == wanted).then(|| node.to_owned())
    })
}

/// The disk that a partition is on.
pub(crate) fn disk_of(partition: &str) -> Result<PathBuf> {
    let node = find(Path::new(CLASS), partition).with_context(|| format!("no partition {partition}"))?;
    let place =
        fs::canonicalize(Path::new(CLASS).join(&node)).context("the kernel does not say where it is")?;
    let disk = place.parent().and_then(Path::file_name).context("a partition is on no disk")?;
    Ok(Path::new("/dev").join(disk))
}

/// The slot that U-Boot booted, `a` or `b`.
pub(crate) fn slot() -> Result<char> {
    let text = fs::read_to_string("/proc/device-tree/chosen/trustbox,slot").unwrap_or_default();
    match text.trim_end_matches('\0') {
        "boot-a" => Ok('a'),
        "boot-b" => Ok('b'),
        other => bail!("U-Boot names no slot, but {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_found_by_their_whole_name() {
        let class = tempfile::tempdir().unwrap();
        for (node, name) in [("vda1", "boot-a"), ("vda2", "root-a"), ("vda3", "root-ab")] {
            fs::create_dir(class.path().join(node)).unwrap();
            let text = format!("MAJOR=254\nDEVNAME={node}\nDEVTYPE=partition\nPARTNAME={name}\n");
            fs::write(class.path().join(node).join("uevent"), text).unwrap();
        }
        assert_eq!(find(class.path(), "root-a").as_deref(), Some("vda2"));
        assert_eq!(find(class.path(), "root"), None);
    }
}

//! The TEE's storage and the data partition: made on the first boot, mounted on every boot.
//!
//! A file system is made under a name of its own and renamed when it is whole and on the medium: a power cut before that makes the
//! next boot start again, and one after it changes nothing. A partition with anything else in it is left as it is.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use rustix::mount::{MountFlags, mount};

use crate::block;

/// Name of a file system that is not finished.
const UNFINISHED: &str = "unfinished";
/// The user that answers OP-TEE.
const SUPPLICANT: &str = "tee-supplicant";
/// Partition, which is also the finished file system's name, where it is mounted, and whose it is.
pub(crate) const PLACES: [(&str, &str, &str); 2] =
    [("tee", "/var/lib/tee", SUPPLICANT), ("data", "/var/lib/trustbox", "trustbox")];
/// Octets at the start that are looked at, and where ext4 has its magic number and its name.
const HEAD: usize = 64 << 10;
const MAGIC: usize = 1024 + 0x38;
const NAME: usize = 1024 + 0x78;
const NAME_SIZE: usize = 16;

/// What a partition holds.
#[derive(Debug, Eq, PartialEq)]
enum Content {
    Nothing,
    Unfinished,
    Finished,
    Other,
}

/// Makes what lacks, mounts, and hands devices to who uses them.
pub(crate) fn prepare() -> Result<()> {
    for (name, target, owner) in PLACES {
        let device = block::wait_for(name)?;
        match content(&head(&device)?, name) {
            Content::Finished => {}
            Content::Nothing | Content::Unfinished => make(&device, name)?,
            Content::Other => bail!("partition {name} holds something else: it is left as it is"),
        }
        fs::create_dir_all(target)?;
        let flags = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::NOATIME;
        mount(&device, target, "ext4", flags, c"data=journal")
            .with_context(|| format!("cannot mount partition {name}"))?;
        let owner = number("/etc/passwd", owner)?;
        chown(target, Some(owner), Some(owner))?;
        fs::set_permissions(target, fs::Permissions::from_mode(0o700))?;
    }
    devices()
}

fn head(device: &Path) -> Result<Vec<u8>> {
    let mut head = vec![0; HEAD];
    let mut file = File::open(device).with_context(|| format!("cannot open {}", device.display()))?;
    file.seek(SeekFrom::Start(0))?;
    file.read_exact(&mut head).with_context(|| format!("cannot read {}", device.display()))?;
    Ok(head)
}

fn content(head: &[u8], name: &str) -> Content {
    let (Some(magic), Some(found)) = (head.get(MAGIC..MAGIC + 2), head.get(NAME..NAME + NAME_SIZE)) else {
        return Content::Other;
    };
    if head.iter().all(|octet| *octet == 0) {
        return Content::Nothing;
    }
    let found = String::from_utf8_lossy(found);
    match (magic, found.trim_end_matches('\0')) {
        ([0x53, 0xef], UNFINISHED) => Content::Unfinished,
        ([0x53, 0xef], found) if found == name => Content::Finished,
        // Writing was interrupted before there was a name: no file system, and nothing that anybody named.
        ([0, 0], "") => Content::Unfinished,
        _ => Content::Other,
    }
}

fn make(device: &Path, name: &str) -> Result<()> {
    let tool = |program: &str, words: &[&str]| -> Result<()> {
        let output = Command::new(program).args(words).arg(device).output();
        let output = output.with_context(|| format!("cannot start {program}"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{program} ended with {}: {}", output.status, said.trim());
        Ok(File::open(device)?.sync_all()?)
    };
    tool("/usr/sbin/mke2fs", &["-q", "-F", "-t", "ext4", "-E", "lazy_itable_init=0", "-L", UNFINISHED])?;
    tool("/usr/sbin/tune2fs", &["-L", name])
}

/// Programs in group `tee` talk to enclaves and to the factory; only tee-supplicant's user answers OP-TEE.
fn devices() -> Result<()> {
    let (group, supplicant) = (number("/etc/group", "tee")?, number("/etc/passwd", SUPPLICANT)?);
    for entry in fs::read_dir("/dev")?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let port = fs::read_to_string(format!("/sys/class/virtio-ports/{name}/name"));
        let port = port.is_ok_and(|text| text.trim() == crate::factory::PORT);
        let (owner, group) = match () {
            () if name.starts_with("teepriv") => (supplicant, supplicant),
            () if name.starts_with("tee") || port => (0, group),
            () => continue,
        };
        chown(entry.path(), Some(owner), Some(group))?;
        fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o660))?;
    }
    Ok(())
}

/// The number of a user or group.
fn number(file: &str, name: &str) -> Result<u32> {
    let text = fs::read_to_string(file)?;
    let mut lines = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let found = lines.find(|fields| fields.first() == Some(&name));
    found.and_then(|fields| fields.get(2)?.parse().ok()).with_context(|| format!("{file} has no {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &[u8]) -> Vec<u8> {
        let mut head = vec![0; HEAD];
        head[MAGIC..MAGIC + 2].copy_from_slice(&[0x53, 0xef]);
        head[NAME..NAME + name.len()].copy_from_slice(name);
        head
    }

    #[test]
    fn only_what_nobody_finished_is_made_again() {
        assert_eq!(content(&vec![0; HEAD], "tee"), Content::Nothing);
        assert_eq!(content(&named(b"unfinished"), "tee"), Content::Unfinished);
        assert_eq!(content(&named(b"tee"), "tee"), Content::Finished);
        assert_eq!(content(&named(b"data"), "tee"), Content::Other);
        assert_eq!(content(&named(b""), "tee"), Content::Other);
        let mut other = vec![0; HEAD];
        other[MAGIC] = 7;
        assert_eq!(content(&other, "tee"), Content::Other);
    }

    /// What mke2fs writes is what is looked for.
    #[test]
    fn a_real_file_system_is_recognised() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(16 << 20).unwrap();
        assert_eq!(content(&head(file.path()).unwrap(), "tee"), Content::Nothing);
        let Ok(status) = Command::new("/usr/sbin/mke2fs")
            .args(["-q", "-F", "-t", "ext4", "-L", "tee"])
            .arg(file.path())
            .status()
        else {
            return;
        };
        assert!(status.success());
        assert_eq!(content(&head(file.path()).unwrap(), "tee"), Content::Finished);
    }
}

//! The TEE's storage: made on the first boot, mounted on every boot. What the data partition shares with it is here too.
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
pub(crate) const UNFINISHED: &str = "unfinished";
/// The user that answers OP-TEE.
const SUPPLICANT: &str = "tee-supplicant";
/// The partition with the TEE's storage.
pub(crate) const TEE: Place = Place { partition: "tee", target: "/var/lib/tee", owner: SUPPLICANT };
/// Octets at the start that are looked at.
pub(crate) const HEAD: usize = 64 << 10;
/// How a finished ext4 is recognised.
pub(crate) const EXT4: Mark =
    Mark { magic: &[0x53, 0xef], magic_at: 1024 + 0x38, name_at: 1024 + 0x78, name_size: 16 };

/// A partition, whose name a finished one also has inside; where it is mounted, and whose it is.
pub(crate) struct Place {
    pub(crate) partition: &'static str,
    pub(crate) target: &'static str,
    owner: &'static str,
}

impl Place {
    pub(crate) const fn new(partition: &'static str, target: &'static str, owner: &'static str) -> Self {
        Self { partition, target, owner }
    }

    /// Mounts a file system there and hands it to its owner.
    pub(crate) fn mount(&self, device: &Path) -> Result<()> {
        fs::create_dir_all(self.target)?;
        let flags = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::NOATIME;
        mount(device, self.target, "ext4", flags, c"data=journal")
            .with_context(|| format!("cannot mount partition {}", self.partition))?;
        give(Path::new(self.target), self.owner)
    }
}

/// Hands a folder to its owner, and to nobody else.
pub(crate) fn give(folder: &Path, owner: &str) -> Result<()> {
    let owner = number("/etc/passwd", owner)?;
    chown(folder, Some(owner), Some(owner))?;
    Ok(fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?)
}

/// Where a format has its magic number and its name.
pub(crate) struct Mark {
    pub(crate) magic: &'static [u8],
    pub(crate) magic_at: usize,
    pub(crate) name_at: usize,
    pub(crate) name_size: usize,
}

/// What a partition holds.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Content {
    Nothing,
    Unfinished,
    Finished,
    Other,
}

/// Makes it if it lacks, mounts it, and hands devices to who uses them.
pub(crate) fn prepare() -> Result<()> {
    let device = block::wait_for(TEE.partition)?;
    match EXT4.content(&head(&device)?, TEE.partition) {
        Content::Finished => {}
        Content::Nothing | Content::Unfinished => {
            make_ext4(&device, UNFINISHED)?;
            run(Command::new("/usr/sbin/tune2fs").args(["-L", TEE.partition]).arg(&device))?;
            File::open(&device)?.sync_all()?;
        }
        Content::Other => bail!("partition {} holds something else: it is left as it is", TEE.partition),
    }
    TEE.mount(&device)?;
    devices()
}

/// The start of a device.
pub(crate) fn head(device: &Path) -> Result<Vec<u8>> {
    let mut head = vec![0; HEAD];
    let mut file = File::open(device).with_context(|| format!("cannot open {}", device.display()))?;
    file.seek(SeekFrom::Start(0))?;
    file.read_exact(&mut head).with_context(|| format!("cannot read {}", device.display()))?;
    Ok(head)
}

impl Mark {
    /// Whether the magic number is there.
    pub(crate) fn is_in(&self, head: &[u8]) -> bool {
        head.get(self.magic_at..).is_some_and(|rest| rest.starts_with(self.magic))
    }

    /// What is there, where a finished one has this name.
    pub(crate) fn content(&self, head: &[u8], name: &str) -> Content {
        let part = |at: usize, size: usize| head.get(at..at + size);
        let (Some(magic), Some(found)) =
            (part(self.magic_at, self.magic.len()), part(self.name_at, self.name_size))
        else {
            return Content::Other;
        };
        if head.iter().all(|octet| *octet == 0) {
            return Content::Nothing;
        }
        let found = String::from_utf8_lossy(found);
        match (magic == self.magic, found.trim_end_matches('\0')) {
            (true, UNFINISHED) => Content::Unfinished,
            (true, found) if found == name => Content::Finished,
            // Writing was interrupted before there was a name: nothing that anybody named.
            (false, "") if magic.iter().all(|octet| *octet == 0) => Content::Unfinished,
            _ => Content::Other,
        }
    }
}

/// Makes an ext4 of this name; it is on the medium afterwards.
pub(crate) fn make_ext4(device: &Path, name: &str) -> Result<()> {
    let words = ["-q", "-F", "-t", "ext4", "-E", "lazy_itable_init=0", "-L", name];
    run(Command::new("/usr/sbin/mke2fs").args(words).arg(device))?;
    Ok(File::open(device)?.sync_all()?)
}

/// Runs a program; what it says is wrong is the error.
pub(crate) fn run(tool: &mut Command) -> Result<()> {
    let output = tool.output().with_context(|| format!("cannot start {}", tool.get_program().display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{} ended with {}: {}",
        tool.get_program().display(),
        output.status,
        said.trim()
    );
    Ok(())
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
        head[EXT4.magic_at..][..2].copy_from_slice(EXT4.magic);
        head[EXT4.name_at..][..name.len()].copy_from_slice(name);
        head
    }

    fn content(head: &[u8], name: &str) -> Content {
        EXT4.content(head, name)
    }

    #[test]
    fn only_what_nobody_finished_is_made_again() {
        assert_eq!(content(&vec![0; HEAD], "tee"), Content::Nothing);
        assert_eq!(content(&named(b"unfinished"), "tee"), Content::Unfinished);
        assert_eq!(content(&named(b"tee"), "tee"), Content::Finished);
        assert_eq!(content(&named(b"data"), "tee"), Content::Other);
        assert_eq!(content(&named(b""), "tee"), Content::Other);
        let mut other = vec![0; HEAD];
        other[EXT4.magic_at] = 7;
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

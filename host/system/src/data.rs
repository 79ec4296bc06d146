//! The data partition: LUKS2, whose key comes from the TEE and is of this device and its owner's time. Made once there is an owner,
//! opened on every boot; nobody types anything, and the key is on no medium.
//!
//! Each who keeps something has a folder of its own in it, mounted where it is looked for; only what containers are made of may be
//! started. As with the TEE's storage it has the name of something unfinished until the file system in it is whole and on the medium: a
//! power cut before that makes the next boot start again. One that another device or another owner made is left as it is.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use rustix::mount::{MountFlags, MountPropagationFlags, mount_bind, mount_change, mount_remount};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::storage::{Content, EXT4, Mark, Place, UNFINISHED, give, head, make_ext4, run};
use crate::{block, report};

/// The partition.
pub(crate) const DATA: Place = Place::new("data", "/var/lib/data", "root");
/// Folders in it that are elsewhere too: name, place, owner.
const PROGRAMS: [&str; 3] = ["trustbox", "/var/lib/trustbox", "trustbox"];
const CONTAINERS: [&str; 3] = ["containers", "/var/lib/containers", "root"];
/// Where podman unpacks images, empty on each boot: its package has a line for systemd-tmpfiles, which is not here.
const COPIES: &str = "/var/lib/containers/storage/tmp";
/// What a file system with programs in it may not do.
const STARTS: MountFlags =
    MountFlags::BIND.union(MountFlags::NODEV).union(MountFlags::NOSUID).union(MountFlags::NOATIME);
/// Where it is, opened.
const OPENED: &str = "/dev/mapper/data";
const CRYPTSETUP: &str = "/usr/sbin/cryptsetup";
const TRUSTBOX: &str = "/usr/bin/trustbox";
/// Octets of the disk key.
const KEY_SIZE: usize = 32;
/// How LUKS2 is recognised (its specification, 2.1: magic, label).
const LUKS2: Mark = Mark { magic: b"LUKS\xba\xbe\0\x02", magic_at: 0, name_at: 24, name_size: 48 };
/// The key is random already: the derivation for passwords has nothing to slow down. The header is two mebioctets.
const FORMAT: [&str; 17] = [
    "luksFormat",
    "--batch-mode",
    "--type=luks2",
    "--cipher=aes-xts-plain64",
    "--key-size=512",
    "--hash=sha256",
    "--pbkdf=pbkdf2",
    "--pbkdf-force-iterations=1000",
    "--offset=4096",
    "--sector-size=4096",
    "--label",
    UNFINISHED,
    "--key-file",
    "-",
    "--keyfile-size",
    "32",
    "--use-urandom",
];
/// Wrong key, as cryptsetup says it.
const NO_PERMISSION: i32 = 2;

/// Makes it if it lacks and there is an owner, opens and mounts it.
pub(crate) fn prepare() -> Result<()> {
    let Some(key) = disk_key()? else { return Ok(()) };
    let device = block::wait_for(DATA.partition)?;
    match content(&head(&device)?) {
        Content::Finished => open(&device, &key)?,
        Content::Nothing | Content::Unfinished => make(&device, &key)?,
        Content::Other => bail!("partition {} holds something else: it is left as it is", DATA.partition),
    }
    DATA.mount(Path::new(OPENED))?;
    room(PROGRAMS)?;
    if report::image()?["containers"] == true {
        room(CONTAINERS)?;
        // The rest of the partition stays as it is: nothing in it is started.
        mount_remount(CONTAINERS[1], STARTS, c"").context("cannot mount the containers' storage")?;
        // What is mounted in it is in no other place.
        mount_change(CONTAINERS[1], MountPropagationFlags::PRIVATE)?;
        let _ = fs::remove_dir_all(COPIES);
        fs::create_dir_all(COPIES).with_context(|| format!("cannot make {COPIES}"))?;
        // Root of a container is somebody else: it passes through to its own.
        for folder in Path::new(COPIES).ancestors().take_while(|folder| *folder != Path::new("/var/lib")) {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o711))?;
        }
    }
    Ok(())
}

/// A folder of its owner, at its place.
fn room([name, place, owner]: [&str; 3]) -> Result<()> {
    let folder = Path::new(DATA.target).join(name);
    fs::create_dir_all(&folder)?;
    fs::create_dir_all(place)?;
    mount_bind(&folder, place).with_context(|| format!("cannot mount {place}"))?;
    give(Path::new(place), owner)
}

/// A plain file system, as earlier images had it there, is something else.
fn content(head: &[u8]) -> Content {
    if EXT4.is_in(head) { Content::Other } else { LUKS2.content(head, DATA.partition) }
}

/// None where the device has no owner: then there is no data either.
fn disk_key() -> Result<Option<Zeroizing<Vec<u8>>>> {
    let output = Command::new(TRUSTBOX).args(["key", "disk"]).output().context("cannot start trustbox")?;
    let (key, said) = (Zeroizing::new(output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() {
        ensure!(key.len() == KEY_SIZE, "the disk key has {} octets", key.len());
        return Ok(Some(key));
    }
    ensure!(!has_owner()?, "no disk key: {}", said.trim());
    Ok(None)
}

fn has_owner() -> Result<bool> {
    let output = Command::new(TRUSTBOX).args(["--json", "info"]).output().context("cannot start trustbox")?;
    let info: Value = serde_json::from_slice(&output.stdout).context("the TEE does not answer")?;
    Ok(!matches!(info["lifecycle"].as_str(), Some("blank" | "decommissioned")))
}

/// What lay there unfinished is overwritten.
fn make(device: &Path, key: &[u8]) -> Result<()> {
    let status = with_key(cryptsetup().args(FORMAT).arg(device), key)?;
    ensure!(status == Some(0), "cryptsetup cannot make partition {}: status {status:?}", DATA.partition);
    open(device, key)?;
    make_ext4(Path::new(OPENED), DATA.partition)?;
    run(cryptsetup().args(["config", "--label", DATA.partition]).arg(device))?;
    Ok(fs::File::open(device)?.sync_all()?)
}

fn open(device: &Path, key: &[u8]) -> Result<()> {
    let words = ["open", "--type=luks2", "--key-file", "-", "--keyfile-size", "32"];
    match with_key(cryptsetup().args(words).arg(device).arg(DATA.partition), key)? {
        Some(0) => Ok(()),
        Some(NO_PERMISSION) => {
            bail!("partition {} is of another device or another owner: it is left as it is", DATA.partition)
        }
        status => bail!("cryptsetup cannot open partition {}: status {status:?}", DATA.partition),
    }
}

/// There is no udev that would make device nodes.
fn cryptsetup() -> Command {
    let mut tool = Command::new(CRYPTSETUP);
    tool.env("DM_DISABLE_UDEV", "1");
    tool
}

/// Runs cryptsetup with the key at its standard input; its exit status. What it says goes to the journal, and names no key.
fn with_key(tool: &mut Command, key: &[u8]) -> Result<Option<i32>> {
    let mut child = tool.stdin(Stdio::piped()).spawn().context("cannot start cryptsetup")?;
    let mut input = child.stdin.take().context("cryptsetup has no standard input")?;
    // Where it ended before it read, its status says why.
    let _ = input.write_all(key);
    drop(input);
    Ok(child.wait()?.code())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::HEAD;

    /// What cryptsetup writes is what is looked for, and only the right key opens it.
    #[test]
    fn a_real_partition_is_recognised() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(16 << 20).unwrap();
        let found = || content(&head(file.path()).unwrap());
        let tool = || Command::new("cryptsetup");
        assert_eq!(found(), Content::Nothing);
        assert_eq!(with_key(tool().args(FORMAT).arg(file.path()), &[7; 32]).unwrap(), Some(0));
        assert_eq!(found(), Content::Unfinished);
        run(tool().args(["config", "--label", "data"]).arg(file.path())).unwrap();
        assert_eq!(found(), Content::Finished);
        let test = ["open", "--test-passphrase", "--key-file", "-", "--keyfile-size", "32"];
        let opens = |key: [u8; 32]| with_key(tool().args(test).arg(file.path()), &key).unwrap();
        assert_eq!((opens([7; 32]), opens([8; 32])), (Some(0), Some(NO_PERMISSION)));
    }

    #[test]
    fn only_what_nobody_finished_is_made_again() {
        let mut head = vec![0; HEAD];
        // The room of key slots is overwritten before there is a header.
        head[40 << 10] = 7;
        assert_eq!(content(&head), Content::Unfinished);
        head[..8].copy_from_slice(LUKS2.magic);
        head[24..29].copy_from_slice(b"other");
        assert_eq!(content(&head), Content::Other);
        let mut ext4 = vec![0; HEAD];
        ext4[EXT4.magic_at..][..2].copy_from_slice(EXT4.magic);
        assert_eq!(content(&ext4), Content::Other);
    }
}

//! What an image is about to be written to, and why not.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// `O_EXCL` of Linux: a device that somebody else uses is not opened.
pub(crate) const EXCLUSIVE: i32 = 0o200;
/// Octets of a sector, as the kernel counts a device.
const SECTOR: u64 = 512;

/// Where the kernel says what is used.
pub(super) struct System {
    /// `/sys`
    sys: PathBuf,
    /// `/proc`
    proc: PathBuf,
}

impl System {
    /// This host.
    pub(super) fn here() -> Self {
        Self { sys: "/sys".into(), proc: "/proc".into() }
    }

    /// Names of a disk and of its partitions.
    fn family(&self, disk: &str) -> Vec<String> {
        let folder = self.sys.join("class/block").join(disk);
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        let parts = entries.filter(|entry| entry.path().join("partition").exists());
        let mut names: Vec<_> = parts.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.push(disk.to_owned());
        names.sort();
        names
    }

    /// What the kernel calls a device, whatever the file is called that stands for it.
    fn name(&self, device: u64) -> Result<String> {
        let link = self.sys.join("dev/block").join(format!("{}:{}", major(device), minor(device)));
        let real = fs::canonicalize(link).context("the kernel knows no such device")?;
        Ok(real.file_name().context("the device has no name")?.to_string_lossy().into_owned())
    }

    /// What uses a device: `DEVICE is mounted at PLACE`.
    fn user(&self, name: &str) -> Option<String> {
        let device = format!("/dev/{name}");
        let number =
            fs::read_to_string(self.sys.join("class/block").join(name).join("dev")).unwrap_or_default();
        let text = |file: &str| fs::read_to_string(self.proc.join(file)).unwrap_or_default();
        let mounts = text("self/mountinfo");
        let mut mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        // Of some file systems the number is their own, and of others the name is whatever somebody wrote.
        let of_it =
            |fields: &Vec<&str>| fields.get(2) == Some(&number.trim()) || fields.contains(&device.as_str());
        if let Some(fields) = mounts.find(of_it) {
            let place = fields.get(4).copied().unwrap_or("?");
            let system = if place == "/" { ": this host runs from it" } else { "" };
            return Some(format!("{device} is mounted at {place}{system}"));
        }
        if text("swaps").lines().any(|line| line.split_whitespace().next() == Some(&device)) {
            return Some(format!("{device} is swap space of this host"));
        }
        let holders = fs::read_dir(self.sys.join("class/block").join(name).join("holders"));
        let holder = holders.into_iter().flatten().flatten().next()?;
        Some(format!("{device} is used by {}", holder.file_name().to_string_lossy()))
    }

    fn number(&self, disk: &str, file: &str) -> Option<u64> {
        fs::read_to_string(self.sys.join("class/block").join(disk).join(file)).ok()?.trim().parse().ok()
    }

    fn model(&self, disk: &str) -> String {
        let folder = self.sys.join("class/block").join(disk).join("device");
        let read = |name: &str| fs::read_to_string(folder.join(name)).ok().map(|text| text.trim().to_owned());
        [read("model"), read("name")]
            .into_iter()
            .flatten()
            .next()
            .unwrap_or_else(|| "no model name".to_owned())
    }
}

/// What may be written.
#[derive(Debug)]
pub(super) struct Target {
    path: PathBuf,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// Nothing is there yet.
    New {
        size: u64,
    },
    File {
        size: u64,
    },
    Disk {
        model: String,
        size: u64,
    },
}

impl Target {
    /// Looks at what an image of `needed` octets shall be written to.
    pub(super) fn examine(path: &Path, needed: u64, system: &System) -> Result<Self> {
        let shown = path.display();
        let Ok(found) = fs::metadata(path) else {
            // A file there would be in memory, and nobody meant it.
            ensure!(
                !path.starts_with("/dev"),
                "there is no device {shown}\nhelp: lsblk names those that there are"
            );
            return Ok(Self { path: path.to_path_buf(), kind: Kind::New { size: needed } });
        };
        ensure!(!found.is_dir(), "{shown} is a folder\nhelp: name a device or a file");
        let kind = if found.file_type().is_block_device() {
            disk(&system.name(found.rdev())?, system)?
        } else {
            ensure!(found.is_file(), "{shown} is neither a disk nor a file");
            Kind::File { size: found.size() }
        };
        let size = kind.size();
        ensure!(
            size >= needed,
            "{shown} has {size} octets, the image has {needed}\nhelp: it takes a larger medium"
        );
        Ok(Self { path: path.to_path_buf(), kind })
    }

    /// For whoever decides.
    pub(super) fn shown(&self) -> String {
        let (path, size) = (self.path.display(), self.kind.size() >> 20);
        match &self.kind {
            Kind::New { .. } => format!("{path}: a new file"),
            Kind::File { .. } => format!("{path}: a file of {size} MiB"),
            Kind::Disk { model, .. } => format!("{path}: {model}, {size} MiB"),
        }
    }

    /// Octets that fit.
    pub(super) fn size(&self) -> u64 {
        self.kind.size()
    }

    pub(super) fn holds_something(&self) -> bool {
        !matches!(self.kind, Kind::New { .. })
    }

    /// Opens it; a disk that came to be used meanwhile is refused by the kernel.
    pub(super) fn open(&self) -> Result<File> {
        let cannot = || format!("cannot write {}", self.path.display());
        let mut options = OpenOptions::new();
        options.write(true);
        match self.kind {
            Kind::New { size } => {
                let file = options.create_new(true).open(&self.path).with_context(cannot)?;
                file.set_len(size).with_context(cannot)?;
                Ok(file)
            }
            Kind::File { .. } => options.open(&self.path).with_context(cannot),
            Kind::Disk { .. } => options.custom_flags(EXCLUSIVE).open(&self.path).with_context(cannot),
        }
    }
}

impl Kind {
    fn size(&self) -> u64 {
        match self {
            Self::New { size } | Self::File { size } | Self::Disk { size, .. } => *size,
        }
    }
}

/// The parts of a device's number, as Linux puts them together.
fn major(device: u64) -> u64 {
    (device >> 32 & !0xfff) | (device >> 8 & 0xfff)
}

fn minor(device: u64) -> u64 {
    (device >> 12 & !0xff & 0xffff_ffff) | (device & 0xff)
}

/// A whole disk that nothing uses.
fn disk(name: &str, system: &System) -> Result<Kind> {
    let folder = system.sys.join("class/block").join(name);
    ensure!(
        !folder.join("partition").exists(),
        "/dev/{name} is a partition\nhelp: an image is of a whole medium: name the disk"
    );
    for part in system.family(name) {
        if let Some(user) = system.user(&part) {
            anyhow::bail!("{user}\nhelp: unmount it, if it is the medium that you mean");
        }
    }
    ensure!(
        system.number(name, "ro") != Some(1),
        "/dev/{name} can only be read\nhelp: cards have a switch for that"
    );
    let size = system
        .number(name, "size")
        .with_context(|| format!("the kernel does not say how large /dev/{name} is"))?
        * SECTOR;
    Ok(Kind::Disk { model: system.model(name), size })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fake {
        folder: tempfile::TempDir,
    }

    impl Fake {
        fn new() -> Self {
            let fake = Self { folder: tempfile::tempdir().unwrap() };
            for (path, text) in [
                ("sys/class/block/sdx/size", "2048\n"),
                ("sys/class/block/sdx/ro", "0\n"),
                ("sys/class/block/sdx/dev", "8:0\n"),
                ("sys/class/block/sdx1/dev", "8:1\n"),
                ("sys/class/block/sdx/device/model", "CARD READER \n"),
                ("sys/class/block/sdx/sdx1/partition", "1\n"),
                ("sys/class/block/sdx1/partition", "1\n"),
                ("proc/self/mountinfo", "20 1 0:30 / /run rw - tmpfs tmpfs rw\n"),
                ("proc/swaps", "Filename Type\n"),
            ] {
                fake.put(path, text);
            }
            fake
        }

        fn put(&self, path: &str, text: &str) {
            let path = self.folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn disk(&self, name: &str) -> std::result::Result<Kind, String> {
            let system =
                System { sys: self.folder.path().join("sys"), proc: self.folder.path().join("proc") };
            disk(name, &system).map_err(|error| error.to_string())
        }
    }

    #[test]
    fn a_free_disk_is_shown_with_model_and_size() {
        let Kind::Disk { model, size } = Fake::new().disk("sdx").unwrap() else { panic!("no disk") };
        assert_eq!((model.as_str(), size), ("CARD READER", 1 << 20));
    }

    #[test]
    fn whatever_is_used_is_refused_with_the_reason() {
        for (file, text, reason) in [
            (
                "proc/self/mountinfo",
                "21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw\n",
                "/dev/sdx1 is mounted at /: this host runs from it",
            ),
            (
                "proc/self/mountinfo",
                "22 1 0:40 / /mnt rw - btrfs /dev/sdx rw\n",
                "/dev/sdx is mounted at /mnt",
            ),
            ("proc/swaps", "Filename\n/dev/sdx1 partition 1 0 -2\n", "/dev/sdx1 is swap space"),
            ("sys/class/block/sdx1/holders/dm-0", "", "/dev/sdx1 is used by dm-0"),
            ("sys/class/block/sdx/ro", "1\n", "/dev/sdx can only be read"),
        ] {
            let fake = Fake::new();
            fake.put(file, text);
            let error = fake.disk("sdx").unwrap_err();
            assert!(error.starts_with(reason) && error.contains("\nhelp: "), "{error}");
        }
        assert!(Fake::new().disk("sdx1").unwrap_err().starts_with("/dev/sdx1 is a partition"));
    }

    #[test]
    fn numbers_are_taken_apart_as_linux_puts_them_together() {
        for (device, parts) in [(0x801, (8, 1)), (0x10_03ff, (3, 511)), (0x1_0000_0000_0700, (0x1_0007, 0))] {
            assert_eq!((major(device), minor(device)), parts, "{device:x}");
        }
    }

    #[test]
    fn what_is_no_device_is_not_made_one() {
        let error = Target::examine(Path::new("/dev/none"), 1, &System::here()).unwrap_err().to_string();
        assert!(error.starts_with("there is no device /dev/none\nhelp: "), "{error}");
    }

    #[test]
    fn what_is_too_small_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(4096).unwrap();
        let system = System::here();
        let error = Target::examine(file.path(), 8192, &system).unwrap_err().to_string();
        assert!(error.contains("has 4096 octets, the image has 8192\nhelp: "), "{error}");
        assert!(Target::examine(Path::new("/"), 1, &system).unwrap_err().to_string().contains("is a folder"));
        assert!(
            Target::examine(Path::new("/dev/null"), 1, &system).unwrap_err().to_string().contains("neither")
        );
    }
}

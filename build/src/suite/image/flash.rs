//! `tb flash` where it must not write, cannot, and does: a small medium, a full disk, a disk of the kernel's.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use anyhow::{Context, Result, ensure};

use super::{Bench, change};
use crate::image::flash::EXCLUSIVE;
use crate::image::verify::Medium;
use crate::suite::Outcome;
use crate::tool::Tool;

/// Octets that a medium has more than the image.
pub(super) const MORE: u64 = 64 << 20;

/// A file that the kernel offers as a disk, as long as this is there.
struct Disk(PathBuf);

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Tool::new("partx").arg("--delete").arg(&self.0).output();
        let _ = Tool::new("losetup").arg("--detach").arg(&self.0).output();
    }
}

impl Disk {
    fn of(file: &Path) -> Result<Self> {
        let device = Tool::new("losetup").args(["--find", "--show"]).arg(file).output()?;
        Ok(Self(device.trim().into()))
    }

    /// A node of one of its partitions. Not every kernel looks for them by itself, and a host without udev makes no nodes.
    fn partition(&self, number: usize, node: PathBuf) -> Result<PathBuf> {
        Tool::new("partx").arg("--update").arg(&self.0).output()?;
        let name = format!("{}p{number}", self.0.file_name().unwrap_or_default().display());
        let numbers = fs::read_to_string(Path::new("/sys/class/block").join(name).join("dev"))?;
        let (major, minor) = numbers.trim().split_once(':').context("the kernel says no number")?;
        Tool::new("mknod").arg(&node).args(["b", major, minor]).output()?;
        Ok(node)
    }
}

impl Bench<'_> {
    pub(super) fn small(&self) -> Result<()> {
        let small = self.folder.join("small");
        File::create(&small)?.set_len(self.made.plan.size - 512)?;
        self.refused(&small, "it takes a larger medium")
    }

    /// A file system of 8 MiB, which nobody but the program that writes there sees.
    pub(super) fn full(&self) -> Result<Outcome> {
        let folder = self.folder.join("full");
        fs::create_dir_all(&folder)?;
        let mount = "mount -t tmpfs -o size=8m none \"$1\" && shift && exec \"$@\"";
        let inside = || {
            let words = ["--user", "--map-root-user", "--mount", "sh", "-c", mount, "sh"];
            Tool::new("unshare").args(words).arg(&folder)
        };
        if !inside().arg("true").command().output()?.status.success() {
            return Ok(Outcome::Skipped("this host allows no file system of one's own".to_owned()));
        }
        let tool =
            inside().arg(std::env::current_exe()?).arg("flash").arg(&self.image).arg(folder.join("medium"));
        let output = tool.command().output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(
            !output.status.success()
                && said.contains("cannot write octets 0x")
                && said.contains("No space left"),
            "{said}"
        );
        Ok(Outcome::Passed)
    }

    /// The image on a file that is larger.
    pub(super) fn larger_medium(&self, name: &str) -> Result<PathBuf> {
        let file = self.file(name);
        File::create(&file)?.set_len(self.made.plan.size + MORE)?;
        let written = self.flash(&file, &["--yes"])?;
        ensure!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
        Ok(file)
    }

    /// The last partition has the rest of the medium, and an octet of either table, or of what is nobody's, is found.
    pub(super) fn larger(&self) -> Result<()> {
        let file = self.larger_medium("larger")?;
        ensure!(self.reason(&file, None)?.is_none(), "{:?}", self.reason(&file, None)?);
        let end = self.made.plan.size + MORE;
        let data = self.made.plan.partition("data")?;
        let medium = Medium::open(&file)?;
        let found = medium.table()?.1.pop().context("no partition")?;
        ensure!((found.start, found.start + found.size) == (data.start, end - (1 << 20)), "{found:?}");
        ensure!(
            medium.zero(data.start, found.start + found.size)?.is_none(),
            "a table of the image's is in the data"
        );
        for at in
            [450, 512 + 60, self.made.plan.boot_region + 40, end - 512 + 16, end - 512 - 100, end - (1 << 19)]
        {
            change(&file, &[at])?;
            ensure!(self.reason(&file, None)?.is_some(), "a changed octet at 0x{at:x} is not found");
            change(&file, &[at])?;
        }
        Ok(())
    }

    /// Written, verified, damaged and found so; and no octet of it while something uses it.
    pub(super) fn disk(&self) -> Result<Outcome> {
        let file = self.file("disk");
        File::create(&file)?.set_len(self.made.plan.size + MORE)?;
        let Ok(disk) = Disk::of(&file) else {
            return Ok(Outcome::Skipped("this host lets nobody here make a loop device".to_owned()));
        };
        let asked = self.flash(&disk.0, &[])?;
        let said = String::from_utf8_lossy(&asked.stderr).into_owned();
        ensure!(asked.status.code() == Some(2) && said.contains("is not written without --yes"), "{said}");
        ensure!(said.contains(&format!("{} MiB", (self.made.plan.size + MORE) >> 20)), "no size: {said}");
        let written = self.flash(&disk.0, &["--yes"])?;
        ensure!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
        ensure!(self.reason(&disk.0, None)?.is_none(), "{:?}", self.reason(&disk.0, None)?);
        let root = self.made.plan.partition("root-a")?.start;
        change(&disk.0, &[root])?;
        let reason = self.reason(&disk.0, None)?.unwrap_or_default();
        ensure!(reason.contains("root-a"), "a changed octet of the root is not found: {reason}");
        self.used(&disk)?;
        Ok(Outcome::Passed)
    }

    fn used(&self, disk: &Disk) -> Result<()> {
        let last = self.made.plan.partitions.len();
        let (part, place) = (disk.partition(last, self.file("partition"))?, self.folder.join("mounted"));
        fs::create_dir_all(&place)?;
        self.refused(&part, "is a partition")?;
        Tool::new("mkfs.ext4").arg("-q").arg(&part).output()?;
        Tool::new("mount").arg(&part).arg(&place).output()?;
        let refused = self.refused(&disk.0, &format!("is mounted at {}", place.display()));
        Tool::new("umount").arg(&place).output()?;
        refused?;
        let _held = OpenOptions::new().read(true).custom_flags(EXCLUSIVE).open(&disk.0)?;
        self.refused(&disk.0, "cannot write")
    }

    fn refused(&self, medium: &Path, reason: &str) -> Result<()> {
        let output = self.flash(medium, &["--yes"])?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(!output.status.success() && said.contains(reason), "not refused because it {reason}: {said}");
        Ok(())
    }

    fn flash(&self, medium: &Path, words: &[&str]) -> Result<Output> {
        let tool = Tool::new(std::env::current_exe()?).arg("flash").arg(&self.image).arg(medium).args(words);
        Ok(tool.command().output()?)
    }
}

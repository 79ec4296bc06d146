//! First process of the RAM disk: opens the root of the slot that was booted, whose hash is in the signed command line, and starts
//! it. Whatever goes wrong ends in a restart, which counts as a try of this slot: there is nothing to fall into.

use std::convert::Infallible;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::mount::{MountFlags, mount, mount_move};
use rustix::system::{RebootCommand, reboot};

use crate::{block, modules};

/// The word of the command line with the root's hash.
pub(crate) const WORD: &str = "trustbox.root=";
const ROOT: &str = "/sysroot";
const SYSTEMD: &str = "/usr/lib/systemd/systemd";
/// Octets of a block of data and of the hash tree.
const BLOCK: u64 = 4096;
const SECTORS: u64 = BLOCK / 512;
/// File systems of the kernel, moved along to the root.
const KERNEL: [(&str, &str); 4] =
    [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev"), ("tmpfs", "/run")];

/// Never comes back.
pub(crate) fn run() -> ! {
    let error = match start() {
        Ok(never) => match never {},
        Err(error) => error,
    };
    let _ = fs::write("/dev/kmsg", format!("<0>trustbox: {error:#}\n"));
    std::thread::sleep(Duration::from_secs(1));
    let _ = reboot(RebootCommand::Restart);
    // Where the kernel refuses even that, ending the first process makes it panic and restart.
    std::process::exit(1)
}

fn start() -> Result<Infallible> {
    for (kind, target) in KERNEL {
        mount(kind, target, kind, MountFlags::NOSUID | MountFlags::NOEXEC, c"")
            .with_context(|| format!("cannot mount {target}"))?;
    }
    // systemd would allow to start what is put there.
    fs::create_dir("/dev/shm")?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("tmpfs", "/dev/shm", "tmpfs", flags, c"mode=1777").context("cannot mount /dev/shm")?;
    modules::load("early.list")?;
    let line = fs::read_to_string("/proc/cmdline")?;
    let verity = Verity::from_command_line(&line)?;
    let device = block::wait_for(&format!("root-{}", block::slot()?))?;
    open(&verity, &device)?;
    mount("/dev/dm-0", ROOT, "squashfs", MountFlags::RDONLY | MountFlags::NODEV, c"")
        .context("the root is not what was signed")?;
    switch_root()
}

/// What the signed command line says of the root.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Verity {
    /// SHA-256 at the top of the hash tree, in hexadecimal digits.
    pub(crate) hash: String,
    salt: String,
    /// Blocks of data; the tree's header is the block behind them.
    blocks: u64,
}

impl Verity {
    /// Reads `trustbox.root=HASH:SALT:BLOCKS`.
    pub(crate) fn from_command_line(line: &str) -> Result<Self> {
        let word = line.split_whitespace().find_map(|word| word.strip_prefix(WORD));
        let word = word.context("the command line names no root")?;
        let parts: Vec<&str> = word.split(':').collect();
        let [hash, salt, blocks] = parts[..] else { bail!("the command line has {WORD}{word}") };
        let digits = |text: &str| text.len() == 64 && text.bytes().all(|octet| octet.is_ascii_hexdigit());
        ensure!(digits(hash) && digits(salt), "the command line has {WORD}{word}");
        let blocks: u64 =
            blocks.parse().ok().filter(|count| (1..1 << 32).contains(count)).context("no blocks")?;
        Ok(Self { hash: hash.to_owned(), salt: salt.to_owned(), blocks })
    }

    /// The kernel's table. A damaged block restarts the device.
    fn table(&self, device: &Path) -> String {
        let (device, blocks) = (device.display(), self.blocks);
        format!(
            "0 {} verity 1 {device} {device} {BLOCK} {BLOCK} {blocks} {} sha256 {} {} 1 restart_on_corruption",
            blocks * SECTORS,
            blocks + 1,
            self.hash,
            self.salt
        )
    }
}

fn open(verity: &Verity, device: &Path) -> Result<()> {
    let mut tool = Command::new("/usr/sbin/dmsetup");
    let tool = tool.args(["create", "root", "--readonly", "--noudevsync", "--noudevrules", "--table"]);
    let status = tool.arg(verity.table(device)).status().context("cannot start dmsetup")?;
    ensure!(status.success(), "dmsetup ended with {status}");
    Ok(())
}

/// The RAM disk gives its memory back; the first process becomes systemd.
fn switch_root() -> Result<Infallible> {
    for (_, target) in KERNEL {
        mount_move(target, format!("{ROOT}{target}")).with_context(|| format!("cannot move {target}"))?;
    }
    let _ = fs::remove_dir_all("/usr");
    rustix::process::chdir(ROOT)?;
    mount_move(".", "/").context("cannot move the root")?;
    rustix::process::chroot(".")?;
    rustix::process::chdir("/")?;
    Err(Command::new(SYSTEMD).exec()).context("cannot start systemd")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_says_all_or_nothing() {
        let (hash, salt) = ("a".repeat(64), "0".repeat(64));
        let read = |word: &str| Verity::from_command_line(&format!("quiet {word} panic=-1\n"));
        let verity = read(&format!("trustbox.root={hash}:{salt}:3")).unwrap();
        let table = verity.table(Path::new("/dev/vda2"));
        assert!(table.starts_with("0 24 verity 1 /dev/vda2 /dev/vda2 4096 4096 3 4 sha256 aaaa"), "{table}");
        for bad in [
            String::new(),
            format!("trustbox.root={hash}:{salt}"),
            format!("trustbox.root={hash}:{salt}:0"),
            format!("trustbox.root={hash}:{salt}:4294967296"),
            format!("trustbox.root={}:{salt}:3", "g".repeat(64)),
            format!("trustbox.root={hash}:{salt}:3:4"),
        ] {
            assert!(read(&bad).is_err(), "{bad}");
        }
    }
}

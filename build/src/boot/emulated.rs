//! The emulated device that verifies what it boots: firmware, a medium with signed images, and trials of both.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::boot::certificates::Counters;
use crate::boot::image::Parts;
use crate::boot::keys::Keys;
use crate::boot::medium;
use crate::boot::u_boot::Request;
use crate::builder::Builder;
use crate::device::{BootOptions, Machine, spawn};
use crate::guest::{GuestKind, Images};
use crate::qemu_args::Console;

/// The word of the signed command line that says what this boot is.
const WORD: &str = "trustbox.verified";
/// How often a log is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Everything that a verifying device boots from.
pub(crate) struct Set {
    pub(crate) keys: Keys,
    /// Kernel and RAM disk are in the image; these say how QEMU is started.
    pub(crate) images: Images,
    /// The signed image.
    pub(crate) image: PathBuf,
    /// U-Boot and the programs that sign for it.
    pub(crate) u_boot: PathBuf,
}

impl Builder {
    /// Firmware and image, signed with these keys.
    pub(crate) fn verified_set(&self, keys: Keys, kind: GuestKind, counters: Counters) -> Result<Set> {
        let emulator = self.board.emulator()?.clone();
        let facts = self.board.verified()?;
        let machine = self.machine_tree(&emulator)?;
        let state = facts.state.context("the emulated board has no verified.state")?;
        let u_boot = self.verifying_u_boot(&Request::of(facts, state, &machine), &keys)?;
        let firmware = self.verifying_firmware(&u_boot.join("u-boot.bin"), &keys, counters)?;
        let images = self.images_with(&firmware, kind)?;
        let image = self.verified_image(&keys, &images, &u_boot, "TrustBox")?;
        Ok(Set { keys, images, image, u_boot })
    }

    /// The signed image of these images.
    pub(crate) fn verified_image(
        &self,
        keys: &Keys,
        images: &Images,
        u_boot: &Path,
        text: &str,
    ) -> Result<PathBuf> {
        let facts = self.board.verified()?;
        let command_line = format!("{} {WORD}", images.command_line);
        let machine = self.machine_tree(&images.emulator)?;
        let tree = self.linux_tree(&machine, &images.emulator, &command_line)?;
        let (kernel, initrd) = (&images.kernel, &images.initrd);
        let parts = Parts { kernel, tree: &tree, initrd, address: facts.kernel, description: text };
        self.signed_image(&parts, keys, u_boot)
    }
}

impl Set {
    /// A medium with the signed image in both slots.
    pub(crate) fn medium(&self, file: &Path) -> Result<()> {
        medium::make(file, [Some(&self.image); 2])
    }

    /// How QEMU is started with a medium.
    pub(crate) fn images_for(&self, medium: &Path) -> Images {
        Images { medium: Some(medium.to_path_buf()), ..self.images.clone() }
    }
}

/// Boots until the console says one of these, or the time is over; which of them it said.
pub(crate) fn boot_until(
    images: &Images,
    options: &BootOptions,
    words: &[&str],
    limit: Duration,
) -> Result<(usize, String)> {
    let Machine { folder, sockets, tool } = Machine::prepare(images, options, Console::None)?;
    let began = Instant::now();
    let mut qemu = spawn(&tool, &folder)?;
    let mut found = None;
    while found.is_none() && began.elapsed() < limit && qemu.try_wait()?.is_none() {
        std::thread::sleep(LOOK);
        found = heard(&folder, words);
    }
    let took = began.elapsed();
    let _ = qemu.kill();
    let _ = qemu.wait();
    fs::remove_dir_all(sockets)?;
    let log = log(&folder);
    match found.or_else(|| words.iter().position(|word| log.contains(word))) {
        Some(number) => Ok((number, log)),
        None => bail!(
            "after {:.1} s the device had said none of {words:?}:\n{}",
            took.as_secs_f32(),
            end_of(&log)
        ),
    }
}

fn heard(folder: &Path, words: &[&str]) -> Option<usize> {
    let log = log(folder);
    words.iter().position(|word| log.contains(word))
}

fn log(folder: &Path) -> String {
    String::from_utf8_lossy(&fs::read(folder.join("normal.log")).unwrap_or_default()).into_owned()
}

/// The last lines, without what a terminal would do.
pub(crate) fn end_of(log: &str) -> String {
    let lines: Vec<_> = log.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}

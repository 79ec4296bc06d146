//! The emulated device's secure flash: its firmware, and what makes it a device of its own.
//!
//! A state file is a file system for secure storage, and behind it the whole flash: two state files are two devices. The
//! firmware's part is written anew at each boot, as a programmer would. A boot without a state file is a new device.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use ring::rand::{SecureRandom, SystemRandom};

use crate::board::SecureFlash;
use crate::device::BootOptions;
use crate::device::folders::make_file_system;
use crate::guest::Images;

/// Octets of the file system in a state file.
pub(crate) const DISK_SIZE: u64 = 64 << 20;
/// Octets of the hardware unique key, at the start of the device's own part of the flash.
const KEY_SIZE: usize = 32;

/// Where the flash of one boot is.
pub(crate) struct Flash {
    pub(crate) file: PathBuf,
    pub(crate) offset: u64,
    pub(crate) size: u64,
    /// A machine that is frozen or thawed brings its flash along; QEMU would write all of it.
    pub(crate) writable: bool,
}

impl Flash {
    /// The flash of a state file, or one that ends with the boot, with this firmware in it.
    pub(crate) fn prepare(images: &Images, options: &BootOptions, scratch: &Path) -> Result<Self> {
        let map = images.secure_flash;
        let (file, offset) = match &options.state {
            Some(state) => (state.clone(), DISK_SIZE),
            None => (scratch.join("flash"), 0),
        };
        match &options.state {
            Some(state) if state.exists() => check(state, DISK_SIZE + map.size)?,
            Some(state) => make_state(state, &map)?,
            None => append_device(&file, 0, &map)?,
        }
        write_firmware(&file, offset, &images.firmware, &map)?;
        Ok(Self { file, offset, size: map.size, writable: options.lab.disk.is_none() })
    }
}

/// A new device: an empty file system and a flash with a key of its own. It is there whole or not at all.
fn make_state(file: &Path, map: &SecureFlash) -> Result<()> {
    let part = file.with_extension("unfinished");
    let _ = fs::remove_file(&part);
    make_file_system(&part)?;
    append_device(&part, DISK_SIZE, map)?;
    fs::rename(part, file).with_context(|| format!("cannot make state file {}", file.display()))
}

/// Writes what belongs to the device: its key, and behind it erased flash, in which nothing was counted yet.
pub(crate) fn append_device(file: &Path, offset: u64, map: &SecureFlash) -> Result<()> {
    let mut block = vec![0xff; usize::try_from(map.size - map.device)?];
    let key = block.get_mut(..KEY_SIZE).context("no room for a key in the secure flash")?;
    SystemRandom::new().fill(key).map_err(|_| anyhow!("the host has no random numbers"))?;
    let mut open = OpenOptions::new();
    let mut out = open.create(true).truncate(false).write(true).open(file)?;
    out.seek(SeekFrom::Start(offset + map.device))?;
    out.write_all(&block).with_context(|| format!("cannot write {}", file.display()))
}

fn write_firmware(file: &Path, offset: u64, firmware: &Path, map: &SecureFlash) -> Result<()> {
    let mut image = fs::read(firmware).with_context(|| format!("cannot read {}", firmware.display()))?;
    ensure!(
        image.len() as u64 <= map.firmware,
        "{} has {} octets, the secure flash has room for {}",
        firmware.display(),
        image.len(),
        map.firmware
    );
    image.resize(image.len().next_multiple_of(4096), 0xff);
    let mut out = OpenOptions::new().write(true).read(true).open(file)?;
    out.seek(SeekFrom::Start(offset))?;
    if holds(&mut out, &image)? {
        return Ok(());
    }
    out.seek(SeekFrom::Start(offset))?;
    out.write_all(&image).with_context(|| format!("cannot write {}", file.display()))
}

/// Whether the image is there already: then nothing is written, and copies of a state file stay equal.
fn holds(file: &mut File, image: &[u8]) -> Result<bool> {
    let mut found = vec![0; image.len()];
    Ok(file.read_exact(&mut found).is_ok() && found == image)
}

/// A state file of another layout has no flash, so it has no identity to go on with.
fn check(file: &Path, wanted: u64) -> Result<()> {
    let size = fs::metadata(file).with_context(|| format!("cannot open {}", file.display()))?.len();
    ensure!(
        size == wanted,
        "{} has {size} octets, a state file has {wanted}\nhelp: it is none, or of an older version without a secure flash: \
         name another file",
        file.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: SecureFlash = SecureFlash { size: 0x3000, firmware: 0x2000, device: 0x2000 };

    #[test]
    fn two_devices_have_two_keys_and_keep_them_when_firmware_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let [first, second, firmware] = ["a", "b", "firmware"].map(|name| folder.path().join(name));
        fs::write(&firmware, [7; 5000]).unwrap();
        for file in [&first, &second] {
            append_device(file, 16, &MAP).unwrap();
            write_firmware(file, 16, &firmware, &MAP).unwrap();
        }
        let [a, b] = [&first, &second].map(|file| fs::read(file).unwrap());
        assert_eq!((a.len(), &a[16..5016]), (0x3010, [7; 5000].as_slice()));
        assert_ne!(a[0x2010..0x2030], b[0x2010..0x2030]);
        assert_eq!(a[0x2030..], [0xff; 0x3010 - 0x2030]);
        write_firmware(&first, 16, &firmware, &MAP).unwrap();
        assert_eq!(fs::read(&first).unwrap(), a);
    }

    #[test]
    fn what_does_not_fit_and_files_of_another_layout_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        fs::write(&file, [0; 0x2001]).unwrap();
        let error = write_firmware(&file, 0, &file, &MAP).unwrap_err().to_string();
        assert!(error.contains("has 8193 octets, the secure flash has room for 8192"), "{error}");
        assert!(check(&file, 0x3000).unwrap_err().to_string().contains("help: "));
    }
}

//! Verified boot on the emulated device: what is signed boots, and nothing else, nothing old, nothing damaged.

mod secure_pbl;
mod signing_keys;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use trustbox_boot_image::boot_state::{BootState, GOOD, RECORD, STRIDE};
use trustbox_boot_image::fip::Fip;

use crate::boot::certificates::Counters;
use crate::boot::chain::FIP_OFFSET;
use crate::boot::chain_of_trust;
use crate::boot::emulated::{Set, boot_until, end_of};
use crate::boot::keys::Keys;
use crate::boot::medium::{self, SLOTS};
use crate::builder::Builder;
use crate::device::flash::DISK_SIZE;
use crate::device::{BootOptions, Device};
use crate::guest::{GuestKind, Images};
use crate::suite::Case;
use crate::tool::Tool;
use crate::ui;
use crate::verify::Verdict;

const GROUP: &str = "boot";
/// How long a device may take to boot or to refuse, without KVM and beside other work.
const LIMIT: Duration = Duration::from_secs(90);
/// What TF-A and U-Boot say.
const NOT_AUTHENTIC: &str = "is not authentic";
const U_BOOT_RUNS: &str = "U-Boot 20";
const LINUX_STARTS: &str = "Starting kernel ...";
const NOTHING: &str = "trustbox: nothing to boot";
/// A wrong signature would do that too: what is damaged is refused as what it is.
const OLD: &str = "is older than allowed: ";

/// Runs the group.
pub(crate) fn run(builder: &Builder) -> Result<Vec<Case>> {
    let bench = Bench::new(builder)?;
    let mut cases = Vec::new();
    let mut case = |name: &str, result: Result<()>| {
        let case = Case::of(GROUP, name, result);
        ui::line(&crate::suite::tap::line(cases.len() + 1, &case));
        cases.push(case);
    };
    case(
        "a boot ROM in another language takes a signed boot image, and none that is damaged",
        secure_pbl::check(builder, &bench.folder),
    );
    let keys = signing_keys::Bench { builder, set: &bench.set, folder: bench.folder.clone() };
    case("each certificate says what cert_create says", keys.certificates());
    case("tb verify finds a change in any certificate and image of a FIP, and a foreign chain", keys.chain());
    case("the signature of a FIT is that of mkimage", keys.image());
    case("keys in a token sign what keys in files sign, and wrong ones are named", keys.token());
    case("two state files are two devices, and one without a key has no storage", bench.devices());
    case("what is signed boots to a TEE that answers", bench.signed());
    case("a flipped byte in any part of the firmware is refused", bench.damaged_firmware());
    case("firmware of another root key is refused", bench.foreign_firmware());
    case("an older firmware is refused after a newer one ran", bench.rollback());
    case("an image that is damaged, unsigned or of another key is refused", bench.images());
    case("the other slot is taken where the first one is refused", bench.fallback());
    case("the boot state says which slot comes first, and tries are counted", bench.boot_state());
    Ok(cases)
}

struct Bench<'a> {
    builder: &'a Builder,
    set: Set,
    folder: PathBuf,
}

impl<'a> Bench<'a> {
    fn new(builder: &'a Builder) -> Result<Self> {
        let mut set = builder.verified_set(builder.boot_keys()?, GuestKind::Plain, Counters::default())?;
        let folder = builder.work("suite-boot")?;
        // Of each kind of output the cache keeps a few, and this group makes more.
        for (file, name) in [(&mut set.images.firmware, "good.bios"), (&mut set.image, "good.fit")] {
            let own = folder.join(name);
            fs::copy(&*file, &own)?;
            *file = own;
        }
        Ok(Self { builder, set, folder })
    }

    fn file(&self, name: &str) -> PathBuf {
        let file = self.folder.join(name);
        let _ = fs::remove_file(&file);
        file
    }

    /// INV-1: secrets of one device are those of no other.
    fn devices(&self) -> Result<()> {
        let images = self.builder.images(GuestKind::Plain, false)?;
        let [a, b] = ["a.img", "b.img"].map(|name| self.file(name));
        let [first, second] = [&a, &b].map(|state| info(&images, state));
        let (first, second) = (first?, second?);
        ensure!(first["huk"] == "unique", "huk is {}", first["huk"]);
        ensure!(first["device_id"] != second["device_id"], "both have device id {}", first["device_id"]);
        medium::write_at(&a, DISK_SIZE + images.secure_flash.device, &[0xff; 32])?;
        let without = info(&images, &a);
        ensure!(without.is_err(), "a device without a key answers: {:?}", without.ok());
        Ok(())
    }

    fn signed(&self) -> Result<()> {
        let medium = self.file("signed.img");
        self.set.medium(&medium)?;
        let state = self.file("signed-state.img");
        let options = BootOptions { state: Some(state), ..BootOptions::default() };
        let mut device = Device::boot(&self.set.images_for(&medium), &options)?;
        let slot = device.exec(&["cat", "/proc/device-tree/chosen/trustbox,slot"])?;
        ensure!(
            slot.stdout.starts_with(SLOTS[0].as_bytes()),
            "slot {}",
            String::from_utf8_lossy(&slot.stdout)
        );
        let info = device.exec(&["trustbox", "--json", "info"])?;
        ensure!(info.status == 0, "trustbox info: {}", String::from_utf8_lossy(&info.stderr));
        let log = device.normal_log();
        ensure!(log.contains("sha256,rsa3072:image+"), "U-Boot verified nothing:\n{}", end_of(&log));
        device.power_off()
    }

    /// Each part of the FIP, certificates included, in its middle.
    fn damaged_firmware(&self) -> Result<()> {
        let good = fs::read(&self.set.images.firmware)?;
        let fip = Fip::decode(good.get(FIP_OFFSET..).context("no FIP")?)?;
        ensure!(fip.images.len() == 14, "{} parts, 14 expected", fip.images.len());
        for number in 0..fip.images.len() {
            let mut damaged = fip.clone();
            let part = &mut damaged.images[number];
            // The pageable part of OP-TEE is empty where there is no pager.
            let Some(octet) =
                part.content.len().checked_div(2).and_then(|middle| part.content.get_mut(middle))
            else {
                continue;
            };
            *octet ^= 1;
            let name = part.kind.name();
            self.refused(&flash(&good, &damaged), NOT_AUTHENTIC)
                .with_context(|| format!("a flipped bit in {name}"))?;
        }
        Ok(())
    }

    /// BL1 stays: it has the digest of the root key.
    fn foreign_firmware(&self) -> Result<()> {
        let keys = self.other_keys()?;
        let other = self.builder.verifying_firmware(
            &self.set.u_boot.join("u-boot.bin"),
            &keys,
            Counters::default(),
        )?;
        let (good, other) = (fs::read(&self.set.images.firmware)?, fs::read(other.join("firmware.bios"))?);
        let fip = Fip::decode(other.get(FIP_OFFSET..).context("no FIP")?)?;
        let mut verdict = Verdict::new("FIP");
        chain_of_trust::verify(&fip, None, &mut verdict)?;
        let reason = verdict.reason().context("a chain from nobody's root is verified")?;
        ensure!(reason.contains("no signature"), "{reason}");
        self.refused(&flash(&good, &fip), NOT_AUTHENTIC)
    }

    fn rollback(&self) -> Result<()> {
        let state = self.file("rollback.img");
        let options = BootOptions { state: Some(state.clone()), ..BootOptions::default() };
        let boot = |trusted: u32, normal: u32| -> Result<(bool, String)> {
            let u_boot = self.set.u_boot.join("u-boot.bin");
            let firmware =
                self.builder.verifying_firmware(&u_boot, &self.set.keys, Counters { trusted, normal })?;
            let images = self.images_with(&firmware.join("firmware.bios"))?;
            let (which, log) = boot_until(&images, &options, &[U_BOOT_RUNS, NOT_AUTHENTIC], LIMIT)?;
            Ok((which == 0, log))
        };
        for (trusted, normal, boots, why) in [
            (1, 1, true, "Counter of the device is now 1"),
            (3, 2, true, "Counter of the device is now 3"),
            (2, 2, false, "counter 2, device has 3"),
            (3, 1, false, "counter 1, device has 2"),
            (3, 2, true, ""),
        ] {
            let (booted, log) = boot(trusted, normal)?;
            let right = booted == boots && log.contains(why) && (boots || log.contains(OLD));
            ensure!(right, "counters {trusted} and {normal}: booted {booted}\n{}", end_of(&log));
        }
        Ok(())
    }

    fn images(&self) -> Result<()> {
        let good = fs::read(&self.set.image)?;
        let medium = self.file("image.img");
        for (what, image) in self.bad_images(&good)? {
            let file = self.file("bad.fit");
            fs::write(&file, image)?;
            medium::make(&medium, [Some(&file), None])?;
            let (which, log) = self.until(&medium, &[NOTHING, LINUX_STARTS])?;
            let refused = which == 0 && log.contains("trustbox: slot boot-a refused");
            ensure!(refused, "{what}: {}", end_of(&log));
        }
        Ok(())
    }

    fn bad_images(&self, good: &[u8]) -> Result<Vec<(&'static str, Vec<u8>)>> {
        let mut bad = Vec::new();
        for (what, node, property) in [
            ("a changed kernel", "/images/kernel", "data"),
            ("a changed device tree", "/images/fdt", "data"),
            ("a changed RAM disk", "/images/ramdisk", "data"),
            ("a changed signature", "/configurations/conf/signature-1", "value"),
            ("a changed hash", "/images/kernel/hash-1", "value"),
        ] {
            let value = self.property(node, property)?;
            let at = good.windows(value.len().min(64)).position(|part| part == &value[..value.len().min(64)]);
            let at = at.with_context(|| format!("{node} {property} is not in the image"))?;
            let mut image = good.to_vec();
            image[at + value.len() / 2] ^= 1;
            bad.push((what, image));
        }
        let unsigned = self.file("unsigned.fit");
        fs::copy(&self.set.image, &unsigned)?;
        let fdtput = || Tool::new("fdtput").arg("-r").arg(&unsigned);
        fdtput().arg("/configurations/conf/signature-1").output()?;
        bad.push(("an image without a signature", fs::read(&unsigned)?));
        let other = self.builder.verified_image(
            &self.other_keys()?,
            &self.set.images,
            &self.set.u_boot,
            "TrustBox",
        )?;
        bad.push(("an image of another key", fs::read(other)?));
        Ok(bad)
    }

    fn property(&self, node: &str, name: &str) -> Result<Vec<u8>> {
        let tool = Tool::new("fdtget").args(["-t", "bx"]).arg(&self.set.image).args([node, name]);
        let text = tool.output()?;
        let octets = text.split_whitespace().map(|word| Ok(u8::from_str_radix(word, 16)?));
        octets.collect()
    }

    fn fallback(&self) -> Result<()> {
        let mut image = fs::read(&self.set.image)?;
        let middle = image.len() / 2;
        image[middle] ^= 1;
        let (bad, medium) = (self.file("bad.fit"), self.file("fallback.img"));
        fs::write(&bad, image)?;
        medium::make(&medium, [Some(&bad), Some(&self.set.image)])?;
        let (which, log) = self.until(&medium, &[LINUX_STARTS, NOTHING])?;
        let order = ["trustbox: slot boot-a\r", "trustbox: slot boot-a refused", "trustbox: slot boot-b\r"];
        let places: Vec<_> = order.iter().filter_map(|line| log.find(line)).collect();
        ensure!(which == 0 && places.len() == 3 && places.is_sorted(), "{}", end_of(&log));
        Ok(())
    }

    fn boot_state(&self) -> Result<()> {
        let medium = self.file("state.img");
        self.set.medium(&medium)?;
        let at = self.builder.board.verified()?.state.context("no verified.state")?;
        let write =
            |number: u64, state: BootState| medium::write_at(&medium, at + number * STRIDE, &state.encode());
        let boots = |slot: &str| -> Result<()> {
            let (which, log) = self.until(&medium, &[LINUX_STARTS, NOTHING])?;
            ensure!(
                which == 0 && log.contains(&format!("trustbox: slot {slot}\r")),
                "wanted {slot}\n{}",
                end_of(&log)
            );
            Ok(())
        };
        let read = |number: u64| -> Result<Option<BootState>> {
            let (content, start) = (fs::read(&medium)?, usize::try_from(at + number * STRIDE)?);
            Ok(BootState::decode(content.get(start..start + RECORD).context("no record")?))
        };
        let state = BootState { generation: 5, order: [1, 0], tries: [GOOD, 1] };
        write(0, BootState { generation: 4, order: [0, 1], ..state })?;
        write(1, state)?;
        boots(SLOTS[1])?;
        // The other record was written: one try less.
        let counted = BootState { generation: 6, tries: [GOOD, 0], ..state };
        ensure!(
            read(0)? == Some(counted) && read(1)? == Some(state),
            "records {:?} {:?}",
            read(0)?,
            read(1)?
        );
        boots(SLOTS[0])?;
        // A record that was torn is as if it had not been written.
        medium::write_at(&medium, at + 20, &[0xff])?;
        boots(SLOTS[1])?;
        for number in 0..2 {
            medium::write_at(&medium, at + number * STRIDE, &[0; RECORD])?;
        }
        boots(SLOTS[0])
    }

    /// Firmware that never reaches U-Boot, and says why.
    fn refused(&self, firmware: &[u8], why: &str) -> Result<()> {
        let file = self.file("firmware.bios");
        fs::write(&file, firmware)?;
        let images = self.images_with(&file)?;
        let (which, log) = boot_until(&images, &BootOptions::default(), &[why, U_BOOT_RUNS], LIMIT)?;
        ensure!(which == 0 && !log.contains(U_BOOT_RUNS), "{}", end_of(&log));
        Ok(())
    }

    /// A device with this firmware, whose medium has nothing to boot.
    fn images_with(&self, firmware: &Path) -> Result<Images> {
        let medium = self.folder.join("empty.img");
        if !medium.exists() {
            medium::make(&medium, [None; 2])?;
        }
        Ok(Images { firmware: firmware.to_path_buf(), ..self.set.images_for(&medium) })
    }

    fn until(&self, medium: &Path, words: &[&str]) -> Result<(usize, String)> {
        boot_until(&self.set.images_for(medium), &BootOptions::default(), words, LIMIT)
    }

    fn other_keys(&self) -> Result<Keys> {
        Keys::ensure(self.folder.join("other-keys"), &self.builder.log("boot-keys"))
    }
}

fn flash(good: &[u8], fip: &Fip) -> Vec<u8> {
    [&good[..FIP_OFFSET], &fip.encode()].concat()
}

fn info(images: &Images, state: &Path) -> Result<serde_json::Value> {
    let options = BootOptions { state: Some(state.to_path_buf()), ..BootOptions::default() };
    let mut device = Device::boot(images, &options)?;
    let output = device.exec(&["trustbox", "--json", "info"])?;
    device.power_off()?;
    ensure!(output.status == 0, "exit status {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

//! TF-A of the emulated device with trusted board boot: BL1 in the secure flash, which nothing before it verifies as a boot ROM
//! is not, and everything else in a signed FIP behind it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::board::layout::Extent;
use crate::boot::certificates::{Counters, Signed};
use crate::boot::keys::{Keys, Role};
use crate::builder::Builder;
use crate::firmware::{OPTEE_IMAGES, copy};
use crate::hash::Key;
use crate::tool::Tool;

/// Where BL1 looks for the FIP, from the start of the flash.
pub(crate) const FIP_OFFSET: usize = 0x4_0000;
/// What every build of TF-A with trusted board boot is told. Private keys are no part of a build.
pub(crate) const TRUSTED_BOOT: [(&str, &str); 6] = [
    ("TRUSTED_BOARD_BOOT", "1"),
    ("GENERATE_COT", "0"),
    ("CREATE_KEYS", "0"),
    ("KEY_ALG", "rsa"),
    ("KEY_SIZE", super::keys::BITS),
    ("HASH_ALG", "sha256"),
];
/// Images of TF-A.
const IMAGES: [&str; 3] = ["bl1.bin", "bl2.bin", "bl31.bin"];

impl Builder {
    /// A folder with BL1, BL2 and BL31 that verify what they load by this root key.
    fn verifying_tfa(&self, keys: &Keys) -> Result<PathBuf> {
        let (source, mbedtls) = (self.source("arm-trusted-firmware")?, self.source("mbedtls")?);
        let tfa = &self.board.tfa;
        let device = self.board.memory.region("device").context("no memory region device")?;
        let flags = tfa.flags.iter().flat_map(|(name, value)| [name, value]);
        let key =
            Key::new("verifying-tfa").text(&source.key).text(&mbedtls.key).text(&tfa.platform).texts(flags);
        let key = key.text(&device.shown()).file(&keys.public(Role::Root))?.finish();
        self.cached("verifying-tfa", &key, |dirs| {
            let work = self.build_tree("tfa", &key)?;
            let digest = work.join("root.sha256");
            fs::write(&digest, keys.root_digest()?)?;
            let make = self.trusted_boot(self.tfa_base(&source, &work), &mbedtls.folder, keys);
            let make = make.assign("ROTPK_HASH", &digest).assign("NEED_BL32", "yes");
            let make = make.assign("QEMU_DEVICE_FLASH", format!("0x{:08x}", device.start));
            make.args(["bl1", "bl2", "bl31"]).run(&dirs.log)?;
            let built = work.join(&tfa.platform).join("release");
            IMAGES.iter().try_for_each(|name| copy(&built.join(name), &dirs.out.join(name)))
        })
    }

    /// A build of TF-A with trusted board boot. Headers of mbedtls declare some functions twice, which is no error then.
    pub(crate) fn trusted_boot(&self, make: Tool, mbedtls: &Path, keys: &Keys) -> Tool {
        let make = TRUSTED_BOOT.iter().fold(make, |make, (name, value)| make.assign(name, value));
        make.assign("MBEDTLS_DIR", mbedtls).assign("ROT_KEY", keys.public(Role::Root)).assign("E", "0")
    }

    /// The emulated device's flash image that verifies itself: `firmware.bios`.
    pub(crate) fn verifying_firmware(
        &self,
        u_boot: &Path,
        keys: &Keys,
        counters: Counters,
    ) -> Result<PathBuf> {
        let optee = self.optee_of_firmware(false)?;
        let tfa = self.verifying_tfa(keys)?;
        let mut key = Key::new("verifying-firmware-2").text(&format!("{counters:?}")).file(u_boot)?;
        for name in IMAGES {
            key = key.file(&tfa.join(name))?;
        }
        for name in OPTEE_IMAGES {
            key = key.file(&optee.join(name))?;
        }
        self.cached("verifying-firmware", &keys.add_to(key)?.finish(), |dirs| {
            let optee_images = OPTEE_IMAGES.map(|name| optee.join(name));
            let [bl1, bl2, bl31] = IMAGES.map(|name| tfa.join(name));
            let signed = Signed { bl2: Some(&bl2), bl31: &bl31, optee: &optee_images, u_boot };
            let fip = signed.fip(keys, counters)?.encode();
            fs::write(dirs.out.join("firmware.bios"), flash_image(fs::read(bl1)?, &fip)?)?;
            copy(&optee.join("tee.elf"), &dirs.out.join("tee.elf"))?;
            self.mark(&dirs.out)
        })
    }
}

/// BL1, and the FIP where BL1 looks for it.
pub(crate) fn flash_image(mut bl1: Vec<u8>, fip: &[u8]) -> Result<Vec<u8>> {
    ensure!(bl1.len() <= FIP_OFFSET, "BL1 has {} octets, there is room for {FIP_OFFSET}", bl1.len());
    bl1.resize(FIP_OFFSET, 0);
    bl1.extend(fip);
    Ok(bl1)
}

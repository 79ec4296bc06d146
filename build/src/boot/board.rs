//! A real board's firmware as a product has it: every stage signed, from what the boot ROM reads to U-Boot, which is locked.
//!
//! The boot ROM verifies PBI commands and BL2 by super root keys of which the fuses have the digest; BL2 verifies the FIP by
//! X.509 certificates and by counters in fuses; U-Boot verifies kernel, device tree and RAM disk. **Not tried on hardware.**

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::board::soc::{Hardware, MediumKind};
use crate::boot::certificates::Counters;
use crate::boot::fuses;
use crate::boot::keys::{Keys, Role};
use crate::boot::root_keys::RootKeys;
use crate::boot::u_boot::Request;
use crate::builder::Builder;
use crate::firmware::boards::write_images;
use crate::firmware::images::{Inputs, Signatures, assemble};
use crate::firmware::{copy, facts};
use crate::hash::Key;

/// What is left of a build that is signed.
const IMAGES: [&str; 4] = ["bl2.bin", "bl2.elf", "bl31.bin", "bl31.elf"];

impl Builder {
    /// Writes signed images of each medium, and the plan for the fuses, to a folder.
    pub(crate) fn signed_board(
        &self,
        root: &RootKeys,
        keys: &Keys,
        counters: Counters,
        out: &Path,
    ) -> Result<()> {
        let hardware = self.board.hardware().context("the board is emulated")?;
        let optee = self.board_optee(&self.board_ta()?)?;
        let u_boot = self.locked_u_boot(&hardware, keys)?;
        let signatures = Signatures { root, keys, counters };
        fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
        for kind in hardware.media.keys() {
            let tfa = self.verifying_board_tfa(&hardware, *kind, keys)?;
            let inputs = Inputs { tfa: &tfa, optee: &optee, u_boot: &u_boot.join("u-boot.bin") };
            let images = assemble(&hardware, *kind, &inputs, Some(&signatures))?;
            write_images(out, *kind, &images.signed_files())?;
        }
        copy(&u_boot.join("u-boot.config"), &out.join("u-boot.config"))?;
        let signed = [("super root keys", root.development), ("boot keys", keys.development)];
        let reasons = self.anchors.not_trusted(&signed, "not tried on hardware");
        fs::write(out.join("NOT-TRUSTED"), format!("{reasons}\n"))?;
        fuses::write(&fuses::plan(&self.board, root, counters), out)
    }

    /// U-Boot for this board that boots signed images only.
    pub(crate) fn locked_u_boot(&self, hardware: &Hardware<'_>, keys: &Keys) -> Result<PathBuf> {
        let facts = self.board.verified()?;
        let state = hardware.boot_state().context("no medium has a region boot-state")?;
        let tree = self.board_trees(hardware)?.join("u-boot.dtb");
        self.verifying_u_boot(&Request::of(facts, state, &tree), keys)
    }

    /// BL2 and BL31 that verify what they load by this root key.
    fn verifying_board_tfa(&self, hardware: &Hardware<'_>, kind: MediumKind, keys: &Keys) -> Result<PathBuf> {
        let (source, mbedtls) = (self.source("arm-trusted-firmware")?, self.source("mbedtls")?);
        let (header, tfa) = (facts::header(hardware)?, &self.board.tfa);
        let flags = tfa.flags.iter().flat_map(|(name, value)| [name, value]);
        let key = Key::new("verifying-board-tfa").text(&source.key).text(&mbedtls.key).text(&tfa.platform);
        let key =
            key.texts(flags).text(&header).text(kind.boot_mode()).file(&keys.public(Role::Root))?.finish();
        self.cached(&format!("verifying-tfa/{}", kind.name()), &key, |dirs| {
            let work = self.build_tree("tfa", &key)?;
            let (generated, digest) = (work.join("facts"), work.join("root.sha256"));
            fs::create_dir_all(&generated)?;
            fs::write(generated.join("trustbox_board.h"), &header)?;
            fs::write(&digest, keys.root_digest()?)?;
            let make = self.trusted_boot(self.tfa_base(&source, &work), &mbedtls.folder, keys);
            let make = make.assign("BOOT_MODE", kind.boot_mode()).assign("TRUSTBOX_BOARD", &generated);
            make.assign("ROTPK_HASH", &digest).args(["bl2", "bl31"]).run(&dirs.log)?;
            let built = work.join(&tfa.platform).join("release");
            IMAGES.iter().try_for_each(|name| {
                let folder = if name.ends_with(".elf") { name.trim_end_matches(".elf") } else { "" };
                copy(&built.join(folder).join(name), &dirs.out.join(name))
            })
        })
    }
}

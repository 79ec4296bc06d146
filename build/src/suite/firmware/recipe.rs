//! What the recipe of the Yocto layers runs: the builder's program with `platform/` and no more of a checkout, on parts that are built
//! already.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use trustbox_boot_image::fip::Fip;
use trustbox_boot_image::secure::claims;

use super::Medium;
use crate::boot::certificates::Counters;
use crate::boot::chain_of_trust;
use crate::boot::keys::Role;
use crate::boot::root_keys::{Choice, holds};
use crate::firmware::boards::Part;
use crate::tool::Tool;
use crate::verify::Verdict;

/// Any counter but the one that nobody asked for.
const COUNTER: u32 = 3;

/// Without keys the recipe's files are the builder's; with keys the boot ROM and BL2 take them by these.
pub(super) fn same(medium: &Medium<'_>) -> Result<()> {
    let work = medium.builder.work("recipe")?.join(medium.builder.board.name.get_ref());
    let _ = fs::remove_dir_all(&work);
    fs::create_dir_all(&work)?;
    symlink(medium.builder.repo.root().join("platform"), work.join("platform"))?;
    let optee = medium.builder.board_optee(&medium.builder.board_ta()?)?;
    let recipe = Recipe { medium, optee, work };
    recipe.plain()?;
    recipe.signed()
}

struct Recipe<'a> {
    medium: &'a Medium<'a>,
    /// Folder with OP-TEE, as the builder made it.
    optee: PathBuf,
    work: PathBuf,
}

impl Recipe<'_> {
    fn plain(&self) -> Result<()> {
        let out = self.work.join("plain");
        self.images(&out)?.output()?;
        let made = Medium { folder: &out, ..*self.medium };
        for part in [Part::Rcw, Part::Pbl, Part::Fip, Part::Boot] {
            let same = made.file(part)? == self.medium.file(part)?;
            ensure!(same, "{} differs from the builder's", part.file(self.medium.kind.name()));
        }
        Ok(())
    }

    fn signed(&self) -> Result<()> {
        let (builder, out) = (self.medium.builder, self.work.join("signed"));
        // Made on first use
        let (keys, root) = (builder.boot_keys()?, builder.root_keys(&Choice::default())?);
        let folder = builder.repo.dev_keys().join("boot");
        let tool =
            self.images(&out)?.arg("--boot-keys").arg(&folder).args(["--counter", &COUNTER.to_string()]);
        let half = tool.command().output()?.status;
        ensure!(half.code() == Some(2) && !out.exists(), "without super root keys it ends with {half}");
        let public = |number: usize| folder.join(format!("srk-{number}.pub.pem"));
        let tool = (1..=4).fold(tool, |tool, number| tool.arg("--root-key-public").arg(public(number)));
        tool.arg("--root-key").arg(folder.join("srk-1.key")).output()?;
        let made = Medium { folder: &out, ..*self.medium };
        let claims = claims(&made.file(Part::Pbl)?)?.context("the PBL is not signed")?;
        let table = root.signing.table.encode();
        let ours = claims.iter().all(|claim| holds(claim) && claim.table.encode() == table);
        ensure!(ours, "the PBL is signed by others");
        let (fip, mut verdict) = (Fip::decode(&made.file(Part::Fip)?)?, Verdict::new("FIP"));
        let counters = chain_of_trust::verify(&fip, Some(&keys.public(Role::Root)), &mut verdict)?;
        ensure!(verdict.reason().is_none(), "{}", verdict.reason().unwrap_or_default());
        let wanted = Counters { trusted: COUNTER, normal: COUNTER };
        ensure!(counters == Some(wanted), "counters are {counters:?}");
        ensure!(out.join("FUSES.md").is_file(), "no plan for the fuses");
        Ok(())
    }

    fn images(&self, out: &Path) -> Result<Tool> {
        let Medium { builder, kind, folder, .. } = self.medium;
        let tool =
            Tool::new(std::env::current_exe()?).env("TRUSTBOX_ROOT", &self.work).args(["yocto", "images"]);
        let tool = tool.args(["--platform", builder.board.name.get_ref(), "--medium", kind.name()]);
        let tool = tool.arg("--tfa").arg(self.medium.tfa()?).arg("--optee").arg(&self.optee);
        Ok(tool.arg("--u-boot").arg(folder.join("u-boot.bin")).arg("--out").arg(out))
    }
}

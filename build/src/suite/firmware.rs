//! Firmware of real boards: it builds, says what it is, agrees with other tools, and comes out the same elsewhere.

mod bindings;
pub(crate) mod rebuilt;
mod recipe;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use trustbox_boot_image::fip::{Fip, Kind};
use trustbox_boot_image::pbi::Command;
use trustbox_boot_image::pbl::{BOOT_POINTER, Pbl};
use trustbox_keys::files;

use crate::anchors::Anchors;
use crate::board::soc::{Hardware, MediumKind};
use crate::boot::keys::{BITS, ensure_pair};
use crate::boot::root_keys::read_public;
use crate::builder::Builder;
use crate::elf;
use crate::firmware::boards::Part;
use crate::firmware::reference;
use crate::suite::Case;
use crate::tool::Tool;

const GROUP: &str = "firmware";
/// The boards that are built, the second with keys of its maker's; their `-dev` heirs differ by flags.
const BOARDS: [&str; 2] = ["trustbox-edge-201", "ls1028a-rdb"];

pub(crate) fn run(builder: &Builder) -> Result<Vec<Case>> {
    let (mut cases, mut trees) = (Vec::new(), Vec::new());
    for name in BOARDS {
        let mut board = builder.for_board(name)?;
        if name == BOARDS[1] {
            board.anchors = makers_keys(builder)?;
        }
        let hardware = board.board.hardware().context("the board is emulated")?;
        let tree = board.board_trees(&hardware)?;
        let memory = memory(&tree.join("u-boot.dtb"), &hardware);
        cases.push(Case::of(GROUP, &format!("{name}: U-Boot's device tree has the board's memory"), memory));
        trees.push((name.to_owned(), tree));
        let built = board.board_firmware();
        let folder = built.as_ref().ok().cloned();
        cases.push(Case::of(GROUP, &format!("{name} builds"), built.map(drop)));
        if let Some(folder) = folder {
            cases.extend(examine(&board, name, &folder)?);
        }
    }
    let bindings = bindings::check(builder, &trees);
    cases.push(Case::of(GROUP, "device trees are what the kernel's bindings accept", bindings));
    let edge = builder.for_board(BOARDS[0])?;
    let again = edge.board_firmware().and_then(|folder| rebuilt::same(&edge, &folder));
    cases.push(Case::of(GROUP, &format!("{} is the same, built elsewhere", BOARDS[0]), again));
    Ok(cases)
}

/// A TA-signing key and an authority that are not this clone's.
fn makers_keys(builder: &Builder) -> Result<Anchors> {
    let folder = builder.work("makers-keys")?;
    let [ta, ta_public, authority] = ["ta.key", "ta.pub.pem", "authority.key"].map(|name| folder.join(name));
    ensure_pair(&ta, &ta_public, BITS, &builder.log("makers-keys"))?;
    if !authority.is_file() {
        files::store_private(&authority, &files::generate()?)?;
    }
    Ok(Anchors::named(&ta_public, &authority))
}

/// OP-TEE verifies enclaves with the key that was named, the TA believes the authority that was named, and whose keys these are is said.
fn believes(builder: &Builder, folder: &Path) -> Result<()> {
    let optee = fs::read(folder.join("tee-raw.bin"))?;
    let holds = |wanted: &[u8]| optee.windows(wanted.len()).any(|found| found == wanted);
    ensure!(holds(&read_public(&builder.ta_public_key()?)?.modulus), "OP-TEE has not the TA-signing key");
    ensure!(holds(builder.authority()?.id().as_ref()), "the TA has not the authority's digest");
    let development = builder.anchors.development();
    let said = fs::read_to_string(folder.join("NOT-TRUSTED"))?;
    ensure!(said.contains("development keys") != development.is_empty(), "NOT-TRUSTED says {said}");
    Ok(())
}

fn examine(builder: &Builder, name: &str, folder: &Path) -> Result<Vec<Case>> {
    let hardware = builder.board.hardware().context("the board is emulated")?;
    let mut cases = Vec::new();
    for kind in hardware.media.keys() {
        let medium = Medium { builder, hardware: &hardware, kind: *kind, folder };
        let case = |what: &str, result| Case::of(GROUP, &format!("{name} {}: {what}", kind.name()), result);
        cases.push(case("PBL loads BL2 and starts it", medium.pbl()));
        cases.push(case("fiptool writes the same FIP", medium.fiptool()));
        cases.push(case("the boot region has both where they are read", medium.boot_region()));
        cases.push(case("memory controller's registers in BL2 are the board's", medium.registers()));
        cases.push(case("a recipe puts the same images together, and signs them", recipe::same(&medium)));
    }
    cases.push(Case::of(
        GROUP,
        &format!("{name}: it believes the keys that were named"),
        believes(builder, folder),
    ));
    cases.push(Case::of(GROUP, &format!("{name}: manifest lists every file"), manifest(folder)));
    let reference = reference_values(builder, folder);
    cases.push(Case::of(
        GROUP,
        &format!("{name}: signed reference values measure OP-TEE and the TA"),
        reference,
    ));
    cases.push(Case::of(GROUP, &format!("{name}: every hole that should be closed is"), hardening(folder)));
    Ok(cases)
}

/// They are there, signed by the authority that is compiled in, and of what is in these images; a changed one is refused.
fn reference_values(builder: &Builder, folder: &Path) -> Result<()> {
    let signer = [builder.authority()?];
    let path = folder.join(reference::FILE);
    let values = trustbox_keys::reference::read(std::slice::from_ref(&path), &signer)?;
    let again = builder.write_reference(&builder.work("reference")?)?;
    ensure!(trustbox_keys::reference::read(&[again], &signer)? == values, "measured again, they differ");
    let measured: Vec<_> = values.components.iter().map(|component| component.measurements.clone()).collect();
    ensure!(
        measured.len() == 2 && measured[0] != measured[1],
        "OP-TEE and the TA are not measured: {measured:?}"
    );
    let changed = builder.work("reference-changed")?.join(reference::FILE);
    fs::write(&changed, fs::read_to_string(&path)?.replace(&measured[0][0], &"0".repeat(64)))?;
    fs::copy(folder.join(format!("{}.sig", reference::FILE)), changed.with_extension("toml.sig"))?;
    ensure!(trustbox_keys::reference::read(&[changed], &signer).is_err(), "changed ones are believed");
    Ok(())
}

/// One medium of a board's firmware.
struct Medium<'a> {
    builder: &'a Builder,
    hardware: &'a Hardware<'a>,
    kind: MediumKind,
    folder: &'a Path,
}

impl Medium<'_> {
    fn file(&self, part: Part) -> Result<Vec<u8>> {
        let path = self.folder.join(part.file(self.kind.name()));
        fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    fn tfa(&self) -> Result<PathBuf> {
        self.builder.board_tfa(self.hardware, self.kind)
    }

    /// The last two commands copy exactly BL2's bytes to its address and start there.
    fn pbl(&self) -> Result<()> {
        let (pbl, bl2) = (self.file(Part::Pbl)?, fs::read(self.tfa()?.join("bl2.bin"))?);
        let place = self.hardware.placement(self.kind).context("no place for BL2")?;
        let (decoded, _) = Pbl::decode(&pbl)?;
        let [.., start, Command::BlockCopy { from, to, size, .. }] = decoded.commands.as_slice() else {
            anyhow::bail!("the last command is no block copy");
        };
        ensure!(*start == Command::Write { address: BOOT_POINTER, octet: false, value: place.address });
        let at = (from - place.base) as usize;
        let copied = pbl.get(at..at + *size as usize).context("the copy goes beyond the file")?;
        ensure!(copied.starts_with(&bl2) && copied.len() - bl2.len() < 4, "the copy is not BL2");
        ensure!(*to == place.address, "BL2 goes to 0x{to:x}, not 0x{:x}", place.address);
        Ok(())
    }

    fn fiptool(&self) -> Result<()> {
        let source = self.builder.source("arm-trusted-firmware")?.folder;
        let (log, work) = (self.builder.log("fiptool"), self.builder.work("fiptool")?);
        let tool = source.join("tools/fiptool/fiptool");
        if !tool.is_file() {
            Tool::new("make").arg("-s").arg("-C").arg(source.join("tools/fiptool")).run(&log)?;
        }
        let (ours, theirs) = (self.file(Part::Fip)?, work.join("fip.bin"));
        let inside = Fip::decode(&ours)?;
        let mut create = Tool::new(&tool).arg("create");
        for (kind, option) in [(Kind::Bl31, "--soc-fw"), (Kind::Bl32, "--tos-fw"), (Kind::Bl33, "--nt-fw")] {
            let file = work.join(option.trim_start_matches('-'));
            fs::write(&file, inside.image(kind).with_context(|| kind.name())?)?;
            create = create.arg(option).arg(file);
        }
        create.arg(&theirs).run(&log)?;
        ensure!(fs::read(&theirs)? == ours, "fiptool's file differs from ours");
        Ok(())
    }

    fn boot_region(&self) -> Result<()> {
        let boot = self.file(Part::Boot)?;
        let medium = self.hardware.media.get(&self.kind).context("no such medium")?;
        let start = u64::from(*medium.pbl_offset.get_ref());
        for (part, name) in [(Part::Pbl, "pbl"), (Part::Fip, "fip")] {
            let content = self.file(part)?;
            let at = usize::try_from(medium.region(name).context("no region")?.start - start)?;
            let found = boot.get(at..at + content.len());
            ensure!(found == Some(&content), "{name} is not at 0x{at:x} of the boot region");
        }
        Ok(())
    }

    /// Where TF-A works the registers out itself, there is no table, and none must be there.
    fn registers(&self) -> Result<()> {
        let elf = fs::read(self.tfa()?.join("bl2.elf"))?;
        let Some(ddr) = self.hardware.ddr else {
            ensure!(elf::symbol(&elf, "ddr_registers").is_err(), "BL2 has a table that the board has not");
            return Ok(());
        };
        let (_, table) = elf::symbol(&elf, "ddr_registers")?;
        let words: Vec<_> = table
            .chunks_exact(4)
            .map(|word| word.iter().rev().fold(0, |all, octet| all << 8 | u32::from(*octet)))
            .collect();
        let mut wanted: Vec<_> =
            ddr.registers.values().map(|value| *value.get_ref()).filter(|value| *value != 0).collect();
        let mut found: Vec<_> = words.into_iter().filter(|word| *word != 0).collect();
        wanted.sort_unstable();
        found.sort_unstable();
        ensure!(wanted == found, "the board has {wanted:x?}, BL2 has {found:x?}");
        Ok(())
    }
}

/// U-Boot asks nobody else how much there is.
fn memory(tree: &Path, hardware: &Hardware<'_>) -> Result<()> {
    let ours = ["linux-0", "linux-1"].iter().filter_map(|name| hardware.memory.region(name));
    let wanted: Vec<_> = ours.flat_map(|region| [region.start, region.size]).collect();
    let start = wanted.first().context("the board has no memory for Linux")?;
    let node = format!("/memory@{start:x}");
    let found = Tool::new("fdtget").args(["-t", "x"]).arg(tree).args([&node, "reg"]).output()?;
    let cells = found.split_whitespace().map(|cell| Ok(u64::from_str_radix(cell, 16)?));
    let cells = cells.collect::<Result<Vec<_>>>()?;
    let found: Vec<_> = cells.chunks(2).map(|pair| pair[0] << 32 | pair.last().unwrap_or(&0)).collect();
    ensure!(found == wanted, "{node} has {found:x?}, the board {wanted:x?}");
    Ok(())
}

fn manifest(folder: &Path) -> Result<()> {
    let manifest: serde_json::Value = serde_json::from_slice(&fs::read(folder.join("manifest.json"))?)?;
    ensure!(
        manifest["trusted"] == false && folder.join("NOT-TRUSTED").is_file(),
        "it does not say NOT-TRUSTED"
    );
    let listed = manifest["files"].as_array().context("the manifest has no files")?;
    for file in crate::hash::files_below(folder)? {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if ["build.log", "manifest.json"].contains(&name.as_str()) {
            continue;
        }
        let digest = crate::hash::sha256_hex(&fs::read(&file)?);
        let right = listed.iter().any(|entry| entry["name"] == name && entry["sha256"] == digest);
        ensure!(right, "{name} with sha256 {digest} is not in the manifest");
    }
    Ok(())
}

fn hardening(folder: &Path) -> Result<()> {
    let findings: serde_json::Value = serde_json::from_slice(&fs::read(folder.join("hardening.json"))?)?;
    let findings = findings.as_array().context("the report has no findings")?;
    let closed = findings.iter().filter(|finding| finding["state"] == "closed").count();
    ensure!(closed >= 15, "{closed} holes are closed, 15 are known to be");
    let failed = findings.iter().find(|finding| finding["state"] == "failed");
    ensure!(failed.is_none(), "{}", failed.map(ToString::to_string).unwrap_or_default());
    Ok(())
}

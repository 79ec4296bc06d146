//! Secure boot images of boards against a verifier in another language, with a flipped bit in every region.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use trustbox_boot_image::pbi::Source;
use trustbox_boot_image::pbl::{Pbl, Placement};
use trustbox_boot_image::secure::{BL2_HEADER_OFFSET, claims, prepare};

use crate::board::soc::MediumKind;
use crate::boot::root_keys::{Choice, RootKeys};
use crate::builder::Builder;
use crate::hash::hex;
use crate::tool::Tool;

/// The verifier.
const VERIFIER: &str = include_str!("../../../../platform/codec/tests/secure_pbl.py");
/// As long as a real BL2, and no multiple of four.
const BL2: usize = 91_729;
/// Every so many octets one bit is flipped.
const STEP: usize = 6_011;

/// A boot image of the board's own configuration, signed with development keys.
pub(crate) fn check(builder: &Builder, folder: &Path) -> Result<()> {
    let board = builder.for_board("trustbox-edge-201")?;
    let hardware = board.board.hardware().context("the board is emulated")?;
    let (pbl, place) = (hardware.pbl(MediumKind::Sd)?, hardware.placement(MediumKind::Sd).context("no BL2")?);
    let root = board.root_keys(&Choice::default())?;
    let image = signed(&pbl, &place, &root)?;
    let verifier = folder.join("secure_pbl.py");
    fs::write(&verifier, VERIFIER)?;
    let digest = hex(&root.digest());
    let boots = |image: &[u8], digest: &str| -> Result<(bool, String)> {
        let file = folder.join("pbl.bin");
        fs::write(&file, image)?;
        let tool =
            Tool::new("python3").arg(&verifier).arg(file).args([digest, &format!("0x{:x}", place.base)]);
        let output = tool.command().output().context("cannot start python3")?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        ensure!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok((output.status.success() && text == "boots", text))
    };
    let (good, text) = boots(&image, &digest)?;
    ensure!(good, "a good image: {text}");
    ensure!(
        !boots(&image, &digest.replace(&digest[..8], "00000000"))?.0,
        "a table that is not in the fuses boots"
    );
    for (name, start, end) in regions(&image, &place)? {
        let mut places: Vec<_> = (start..end).step_by(STEP).collect();
        places.push(end - 1);
        for at in places {
            let mut damaged = image.clone();
            damaged[at] ^= 0x10;
            ensure!(!boots(&damaged, &digest)?.0, "a flipped bit at octet {at}, in {name}, boots");
        }
    }
    other_keys(&board, &pbl, &place)
}

/// Another key of the table signs as well; a revoked one, and one that is not there, do not.
fn other_keys(board: &Builder, pbl: &Pbl, place: &Placement) -> Result<()> {
    let mut root = board.root_keys(&Choice::default())?;
    root.signing.key = 2;
    let error = signed(pbl, place, &root).err().context("key 1 signs as key 2")?.to_string();
    ensure!(error.contains("not key 2 of the table"), "{error}");
    root.signing.key = 1;
    root.signing.revoked = vec![1];
    let error = signed(pbl, place, &root).err().context("a revoked key signs")?.to_string();
    ensure!(error.contains("revoked"), "{error}");
    root.signing.key = 5;
    ensure!(signed(pbl, place, &root).is_err(), "key 5 of 4 signs");
    Ok(())
}

fn signed(pbl: &Pbl, place: &Placement, root: &RootKeys) -> Result<Vec<u8>> {
    let bl2: Vec<u8> = (0..BL2).map(|number| (number * 7 + 3) as u8).collect();
    ensure!(place.source == Source::Sd, "not for SD");
    root.sign(prepare(pbl, &bl2, place, &root.signing)?)
}

/// Everything that something depends on: gaps between the parts are of no account.
fn regions(image: &[u8], place: &Placement) -> Result<Vec<(&'static str, usize, usize)>> {
    let [pbi, bl2] = claims(image)?.context("SB_EN is not set")?;
    let (_, end) = Pbl::decode(image)?;
    let (base, header) = (144, BL2_HEADER_OFFSET as usize);
    let of = |base: usize, offset: u32, size: usize| (base + offset as usize, base + offset as usize + size);
    let table = |claim: &trustbox_boot_image::secure::Claim| claim.table.encode().len();
    let part = |name, (start, end)| (name, start, end);
    Ok(vec![
        ("RCW", 0, 140),
        ("PBI commands with their header", 140, end),
        part("keys of the PBI commands", of(base, pbi.header.key_table, table(&pbi))),
        part("signature of the PBI commands", of(base, pbi.header.signature, pbi.signature.len())),
        ("header of BL2", header, header + 0x50),
        part("keys of BL2", of(header, bl2.header.key_table, table(&bl2))),
        part("table of what is signed", of(header, bl2.header.table, 16)),
        part("signature of BL2", of(header, bl2.header.signature, bl2.signature.len())),
        ("BL2", place.offset as usize, image.len()),
    ])
}

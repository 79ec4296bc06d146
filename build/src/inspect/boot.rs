//! Boot images of an LS1028A: PBL and FIP, every field and command by name.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;
use trustbox_boot_image::Error;
use trustbox_boot_image::describe::{self, FileKind};
use trustbox_boot_image::fip::Fip;
use trustbox_boot_image::secure::{self, Claim};

use super::{Inspection, Options};
use crate::boot::chain_of_trust;
use crate::boot::root_keys::{holds, table_digest};
use crate::hash::hex;
use crate::input;
use crate::recognise::Kind;
use crate::verify::{Expected, Outcome, Verdict};

/// Octets of the largest boot region.
const MOST: u64 = 1 << 28;

/// What the boot ROM reads.
pub(crate) const PBL: Kind = Kind {
    name: "PBL",
    begins: |bytes| FileKind::of(bytes) == Some(FileKind::Pbl),
    inspect: |path, _: &Options| inspect(path, pbl_lines),
    verify: verify_pbl,
};

/// What BL2 reads.
pub(crate) const FIP: Kind = Kind {
    name: "FIP",
    begins: |bytes| FileKind::of(bytes) == Some(FileKind::Fip),
    inspect: |path, _: &Options| inspect(path, describe::fip),
    verify: verify_fip,
};

/// The lines of a PBL, and of its headers where the boot ROM is told to verify it.
fn pbl_lines(bytes: &[u8]) -> Result<Vec<String>, Error> {
    let mut lines = describe::pbl(bytes)?;
    for claim in secure::claims(bytes)?.iter().flatten() {
        let Claim { what, header, table, .. } = claim;
        let bits = table.keys().first().map_or(0, |key| key.modulus.len() * 8);
        let right = if holds(claim) { "right" } else { "WRONG" };
        lines.push(format!("signature of {what}"));
        lines.push(format!(
            "  super root keys         {} of RSA-{bits}, key {} signs",
            header.keys, header.key
        ));
        lines.push(format!("  SHA-256 of the table    {}  (SRKH in the fuses)", hex(&table_digest(table))));
        lines.push(format!("  signature               {right}, over {} octets", claim.message.len()));
        lines.push(format!(
            "  entry                   0x{:x}, flags 0x{:02x}",
            header.entry_point, header.flags
        ));
    }
    Ok(lines)
}

/// A signature by a table that the file brings along proves something only to who knows the table's digest.
fn verify_pbl(path: &Path, expected: &Expected) -> Result<Verdict> {
    let bytes = input::read(path, MOST)?;
    let mut verdict = Verdict::new("PBL");
    verdict.add("form and checksums", "", Outcome::of(describe::pbl(&bytes).map(drop)));
    add_claims(&bytes, expected, &mut verdict)?;
    Ok(verdict)
}

/// What the boot ROM is told to verify.
pub(crate) fn add_claims(bytes: &[u8], expected: &Expected, verdict: &mut Verdict) -> Result<()> {
    for claim in secure::claims(bytes)?.iter().flatten() {
        let (digest, by) = (hex(&table_digest(&claim.table)), format!("super root key {}", claim.header.key));
        let result = match (&expected.srk_hash, holds(claim)) {
            (_, false) => Outcome::Fails("the signature is wrong".to_owned()),
            (None, true) => Outcome::NotChecked(format!(
                "it holds under table {digest}\nhelp: --srk-hash says which one is yours"
            )),
            (Some(wanted), true) => Outcome::when(*wanted == digest, &format!("table {digest} is another")),
        };
        verdict.add_signature(claim.what, by, result);
    }
    Ok(())
}

type Describe = fn(&[u8]) -> Result<Vec<String>, Error>;

fn inspect(path: &Path, lines: Describe) -> Result<Inspection> {
    let bytes = input::read(path, MOST)?;
    let lines = lines(&bytes).with_context(|| path.display().to_string())?;
    Ok(Inspection {
        description: json!({"bytes": bytes.len(), "lines": lines.len()}),
        map: lines,
        damage: None,
    })
}

/// Firmware that somebody signed, by its certificates; of any other, its form.
fn verify_fip(path: &Path, expected: &Expected) -> Result<Verdict> {
    let bytes = input::read(path, MOST)?;
    let mut verdict = Verdict::new("FIP");
    verdict.add("form and checksums", "", Outcome::of(describe::fip(&bytes).map(drop)));
    let fip = Fip::decode(&bytes)?;
    if chain_of_trust::is_signed(&fip) {
        chain_of_trust::verify(&fip, expected.rot_key.as_deref(), &mut verdict)?;
    }
    Ok(verdict)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_of_images_is_shown_and_never_verified() {
        use trustbox_boot_image::fip::Kind;
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), Fip::of([(Kind::Bl33, vec![0; 9])]).encode()).unwrap();
        let kind = crate::recognise::recognise(file.path()).unwrap();
        assert_eq!(kind.name, "FIP");
        let shown = (kind.inspect)(file.path(), &Options { sbom_out: None }).unwrap();
        assert!(shown.map.iter().any(|line| line.contains("BL33: U-Boot")));
        let verdict = (kind.verify)(file.path(), &Expected::default()).unwrap();
        assert!(verdict.reason().unwrap().contains("no signature"));
    }
}

//! What a Layerscape board boots from: a PBL (RCW and pre-boot commands) and a FIP, shown by name and checked for structure.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use trustbox_boot_image::describe::{self, FileKind};
use trustbox_boot_image::fip::Fip;
use trustbox_boot_image::pbl::Pbl;

use super::{Inspection, Options};
use crate::input;
use crate::recognise::Kind;
use crate::verify::{Expected, Outcome, Verdict};

pub(crate) const PBL: Kind = Kind {
    name: "PBL",
    begins: |bytes| FileKind::of(bytes) == Some(FileKind::Pbl),
    inspect: inspect_pbl,
    verify: verify_pbl,
};

pub(crate) const FIP: Kind = Kind {
    name: "FIP",
    begins: |bytes| FileKind::of(bytes) == Some(FileKind::Fip),
    inspect: inspect_fip,
    verify: verify_fip,
};

/// Bytes of the largest boot region.
const LIMIT: u64 = 64 << 20;
/// What these files cannot tell.
const UNSIGNED: &str =
    "neither carries a signature of its own; TF-A and the boot ROM check those of secure boot";

fn inspect_pbl(path: &Path, _: &Options) -> Result<Inspection> {
    let bytes = input::read(path, LIMIT)?;
    let (pbl, used) = Pbl::decode(&bytes).with_context(|| path.display().to_string())?;
    let fields: serde_json::Map<String, Value> =
        pbl.rcw.fields().map(|(name, value)| (name.to_owned(), value.into())).collect();
    let commands: Vec<Value> =
        pbl.commands.iter().map(|command| json!({"command": describe::command_line(command)})).collect();
    let description = json!({
        "bytes": bytes.len(),
        "bytes_of_pbl": used,
        "checksum": pbl.checked,
        "rcw": fields,
        "commands": commands,
    });
    Ok(Inspection { description, map: describe::pbl(&bytes)?, damage: None })
}

fn inspect_fip(path: &Path, _: &Options) -> Result<Inspection> {
    let bytes = input::read(path, LIMIT)?;
    let fip = Fip::decode(&bytes).with_context(|| path.display().to_string())?;
    let image = |image: &trustbox_boot_image::fip::Image| json!({"image": image.kind.name(), "bytes": image.content.len()});
    let images: Vec<Value> = fip.images.iter().map(image).collect();
    let description = json!({"bytes": bytes.len(), "flags": fip.flags, "images": images});
    Ok(Inspection { description, map: describe::fip(&bytes)?, damage: None })
}

fn verify_pbl(path: &Path, _: &Expected) -> Result<Verdict> {
    let bytes = input::read(path, LIMIT)?;
    Ok(structure(PBL.name, Pbl::decode(&bytes).map(drop)))
}

fn verify_fip(path: &Path, _: &Expected) -> Result<Verdict> {
    let bytes = input::read(path, LIMIT)?;
    Ok(structure(FIP.name, Fip::decode(&bytes).map(drop)))
}

fn structure(name: &'static str, decoded: Result<(), trustbox_boot_image::Error>) -> Verdict {
    let mut verdict = Verdict::new(name);
    verdict.add("structure and checksums", "", Outcome::of(decoded));
    verdict.add("signature", "", Outcome::NotChecked(UNSIGNED.to_owned()));
    verdict
}

#[cfg(test)]
mod tests {
    use trustbox_boot_image::fip::Kind as ImageKind;

    use super::*;

    fn fip() -> Vec<u8> {
        Fip::of([(ImageKind::Bl31, vec![7; 100])]).encode()
    }

    fn inspected(bytes: &[u8]) -> Result<Inspection> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let kind = crate::recognise::recognise(file.path())?;
        (kind.inspect)(file.path(), &Options { sbom_out: None })
    }

    #[test]
    fn a_fip_is_known_by_its_first_bytes_and_shown() {
        let shown = inspected(&fip()).unwrap();
        assert_eq!(shown.description["images"][0]["bytes"], 100);
        assert!(shown.map.iter().any(|line| line.contains("100 octets")));
    }

    #[test]
    fn what_is_cut_short_is_refused() {
        let fip = fip();
        for length in 4..fip.len() {
            assert!(inspected(&fip[..length]).is_err(), "{length}");
        }
    }
}

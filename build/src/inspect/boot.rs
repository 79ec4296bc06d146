//! Boot images of an LS1028A: PBL and FIP, every field and command by name.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;
use trustbox_boot_image::Error;
use trustbox_boot_image::describe::{self, FileKind};

use super::{Inspection, Options};
use crate::input;
use crate::recognise::Kind;
use crate::verify::{Expected, Outcome, Verdict};

/// Octets of the largest boot region.
const MOST: u64 = 1 << 28;

/// What the boot ROM reads.
pub(crate) const PBL: Kind = Kind {
    name: "PBL",
    begins: |bytes| FileKind::of(bytes) == Some(FileKind::Pbl),
    inspect: |path, _: &Options| inspect(path, describe::pbl),
    verify: |path, _: &Expected| verify(path, "PBL", describe::pbl),
};

/// What BL2 reads.
pub(crate) const FIP: Kind = Kind {
    name: "FIP",
    begins: |bytes| FileKind::of(bytes) == Some(FileKind::Fip),
    inspect: |path, _: &Options| inspect(path, describe::fip),
    verify: |path, _: &Expected| verify(path, "FIP", describe::fip),
};

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

/// Form and checksums only: nobody signs these yet, and so they are never verified.
fn verify(path: &Path, kind: &'static str, lines: Describe) -> Result<Verdict> {
    let bytes = input::read(path, MOST)?;
    let mut verdict = Verdict::new(kind);
    verdict.add("form and checksums", "", Outcome::of(lines(&bytes).map(drop)));
    Ok(verdict)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_of_images_is_shown_and_never_verified() {
        use trustbox_boot_image::fip::{Fip, Kind};
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

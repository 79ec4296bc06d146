//! What kind of file something is, by its first bytes: the one list that `tb inspect` and `tb verify` go by.
//!
//! A kind says how its files begin, and how they are shown and checked. Where two kinds claim a file, neither gets it.

use std::path::Path;

use anyhow::{Result, bail};

use crate::image;
use crate::input;
use crate::inspect::{Inspection, Options, boot, package, trusted_application};
use crate::verify::{Expected, Verdict};

/// Bytes that kinds may look at.
const BEGINNING: u64 = 4096;

/// A kind of file.
pub(crate) struct Kind {
    /// What people call it.
    pub(crate) name: &'static str,
    /// Whether a file that begins so is one.
    pub(crate) begins: fn(&[u8]) -> bool,
    /// Shows one.
    pub(crate) inspect: fn(&Path, &Options) -> Result<Inspection>,
    /// Checks one.
    pub(crate) verify: fn(&Path, &Expected) -> Result<Verdict>,
}

const KINDS: &[Kind] = &[package::KIND, trusted_application::KIND, boot::PBL, boot::FIP, image::verify::KIND];

/// The kind of a file.
pub(crate) fn recognise(path: &Path) -> Result<&'static Kind> {
    among(KINDS, path)
}

fn among<'a>(kinds: &'a [Kind], path: &Path) -> Result<&'a Kind> {
    let (beginning, shown) = (input::beginning(path, BEGINNING)?, path.display());
    let fitting: Vec<&Kind> = kinds.iter().filter(|kind| (kind.begins)(&beginning)).collect();
    let names = |kinds: Vec<&Kind>| kinds.iter().map(|kind| kind.name).collect::<Vec<_>>().join(", ");
    match fitting[..] {
        [kind] => Ok(kind),
        [] => {
            let first: String = beginning.iter().take(8).map(|byte| format!("{byte:02x} ")).collect();
            let first = if first.is_empty() { "it is empty" } else { first.trim_end() };
            bail!(
                "{shown}: not a kind of file that is known: {first}\nhelp: known are: {}",
                names(kinds.iter().collect())
            )
        }
        _ => bail!(
            "{shown}: could be several kinds of file: {}\nhelp: nothing is assumed of it",
            names(fitting)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        file
    }

    #[test]
    fn kinds_are_told_by_their_first_bytes() {
        assert_eq!(recognise(file(b"\x0d\xf0\xcc\x0e and more").path()).unwrap().name, "package");
        assert_eq!(recognise(file(b"HSTO and more").path()).unwrap().name, "signed OP-TEE TA");
    }

    #[test]
    fn others_are_refused() {
        for bytes in [&b""[..], b"\x0d\xf0\xcc", b"PK\x03\x04"] {
            let error = recognise(file(bytes).path()).err().unwrap().to_string();
            assert!(
                error.contains("not a kind of file that is known")
                    && error.contains("help: known are: package"),
                "{error}"
            );
        }
    }

    #[test]
    fn what_two_kinds_claim_is_nobodys() {
        let kinds =
            [package::KIND, Kind { name: "everything", begins: |_| true, ..trusted_application::KIND }];
        let error = among(&kinds, file(b"\x0d\xf0\xcc\x0e").path()).err().unwrap().to_string();
        assert!(error.contains("could be several kinds of file: package, everything\nhelp: "), "{error}");
    }
}

//! Signed OP-TEE TAs: shown and checked.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;
use trustbox_api::limits::MAX_IMAGE;
use trustbox_package::image::{self, Image, Parts};

use super::dump::part;
use super::{Inspection, Options};
use crate::input;
use crate::recognise::Kind;
use crate::verify::{Expected, Outcome, Verdict};

pub(crate) const KIND: Kind = Kind {
    name: "signed OP-TEE TA",
    begins: |bytes| bytes.starts_with(&image::MAGIC.to_le_bytes()),
    inspect,
    verify,
};

/// Header and digest are in front of the signature.
const BEFORE_SIGNATURE: u64 = 52;

fn inspect(path: &Path, _: &Options) -> Result<Inspection> {
    let bytes = input::read(path, MAX_IMAGE.into())?;
    let parts = Parts::read(&bytes).with_context(|| path.display().to_string())?;
    let digest = Image::read(&bytes);
    let description = json!({
        "uuid": parts.image.uuid.to_string(),
        "version": parts.image.version,
        "bytes": bytes.len(),
        "algorithm": algorithm(parts.algorithm),
        "signature_bits": parts.signature.len() * 8,
        "digest": if digest.is_ok() { "right" } else { "WRONG" },
    });
    let content = BEFORE_SIGNATURE + parts.signature.len() as u64;
    let (identity, payload) = parts.content.split_at(20);
    let map = [
        part(0, parts.header, "header: magic, type, size, algorithm"),
        part(20, parts.digest, "SHA-256"),
        part(BEFORE_SIGNATURE, parts.signature, "signature of the OEM"),
        part(content, identity, "UUID and version"),
        part(content + 20, payload, "ELF file"),
    ];
    Ok(Inspection { description, map: map.concat(), damage: digest.err().map(|error| error.to_string()) })
}

fn verify(path: &Path, expected: &Expected) -> Result<Verdict> {
    let bytes = input::read(path, MAX_IMAGE.into())?;
    let mut verdict = Verdict::new(KIND.name);
    verdict.add("header and digest", "", Outcome::of(Image::read(&bytes).map(|_| ())));
    add_oem(&mut verdict, &bytes, expected);
    Ok(verdict)
}

/// Adds the OEM's signature of an image.
pub(super) fn add_oem(verdict: &mut Verdict, image: &[u8], expected: &Expected) {
    const WHAT: &str = "signature of the TA";
    match (Parts::read(image), &expected.ta_key) {
        (Err(error), _) => verdict.add_signature(WHAT, "OEM", Outcome::Fails(error.to_string())),
        (Ok(_), None) => {
            verdict.add_signature(
                WHAT,
                "OEM",
                Outcome::NotChecked("--ta-key names the OEM's key".to_owned()),
            );
        }
        (Ok(parts), Some(key)) => {
            verdict.add_signature(WHAT, format!("OEM {}", key.fingerprint()), key.check(&parts));
        }
    }
}

fn algorithm(number: u32) -> String {
    match number {
        0x7041_4930 => "RSASSA-PSS, SHA-256, MGF1".to_owned(),
        0x7000_4830 => "RSASSA-PKCS1-v1_5, SHA-256".to_owned(),
        other => format!("{other:#x}"),
    }
}

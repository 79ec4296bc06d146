//! Packages: shown and checked.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use serde_json::{Map, Value, json};
use trustbox_keys::class_keys::parse_key_ref;
use trustbox_keys::{files, show};
use trustbox_package::annex::Attachment;
use trustbox_package::certificate::Certificate;
use trustbox_package::frame::{self, Frame};
use trustbox_package::layout::{Place, Role};
use trustbox_package::open::{OpenError, key_name, open};
use trustbox_package::{ClassKey, MAX_PACKAGE, Package, verify as signatures};

use super::dump::part;
use super::{Inspection, Options, trusted_application};
use crate::hash::sha256_hex;
use crate::input;
use crate::recognise::Kind;
use crate::sbom::Sbom;
use crate::verify::{Expected, Outcome, Verdict};

pub(crate) const KIND: Kind =
    Kind { name: "package", begins: |bytes| bytes.starts_with(&frame::MAGIC.to_le_bytes()), inspect, verify };

fn inspect(path: &Path, options: &Options) -> Result<Inspection> {
    let bytes = input::read(path, MAX_PACKAGE)?;
    let frame = Frame::read(&bytes).with_context(|| path.display().to_string())?;
    let (package, damage) = match Package::read(&bytes) {
        Ok(package) => (Some(package), None),
        Err(error) => (None, Some(error.to_string())),
    };
    if let Some(out) = &options.sbom_out {
        let sbom = package.as_ref().and_then(Package::sbom);
        let missing =
            || anyhow!("{}: package has no SBOM\nhelp: pack it with --sbom or --sbom-of", path.display());
        files::write(out, sbom.ok_or_else(missing)?)?;
    }
    let mut description = Map::new();
    description.insert("bytes".to_owned(), bytes.len().into());
    let format = package
        .as_ref()
        .map(|package| if package.trusted().is_ok() { "trusted manifest" } else { "original" });
    description.insert("format".to_owned(), format.into());
    description.insert("streams".to_owned(), streams(&frame, package.as_ref()));
    if let Some(package) = &package {
        describe(package, &mut description)?;
    }
    Ok(Inspection { description: description.into(), map: map(&bytes, &frame, package.as_ref()), damage })
}

fn streams(frame: &Frame<'_>, package: Option<&Package<'_>>) -> Value {
    let rows = frame.streams.iter().enumerate().map(|(index, stream)| {
        json!({
            "stream": index,
            "role": role_name(package, index),
            "offset": frame.offset(index),
            "bytes": stream.len(),
            "sha256": sha256_hex(stream),
        })
    });
    rows.collect()
}

fn role_name(package: Option<&Package<'_>>, index: usize) -> String {
    let Some(package) = package else { return "?".to_owned() };
    let Some(role) = package.roles.get(index) else { return "?".to_owned() };
    let first = package.roles.iter().position(|role| *role == Role::Attachment).unwrap_or(index);
    match (role, package.attachments().nth(index.saturating_sub(first))) {
        (Role::Attachment, Some((entry, _))) => attachment_name(entry),
        _ => role.name().to_owned(),
    }
}

fn attachment_name(entry: &Attachment) -> String {
    entry.name().map_or_else(|| format!("attachment of unknown kind {}", entry.kind), str::to_owned)
}

fn describe(package: &Package<'_>, out: &mut Map<String, Value>) -> Result<()> {
    let mut manifest = serde_json::to_value(&package.json)?;
    manifest["signed_by"] = "nobody".into();
    out.insert("JSON_manifest".to_owned(), manifest);
    if let Some(pem) = package.stream(Role::Certificate) {
        out.insert("certificate".to_owned(), describe_certificate(pem));
    }
    if let Ok(trusted) = package.trusted() {
        out.insert("trusted_manifest".to_owned(), show::describe(trusted.statement)?);
    }
    if let Some(signed) = package.annex() {
        let valid = if signatures::annex(signed) { "valid" } else { "INVALID" };
        let entry = |(entry, _): (&Attachment, _)| json!({"attachment": attachment_name(entry), "bytes": entry.size, "sha256": entry.sha256.to_string()});
        let attachments: Vec<Value> = package.attachments().map(entry).collect();
        let signer = signed.envelope.signer.id().to_string();
        out.insert(
            "annex".to_owned(),
            json!({"signer": signer, "signature": valid, "attachments": attachments}),
        );
    }
    if let Some(sbom) = package.sbom() {
        let described = Sbom::read(sbom.to_vec())
            .map_or_else(|error| json!({"damaged": error.to_string()}), |sbom| sbom.describe());
        out.insert("SBOM".to_owned(), described);
    }
    Ok(())
}

fn describe_certificate(pem: &[u8]) -> Value {
    match Certificate::read(pem) {
        Ok(certificate) => json!({
            "subject": certificate.subject,
            "not_after": certificate.not_after,
            "key_bits": certificate.bits(),
            "sha256": certificate.fingerprint.to_string(),
            "trust": "none: anybody can put a certificate into a package",
        }),
        Err(error) => json!({"damaged": error.to_string()}),
    }
}

fn map(bytes: &[u8], frame: &Frame<'_>, package: Option<&Package<'_>>) -> Vec<String> {
    let count = frame.streams.len();
    let header = format!("header: frame version 1, {count} streams, manifest is stream {}", frame.manifest);
    let mut lines = part(0, &bytes[..frame::HEADER_SIZE], &header);
    for (index, stream) in frame.streams.iter().enumerate() {
        let at = frame::HEADER_SIZE + index * frame::ENTRY_SIZE;
        let entry = format!("entry {index}: {} bytes", stream.len());
        lines.extend(part(at as u64, &bytes[at..at + frame::ENTRY_SIZE], &entry));
    }
    for (index, stream) in frame.streams.iter().enumerate() {
        let what = format!("stream {index}: {}, {} bytes", role_name(package, index), stream.len());
        lines.extend(part(Place::of(frame, index).offset, stream, &what));
    }
    lines
}

fn verify(path: &Path, expected: &Expected) -> Result<Verdict> {
    let bytes = input::read(path, MAX_PACKAGE)?;
    let mut verdict = Verdict::new(KIND.name);
    let package = match Package::read(&bytes) {
        Ok(package) => package,
        Err(error) => {
            verdict.add("frame, manifests and streams", "", Outcome::Fails(error.to_string()));
            return Ok(verdict);
        }
    };
    verdict.add("frame, manifests and streams", "", Outcome::Holds);
    let key = key_of(&package, expected)?;
    match package.trusted() {
        Ok(_) => verify_trusted(&package, &mut verdict, expected),
        Err(_) => verify_original(&package, &mut verdict, expected, key.is_some()),
    }
    verify_inside(&package, &mut verdict, expected, key);
    Ok(verdict)
}

/// The key that opens the package, where a store was given.
fn key_of<'a>(package: &Package<'_>, expected: &'a Expected) -> Result<Option<&'a ClassKey>> {
    match (&expected.class_keys, key_name(package)) {
        (Some(keys), Some(name)) => keys.require(&parse_key_ref(&name)?).map(Some),
        _ => Ok(None),
    }
}

fn verify_trusted(package: &Package<'_>, verdict: &mut Verdict, expected: &Expected) {
    let Ok(trusted) = package.trusted() else { return };
    let (id, said) = (trusted.signer.id(), trusted.terms());
    let by = format!("publisher {id}");
    let signed = signatures::statement(&trusted.envelope) && said.publisher == id;
    verdict.add_signature(
        "signature of the trusted manifest",
        &by,
        Outcome::when(signed, "it does not verify"),
    );
    if let Some(expected) = expected.publisher {
        let other = format!("it is {id}, expected {expected}");
        verdict.add("the publisher", "", Outcome::when(id == expected, &other));
    }
    let digest = sha256_hex(package.payload) == said.ciphertext_sha256.to_string();
    verdict.add(
        "digest of the ciphertext",
        &by,
        Outcome::when(digest, "it is not what the publisher signed"),
    );
    if let Some(signed) = package.annex() {
        let holds = signatures::annex(signed);
        verdict.add("signature of annex and SBOM", &by, Outcome::when(holds, "it does not verify"));
    }
}

fn verify_original(package: &Package<'_>, verdict: &mut Verdict, expected: &Expected, has_key: bool) {
    verdict.add("JSON manifest", "nobody", Outcome::NotChecked("nobody signed it".to_owned()));
    if expected.publisher.is_some() {
        verdict.add("the publisher", "", Outcome::Fails("a package of the original has none".to_owned()));
    }
    let certificate = package.stream(Role::Certificate).map(Certificate::read);
    let outcome = match certificate {
        None => Outcome::Fails("there is none".to_owned()),
        Some(read) => Outcome::of(read.map(|_| ())),
    };
    verdict.add("certificate (no proof of who signed)", "", outcome);
    if !has_key && key_name(package).is_some() {
        let reason = "it is over the plaintext: --key-file names a store with the package's key";
        verdict.add_signature(
            "signature of the payload",
            "the certificate's key",
            Outcome::NotChecked(reason.to_owned()),
        );
    }
}

/// What is encrypted.
fn verify_inside(package: &Package<'_>, verdict: &mut Verdict, expected: &Expected, key: Option<&ClassKey>) {
    const WHAT: &str = "content";
    let original = package.trusted().is_err();
    match open(package, key) {
        Err(OpenError::NoKey { name }) => {
            let reason = format!("it is encrypted: --key-file names a store with key {name}");
            verdict.add(WHAT, "", Outcome::NotChecked(reason));
            let inside = "it is inside the ciphertext".to_owned();
            verdict.add("signature of the TA", "OEM", Outcome::NotChecked(inside));
        }
        Err(error) => verdict.add(WHAT, "", Outcome::Fails(error.to_string())),
        Ok(image) => {
            verdict.add(WHAT, "", Outcome::Holds);
            if original {
                verdict.add_signature("signature of the payload", "the certificate's key", Outcome::Holds);
            }
            trusted_application::add_oem(verdict, &image, expected);
        }
    }
}

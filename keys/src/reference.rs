//! Reference values as files: TOML that says what a verifier must expect of a device, with a signature beside it.
//!
//! The builder writes them with what they are about, firmware and packages each their own; a verifier takes several together. The
//! signature, r‖s in a file with the suffix `.sig`, is ES256 over [`DOMAIN`] and the file's bytes.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use p256::ecdsa::{Signature, VerifyingKey};
use sha2::{Digest, Sha256};
use trustbox_api::PublicKey;
use trustbox_package::sign::Es256;
use trustbox_verifier::ReferenceValues;

use crate::files;

/// What the signature of reference values starts with.
pub const DOMAIN: &[u8] = b"TrustBox reference values\0";

/// Writes reference values, and their signature beside them where somebody signs; `notes` are comments on top.
pub fn write(path: &Path, notes: &str, values: &ReferenceValues, signer: Option<&dyn Es256>) -> Result<()> {
    let notes: String = notes.lines().map(|line| format!("# {line}\n")).collect();
    let text = format!("{notes}{}", toml::to_string(values)?);
    files::write(path, text.as_bytes())?;
    match signer {
        Some(signer) => sign(path, signer),
        // That of another content is worse than none.
        None => fs::remove_file(signature_path(path)).or_else(|error| match error.kind() {
            ErrorKind::NotFound => Ok(()),
            _ => Err(error.into()),
        }),
    }
}

/// Signs a file of reference values, which must be one.
pub fn sign(path: &Path, signer: &dyn Es256) -> Result<()> {
    read(&[path.to_path_buf()], &[])?;
    files::write(&signature_path(path), signer.sign_digest(&digest(&files::read(path)?))?.as_ref())
}

/// Reads files and puts them together. One of `signers` signed all of them, or each signed the file in its place; without any,
/// nobody need have. Of different signers the first that names a thing speaks for it alone: who signs a package says nothing of OP-TEE.
pub fn read(paths: &[PathBuf], signers: &[PublicKey]) -> Result<ReferenceValues> {
    ensure!(
        signers.len() <= 1 || signers.len() == paths.len(),
        "{} files of reference values, {} keys\nhelp: one key for all of them, or one for each in their order",
        paths.len(),
        signers.len()
    );
    let one_voice = signers.iter().all(|signer| signer.id() == signers[0].id());
    paths.iter().enumerate().try_fold(ReferenceValues::default(), |all, (at, path)| {
        let bytes = files::read(path)?;
        if let Some(signer) = signers.get(at).or(signers.first()) {
            check(path, &bytes, signer)?;
        }
        let text = std::str::from_utf8(&bytes).with_context(|| format!("{}: not UTF-8", path.display()))?;
        let values =
            toml::from_str(text).with_context(|| format!("{}: not reference values", path.display()))?;
        if !one_voice {
            speaks_alone(&all, &values).with_context(|| path.display().to_string())?;
        }
        together(all, values).with_context(|| path.display().to_string())
    })
}

fn check(path: &Path, bytes: &[u8], signer: &PublicKey) -> Result<()> {
    let signature = files::read(&signature_path(path))?;
    let signature = Signature::from_slice(&signature);
    let key = VerifyingKey::from_sec1_bytes(&[&[4], signer.0.as_ref()].concat())?;
    let signed = signature.is_ok_and(|signature| key.verify_prehash(&digest(bytes), &signature).is_ok());
    ensure!(signed, "{}: not signed by {}", path.display(), signer.id());
    Ok(())
}

/// Whether a file widens nothing that a file before it says.
fn speaks_alone(before: &ReferenceValues, more: &ReferenceValues) -> Result<()> {
    let both = |name: &str, lengths: [usize; 2]| {
        ensure!(lengths.contains(&0), "{name}: a file of another signer says what is good");
        Ok(())
    };
    both("implementation-ids", [before.implementation_ids.len(), more.implementation_ids.len()])?;
    both("lifecycles", [before.lifecycles.len(), more.lifecycles.len()])?;
    more.components.iter().try_for_each(|component| {
        let known = before.components.iter().filter(|known| known.kind == component.kind).count();
        both(&component.kind, [known, 1])
    })
}

/// What both ask for. Lists of what is allowed are put together, bounds become the stricter ones.
fn together(mut all: ReferenceValues, more: ReferenceValues) -> Result<ReferenceValues> {
    let other = |one: &Option<String>, two: &Option<String>| one.is_some() && two.is_some() && one != two;
    ensure!(!other(&all.owner_root, &more.owner_root), "another owner root than the file before");
    all.implementation_ids.extend(more.implementation_ids);
    all.lifecycles.extend(more.lifecycles);
    all.owner_root = all.owner_root.or(more.owner_root);
    all.min_security_epoch = all.min_security_epoch.max(more.min_security_epoch);
    all.rollback_protection |= more.rollback_protection;
    all.unique_hardware_key |= more.unique_hardware_key;
    for component in more.components {
        match all.components.iter_mut().find(|known| known.kind == component.kind) {
            Some(known) => {
                let kind = &component.kind;
                ensure!(!other(&known.signer, &component.signer), "component {kind} has another signer");
                known.measurements.extend(component.measurements);
                known.signer = known.signer.take().or(component.signer);
                known.required |= component.required;
            }
            None => all.components.push(component),
        }
    }
    Ok(all)
}

fn signature_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".sig");
    name.into()
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(DOMAIN).chain_update(bytes).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use trustbox_package::sign::public_key;
    use trustbox_verifier::Reference;

    fn values(root: &str, kind: &str, measurement: &str) -> ReferenceValues {
        let component = Reference {
            kind: kind.to_owned(),
            measurements: vec![measurement.to_owned()],
            signer: None,
            required: true,
        };
        ReferenceValues {
            owner_root: Some(root.to_owned()),
            components: vec![component],
            ..Default::default()
        }
    }

    #[test]
    fn what_nobody_signed_yet_is_signed_later_and_an_old_signature_goes() {
        let dir = tempfile::tempdir().unwrap();
        let (path, key) = (dir.path().join("a.toml"), files::generate().unwrap());
        let signers = [public_key(key.verifying_key())];
        let believed = || read(std::slice::from_ref(&path), &signers);
        write(&path, "", &values("00", "meter", "01"), Some(&key)).unwrap();
        write(&path, "", &values("00", "meter", "02"), None).unwrap();
        assert!(!signature_path(&path).exists() && believed().is_err());
        sign(&path, &key).unwrap();
        assert_eq!(believed().unwrap().components[0].measurements, ["02"]);
        std::fs::write(&path, "no reference values").unwrap();
        assert!(sign(&path, &key).is_err());
    }

    #[test]
    fn files_are_read_together_and_only_as_signed() {
        let dir = tempfile::tempdir().unwrap();
        let (key, stranger) = (files::generate().unwrap(), files::generate().unwrap());
        let (public, other) = (public_key(key.verifying_key()), public_key(stranger.verifying_key()));
        let paths = ["a.toml", "b.toml", "c.toml"].map(|name| dir.path().join(name));
        let (first, second) = (values("00", "meter", "01"), values("00", "meter", "02"));
        write(&paths[0], "what it is\nabout", &first, Some(&key)).unwrap();
        write(&paths[1], "", &ReferenceValues { min_security_epoch: 3, ..second }, Some(&key)).unwrap();
        let read_back = read(&paths[..2], &[public]).unwrap();
        assert_eq!(read_back.components.len(), 1);
        assert_eq!(read_back.components[0].measurements, ["01", "02"]);
        assert_eq!((read_back.min_security_epoch, read_back.owner_root.as_deref()), (3, Some("00")));
        assert!(read(&paths[..1], &[other]).unwrap_err().to_string().contains("not signed by"));
        write(&paths[2], "", &values("01", "meter", "01"), Some(&key)).unwrap();
        assert!(format!("{:#}", read(&paths, &[]).unwrap_err()).contains("another owner root"));
        write(&paths[1], "", &values("00", "meter", "02"), Some(&stranger)).unwrap();
        let widened = format!("{:#}", read(&paths[..2], &[public, other]).unwrap_err());
        assert!(widened.contains("meter: a file of another signer says what is good"), "{widened}");
        let lifecycles = ReferenceValues { lifecycles: vec![0x3000], ..values("00", "activity", "02") };
        write(&paths[1], "", &lifecycles, Some(&stranger)).unwrap();
        assert_eq!(read(&paths[..2], &[public, other]).unwrap().components.len(), 2);
        assert!(read(&paths[..2], &[other, public]).is_err() && read(&paths[..2], &[public]).is_err());
        let three = read(&paths, &[public, other]).unwrap_err();
        assert!(three.to_string().contains("3 files of reference values, 2 keys"));
        let mut text = std::fs::read(&paths[0]).unwrap();
        text.extend(b"\n");
        std::fs::write(&paths[0], text).unwrap();
        assert!(read(&paths[..1], &[public]).is_err() && read(&paths[..1], &[]).is_ok());
        std::fs::remove_file(dir.path().join("a.toml.sig")).unwrap();
        assert!(read(&paths[..1], &[public]).is_err());
    }
}

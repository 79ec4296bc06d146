//! Key files: read with their permissions checked, written atomically.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use p256::ecdsa::{SigningKey, VerifyingKey};
use p256::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, LineEnding};
use trustbox_api::PublicKey;
use trustbox_package::sign::public_key;
use zeroize::Zeroizing;

/// Bytes of a key file or statement at most.
pub const MAX_FILE: u64 = 1 << 20;

const PRIVATE: u32 = 0o600;
const PUBLIC: u32 = 0o644;
const PRIVATE_LABEL: &str = "-----BEGIN PRIVATE KEY-----";

/// A fresh P-256 key.
pub fn generate() -> Result<SigningKey> {
    let mut scalar = Zeroizing::new([0; 32]);
    // A random number is outside of the group's order once in 2^32 times.
    loop {
        getrandom::fill(&mut *scalar).context("no random numbers")?;
        if let Ok(key) = SigningKey::from_slice(&*scalar) {
            return Ok(key);
        }
    }
}

/// Reads a private key, PKCS#8 PEM; refuses one that others may read.
pub fn load_private(path: &Path) -> Result<SigningKey> {
    let bytes = read_private(path)?;
    parse_private(path, &bytes)
}

/// Reads a public key: SubjectPublicKeyInfo PEM, or the public half of a private key.
pub fn load_public(path: &Path) -> Result<PublicKey> {
    let bytes = read(path)?;
    if bytes.starts_with(PRIVATE_LABEL.as_bytes()) {
        return Ok(public_key(load_private(path)?.verifying_key()));
    }
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    let key = VerifyingKey::from_public_key_pem(text).map_err(|error| {
        anyhow!(
            "{}: not a P-256 public key in PEM: {error}\nhelp: openssl pkey -in KEY -pubout makes one",
            path.display()
        )
    })?;
    Ok(public_key(&key))
}

/// Writes a private key, PKCS#8 PEM.
pub fn store_private(path: &Path, key: &SigningKey) -> Result<()> {
    let pem = key.to_pkcs8_pem(LineEnding::LF).map_err(|error| anyhow!("cannot encode a key: {error}"))?;
    write_private(path, pem.as_bytes())
}

/// Writes the public half of a key, SubjectPublicKeyInfo PEM.
pub fn store_public(path: &Path, key: &SigningKey) -> Result<()> {
    store_spki(path, &public_key(key.verifying_key()))
}

/// Writes a public key whose private half is elsewhere, SubjectPublicKeyInfo PEM.
pub fn store_spki(path: &Path, key: &PublicKey) -> Result<()> {
    let pem = p256::pkcs8::der::pem::encode_string("PUBLIC KEY", LineEnding::LF, &key.spki());
    write(path, pem.map_err(|error| anyhow!("cannot encode a key: {error}"))?.as_bytes())
}

/// Reads a file that may be public.
pub fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let file = File::open(path).map_err(|error| anyhow!("cannot read {}: {error}", path.display()))?;
    read_bounded(path, file)
}

/// Reads a file that only its owner may access.
pub fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let file = File::open(path).map_err(|error| anyhow!("cannot read {}: {error}", path.display()))?;
    let mode = file.metadata()?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        let path = path.display();
        bail!("secret file {path} has mode {mode:o}, expected {PRIVATE:o}\nhelp: chmod {PRIVATE:o} {path}");
    }
    read_bounded(path, file)
}

/// Writes a public file as a whole: a reader sees the old content or the new one.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomically(path, bytes, PUBLIC).map_err(|error| anyhow!("cannot write {}: {error}", path.display()))
}

/// Writes a file that only its owner may access, as a whole.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomically(path, bytes, PRIVATE)
        .map_err(|error| anyhow!("cannot write {}: {error}", path.display()))
}

fn parse_private(path: &Path, bytes: &[u8]) -> Result<SigningKey> {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    // The parser's words are not shown: they could quote the key.
    SigningKey::from_pkcs8_pem(text).map_err(|_| {
        anyhow!(
            "{}: not a P-256 private key in PKCS#8 PEM\nhelp: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 makes one",
            path.display()
        )
    })
}

fn read_bounded(path: &Path, file: File) -> Result<Zeroizing<Vec<u8>>> {
    let size = file.metadata()?.len();
    let too_large = || anyhow!("{} has {size} bytes, expected at most {MAX_FILE}", path.display());
    if size > MAX_FILE {
        return Err(too_large());
    }
    // With room for all of it, no copy is left behind by growing.
    let mut bytes = Zeroizing::new(Vec::with_capacity(size as usize + 1));
    file.take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| anyhow!("cannot read {}: {error}", path.display()))?;
    if bytes.len() as u64 > MAX_FILE { Err(too_large()) } else { Ok(bytes) }
}

fn write_atomically(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let name = path.file_name().ok_or_else(|| io::Error::other("not a file name"))?.to_string_lossy();
    let unfinished = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let _ = fs::remove_file(&unfinished);
    let written = write_new(&unfinished, bytes, mode).and_then(|()| fs::rename(&unfinished, path));
    if written.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    written
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn keys_round_trip() {
        let dir = tempfile::tempdir().unwrap();
        let (private, public) = (dir.path().join("key.pem"), dir.path().join("pub.pem"));
        let key = generate().unwrap();
        store_private(&private, &key).unwrap();
        store_public(&public, &key).unwrap();
        assert_eq!(fs::metadata(&private).unwrap().permissions().mode() & 0o777, PRIVATE);
        assert!(load_private(&private).unwrap() == key);
        assert_eq!(load_public(&public).unwrap(), public_key(key.verifying_key()));
        assert_eq!(load_public(&private).unwrap(), public_key(key.verifying_key()));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn key_that_others_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        store_private(&path, &generate().unwrap()).unwrap();
        for mode in [0o640, 0o604, 0o620, 0o660, 0o777] {
            set_mode(&path, mode);
            let error = load_private(&path).err().unwrap().to_string();
            assert!(error.contains(&format!("mode {mode:o}, expected 600\nhelp: chmod 600")), "{error}");
            assert!(load_public(&path).is_err());
        }
        set_mode(&path, 0o400);
        assert!(load_private(&path).is_ok());
    }

    #[test]
    fn damaged_key_is_refused_without_being_quoted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        write_private(&path, b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n").unwrap();
        let error = load_private(&path).err().unwrap().to_string();
        assert!(error.contains("help: ") && !error.contains("c2VjcmV0"), "{error}");
        assert!(load_public(&dir.path().join("missing")).unwrap_err().to_string().contains("cannot read"));
    }

    #[test]
    fn key_id_is_the_digest_of_the_spki() {
        use p256::pkcs8::EncodePublicKey;
        use sha2::{Digest, Sha256};
        let key = generate().unwrap();
        let der = key.verifying_key().to_public_key_der().unwrap();
        assert_eq!(public_key(key.verifying_key()).id().0, Sha256::digest(der.as_bytes()).as_slice());
    }

    #[test]
    fn failed_write_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let taken = dir.path().join("taken");
        fs::create_dir(&taken).unwrap();
        assert!(write(&taken, b"x").is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}

//! Secret files: encrypted under passphrases with age (age-encryption.org/v1, scrypt), or plain for development.
//!
//! A file that takes two people is encrypted twice, under the passphrase of the one and then of the other: `age -d` twice opens
//! it too. A file with the suffix `.age` is encrypted, any other is plain; both are refused when others may read them.

use std::io::{Read, Write};
use std::path::Path;

use age::secrecy::{ExposeSecret, SecretString};
use anyhow::{Context, Result, anyhow, bail, ensure};
use p256::ecdsa::SigningKey;
use p256::pkcs8::DecodePrivateKey;
use zeroize::Zeroizing;

use crate::files;
use crate::roles::Role;

/// Suffix of encrypted files.
pub const SUFFIX: &str = "age";
/// The environment variable with the service's passphrase.
pub const PASSPHRASE_VARIABLE: &str = "TRUSTBOX_KEYS_PASSPHRASE";
/// Characters of a passphrase at least.
pub const MIN_PASSPHRASE: usize = 12;

/// A passphrase; never shown.
pub type Passphrase = SecretString;

/// scrypt's N of new files, as a power of two: 128 MiB of memory, and about half a second.
pub const WORK_FACTOR: u8 = 17;
/// The largest N of files that are read.
const MAX_WORK_FACTOR: u8 = 20;

/// Encrypts for all of these together.
pub fn encrypt(bytes: &[u8], passphrases: &[Passphrase], work_factor: u8) -> Result<Zeroizing<Vec<u8>>> {
    ensure!(!passphrases.is_empty(), "nothing is encrypted without a passphrase");
    passphrases.iter().try_fold(Zeroizing::new(bytes.to_vec()), |bytes, passphrase| {
        let mut recipient = age::scrypt::Recipient::new(passphrase.clone());
        recipient.set_work_factor(work_factor);
        let recipients = std::iter::once(&recipient as &dyn age::Recipient);
        let mut out = Vec::new();
        let mut writer = age::Encryptor::with_recipients(recipients)?.wrap_output(&mut out)?;
        writer.write_all(&bytes)?;
        writer.finish()?;
        Ok(Zeroizing::new(out))
    })
}

/// Decrypts what [`encrypt`] made of the same passphrases in the same order.
pub fn decrypt(bytes: &[u8], passphrases: &[Passphrase]) -> Result<Zeroizing<Vec<u8>>> {
    passphrases.iter().rev().try_fold(Zeroizing::new(bytes.to_vec()), |bytes, passphrase| {
        let decryptor = age::Decryptor::new_buffered(&bytes[..])
            .map_err(|_| anyhow!("not encrypted so often, or not with age"))?;
        let mut identity = age::scrypt::Identity::new(passphrase.clone());
        identity.set_max_work_factor(MAX_WORK_FACTOR);
        let mut reader =
            decryptor.decrypt(std::iter::once(&identity as &dyn age::Identity)).map_err(|_| {
                anyhow!("wrong passphrase\nhelp: where two people are needed, the first one's comes first")
            })?;
        let mut out = Zeroizing::new(Vec::with_capacity(bytes.len()));
        reader.read_to_end(&mut out).map_err(|_| anyhow!("the file is damaged"))?;
        Ok(out)
    })
}

/// Reads a secret file, encrypted or plain.
pub fn read(path: &Path, passphrases: &[Passphrase]) -> Result<Zeroizing<Vec<u8>>> {
    let bytes = files::read_private(path)?;
    if !is_encrypted(path) {
        return Ok(bytes);
    }
    if passphrases.is_empty() {
        bail!(
            "{} is encrypted, and no passphrase is given\nhelp: passphrase-file, or the environment variable {PASSPHRASE_VARIABLE}",
            path.display()
        );
    }
    decrypt(&bytes, passphrases).with_context(|| path.display().to_string())
}

/// Reads a private P-256 key, encrypted or plain.
pub fn read_signing_key(path: &Path, passphrases: &[Passphrase]) -> Result<SigningKey> {
    let bytes = read(path, passphrases)?;
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    // The parser's words are not shown: they could quote the key.
    let key = SigningKey::from_pkcs8_pem(text).ok();
    key.with_context(|| format!("{}: not a P-256 private key in PKCS#8 PEM", path.display()))
}

/// A passphrase from a file that nobody else may read: its first line.
pub fn read_passphrase(path: &Path) -> Result<Passphrase> {
    let bytes = files::read_private(path)?;
    let text = std::str::from_utf8(&bytes).ok().with_context(|| format!("{}: not UTF-8", path.display()))?;
    let passphrase = SecretString::from(text.lines().next().unwrap_or_default().to_owned());
    check(&passphrase).with_context(|| path.display().to_string())?;
    Ok(passphrase)
}

/// A passphrase that somebody types at the terminal, without echo.
pub fn ask(what: &str) -> Result<Passphrase> {
    let typed = rpassword::prompt_password(format!("{what}: ")).map(SecretString::from);
    let typed =
        typed.with_context(|| format!("{what}: nobody to ask at a terminal\nhelp: give it in a file"))?;
    check(&typed)?;
    Ok(typed)
}

/// A new one, typed twice.
pub fn ask_for_new(what: &str) -> Result<Passphrase> {
    let (first, second) = (ask(what)?, ask(&format!("{what}, again"))?);
    ensure!(first.expose_secret() == second.expose_secret(), "{what}: not the same twice");
    Ok(first)
}

/// What opens a file of a ceremony, from the terminal; nothing for a file that is not encrypted.
pub fn ask_for_file(path: &Path) -> Result<Vec<Passphrase>> {
    if !is_encrypted(path) {
        return Ok(Vec::new());
    }
    let (shown, name) = (path.display(), path.file_name().unwrap_or_default());
    let takes_two = |role: &Role| role.takes_two() && name == role.private_file_name(SUFFIX).as_str();
    if Role::ALL.iter().any(takes_two) {
        let who = ["first", "second"];
        return who
            .iter()
            .map(|who| ask(&format!("passphrase of the {who} custodian for {shown}")))
            .collect();
    }
    Ok(vec![ask(&format!("passphrase for {shown}"))?])
}

fn is_encrypted(path: &Path) -> bool {
    path.extension().is_some_and(|suffix| suffix == SUFFIX)
}

/// The service's passphrase, from its file or the environment; none where neither is.
pub fn passphrase_of_service(file: Option<&Path>) -> Result<Vec<Passphrase>> {
    match (file, std::env::var(PASSPHRASE_VARIABLE)) {
        (Some(path), _) => Ok(vec![read_passphrase(path)?]),
        (None, Ok(text)) => Ok(vec![SecretString::from(text)]),
        (None, Err(_)) => Ok(Vec::new()),
    }
}

/// Long enough.
pub fn check(passphrase: &Passphrase) -> Result<()> {
    let found = passphrase.expose_secret().chars().count();
    ensure!(
        found >= MIN_PASSPHRASE,
        "a passphrase of {found} characters, expected at least {MIN_PASSPHRASE}"
    );
    Ok(())
}

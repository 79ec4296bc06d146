//! Whose keys there are and how each is made: the same for an owner's ceremony and for development.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, ensure};
use p256::pkcs8::{EncodePrivateKey, LineEnding};
use rsa::RsaPublicKey;
use rsa::pkcs8::DecodePublicKey;
use sha2::{Digest, Sha256};
use trustbox_api::Bytes;
use trustbox_package::sign::public_key;
use zeroize::Zeroizing;

use crate::files;

/// Whose key it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Lets owners pin their root; its hash is compiled into the TA.
    ProvisioningAuthority,
    /// Delegates everything else.
    OwnerRoot,
    /// Certifies devices.
    FactoryCa,
    /// Signs packages.
    Publisher,
    /// Signs key bundles.
    Releaser,
    /// Signs revocations.
    Revoker,
    /// Signs trusted applications for OP-TEE.
    TaSigning,
    /// Signs the FIT images that U-Boot starts.
    FitSigning,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::ProvisioningAuthority,
        Self::OwnerRoot,
        Self::FactoryCa,
        Self::Publisher,
        Self::Releaser,
        Self::Revoker,
        Self::TaSigning,
        Self::FitSigning,
    ];

    /// As in file names.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ProvisioningAuthority => "provisioning-authority",
            Self::OwnerRoot => "owner-root",
            Self::FactoryCa => "factory-ca",
            Self::Publisher => "publisher",
            Self::Releaser => "releaser",
            Self::Revoker => "revoker",
            Self::TaSigning => "ta-signing",
            Self::FitSigning => "fit-signing",
        }
    }

    /// Whether it is an RSA-3072 key, because what verifies it knows nothing else; P-256 otherwise.
    pub const fn is_rsa(self) -> bool {
        matches!(self, Self::TaSigning | Self::FitSigning)
    }

    /// Whether two people together use it, and never a service.
    pub const fn takes_two(self) -> bool {
        matches!(self, Self::OwnerRoot)
    }

    /// Name of the file with the private half.
    pub fn private_file_name(self, suffix: &str) -> String {
        format!("{}.key.{suffix}", self.name())
    }

    /// Name of the file with the public half.
    pub fn public_file_name(self) -> String {
        format!("{}.pub.pem", self.name())
    }
}

/// How secret files are written.
pub trait Protect {
    /// What the file's name ends in, without a dot.
    fn suffix(&self) -> &str;

    /// The file's content.
    fn protect(&self, secret: &[u8]) -> Result<Zeroizing<Vec<u8>>>;

    /// Name of the file with a role's private key.
    fn file_name(&self, role: Role) -> String {
        role.private_file_name(self.suffix())
    }
}

/// As it is: for development only.
pub struct Plain;

impl Protect for Plain {
    fn suffix(&self) -> &str {
        "pem"
    }

    fn protect(&self, secret: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        Ok(Zeroizing::new(secret.to_vec()))
    }
}

/// Makes the key of a role in a folder, private and public file; returns SHA-256 of its SubjectPublicKeyInfo.
pub fn make(dir: &Path, role: Role, protection: &(impl Protect + ?Sized)) -> Result<Bytes<32>> {
    let path = dir.join(protection.file_name(role));
    ensure!(!path.exists(), "{} is there already\nhelp: keys are never replaced", path.display());
    let public = dir.join(role.public_file_name());
    if role.is_rsa() {
        let pem = generate_rsa()?;
        files::write_private(&path, &protection.protect(&pem)?)?;
        files::write(&public, &public_of(&pem)?)?;
    } else {
        let key = files::generate()?;
        let pem =
            key.to_pkcs8_pem(LineEnding::LF).map_err(|error| anyhow!("cannot encode a key: {error}"))?;
        files::write_private(&path, &protection.protect(pem.as_bytes())?)?;
        files::store_public(&public, &key)?;
    }
    fingerprint(&public)
}

/// SHA-256 of the SubjectPublicKeyInfo in a PEM file.
pub fn fingerprint(path: &Path) -> Result<Bytes<32>> {
    if let Ok(key) = files::load_public(path) {
        return Ok(key.id());
    }
    let bytes = files::read(path)?;
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    let key = RsaPublicKey::from_public_key_pem(text).ok();
    let key =
        key.with_context(|| format!("{}: neither a P-256 nor an RSA public key in PEM", path.display()))?;
    let der = rsa::pkcs8::EncodePublicKey::to_public_key_der(&key)?;
    Ok(Bytes(Sha256::digest(der.as_bytes()).into()))
}

/// An RSA-3072 key in PKCS#8 PEM. The host's openssl makes it: crate `rsa` is for public keys here.
fn generate_rsa() -> Result<Zeroizing<Vec<u8>>> {
    let arguments = ["genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072"];
    openssl(&arguments, &[])
}

fn public_of(pem: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    openssl(&["pkey", "-pubout"], pem)
}

/// Secrets go through pipes, not through files.
fn openssl(arguments: &[&str], input: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    use std::io::Write;
    let command = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = command.context("cannot start openssl\nhelp: install the Debian package openssl")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input)?;
    }
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "openssl {} ended with {}", arguments.join(" "), output.status);
    Ok(Zeroizing::new(output.stdout))
}

/// The public half of a P-256 key, for the tests of others.
pub fn public_id(key: &crate::SigningKey) -> Bytes<32> {
    public_key(key.verifying_key()).id()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_both_kinds_are_made_once() {
        let dir = tempfile::tempdir().unwrap();
        for role in [Role::Releaser, Role::FitSigning] {
            let id = make(dir.path(), role, &Plain).unwrap();
            assert_eq!(fingerprint(&dir.path().join(role.public_file_name())).unwrap(), id);
            assert!(make(dir.path(), role, &Plain).unwrap_err().to_string().contains("never replaced"));
        }
        let releaser = files::load_private(&dir.path().join("releaser.key.pem")).unwrap();
        assert_eq!(fingerprint(&dir.path().join("releaser.pub.pem")).unwrap(), public_id(&releaser));
    }
}

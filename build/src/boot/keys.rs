//! Keys of verified boot: RSA-3072, a folder with two files for each role. `ROLE.pub.pem` is the public key; the private one is
//! in `ROLE.key`, or in the PKCS#11 token that `ROLE.uri` names.
//!
//! Everything that is built takes public keys only; what is signed asks [`Keys::sign`], wherever the key is. Development keys
//! are made on first use, in `target/dev-keys/boot`, and are worth nothing.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaPublicKeyComponents};
use trustbox_boot_image::secure::RootKey;
use trustbox_pkcs11::{RsaKey, Uri};

use crate::boot::root_keys::read_public;
use crate::builder::Builder;
use crate::hash::Key;
use crate::sign_ta::{Algorithm, SigningKey};
use crate::tool::Tool;

/// Bits of every key.
pub(crate) const BITS: &str = "3072";
/// Octets of every modulus, and so of every signature.
pub(crate) const OCTETS: usize = 384;
/// The exponent of every key: 65537.
const EXPONENT: [u8; 3] = [1, 0, 1];

/// What a key signs. The names are those of its file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Role {
    /// The root of trust: the certificates of BL2 and of the two worlds' keys.
    Root,
    /// Keys of BL31 and OP-TEE.
    TrustedWorld,
    /// The key of U-Boot.
    NormalWorld,
    /// BL31.
    Monitor,
    /// OP-TEE.
    Optee,
    /// U-Boot.
    UBoot,
    /// Kernel, device tree and RAM disk.
    Image,
}

impl Role {
    pub(crate) const ALL: [Self; 7] = [
        Self::Root,
        Self::TrustedWorld,
        Self::NormalWorld,
        Self::Monitor,
        Self::Optee,
        Self::UBoot,
        Self::Image,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::TrustedWorld => "trusted-world",
            Self::NormalWorld => "normal-world",
            Self::Monitor => "monitor",
            Self::Optee => "optee",
            Self::UBoot => "u-boot",
            Self::Image => "image",
        }
    }
}

/// A public key in a file, as its DER.
pub(crate) fn public_der(path: &Path) -> Result<Vec<u8>> {
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let (label, der) =
        pem_rfc7468::decode_vec(&text).map_err(|error| anyhow!("{}: {error}", path.display()))?;
    ensure!(label == "PUBLIC KEY", "{} holds {label}", path.display());
    Ok(der)
}

/// A folder with all keys.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    folder: PathBuf,
    /// Whether they are worth nothing.
    pub(crate) development: bool,
}

impl Keys {
    /// Keys of somebody else's making: each role has a public key, and a private one that fits, here or in a token.
    pub(crate) fn load(folder: &Path) -> Result<Self> {
        let keys = Self { folder: folder.to_path_buf(), development: false };
        Role::ALL.iter().try_for_each(|role| keys.check(*role))?;
        Ok(keys)
    }

    /// Makes the keys that a folder lacks.
    pub(crate) fn ensure(folder: PathBuf, log: &Path) -> Result<Self> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.with_context(|| format!("cannot make {}", folder.display()))?;
        let keys = Self { folder, development: true };
        for role in Role::ALL {
            ensure_pair(&keys.file(role, "key"), &keys.public(role), BITS, log)?;
        }
        Ok(keys)
    }

    /// The public key of a role.
    pub(crate) fn public(&self, role: Role) -> PathBuf {
        self.file(role, "pub.pem")
    }

    /// The same as SubjectPublicKeyInfo in DER.
    pub(crate) fn public_der(&self, role: Role) -> Result<Vec<u8>> {
        public_der(&self.public(role))
    }

    /// Signs as a role, and does not believe the key that it is the one of the public key.
    pub(crate) fn sign(&self, role: Role, algorithm: Algorithm, message: &[u8]) -> Result<Vec<u8>> {
        let signature = self.private(role)?.sign(algorithm, message)?;
        let RootKey { modulus, exponent } = read_public(&self.public(role))?;
        let scheme = match algorithm {
            Algorithm::Pss => &RSA_PSS_2048_8192_SHA256,
            Algorithm::Pkcs1v15 => &RSA_PKCS1_2048_8192_SHA256,
        };
        let public = RsaPublicKeyComponents { n: modulus, e: exponent };
        ensure!(
            public.verify(scheme, message, &signature).is_ok(),
            "what {} signed does not verify under {}",
            role.name(),
            self.public(role).display()
        );
        Ok(signature)
    }

    /// Adds all that decides what is signed: public keys, and where the private ones are.
    pub(crate) fn add_to(&self, key: Key) -> Result<Key> {
        let mut key = key;
        for role in Role::ALL {
            key = key.file(&self.public(role))?;
            let uri = self.file(role, "uri");
            key = if uri.is_file() { key.file(&uri)? } else { key.text("file") };
        }
        Ok(key)
    }

    fn file(&self, role: Role, kind: &str) -> PathBuf {
        self.folder.join(format!("{}.{kind}", role.name()))
    }

    /// The public key is of the one size, and the private one is there and is its other half.
    fn check(&self, role: Role) -> Result<()> {
        let path = self.public(role);
        let RootKey { modulus, exponent } = read_public(&path)?;
        let bits = modulus.len() * 8;
        ensure!(
            modulus.len() == OCTETS && exponent == EXPONENT,
            "{}: RSA key of {bits} bits, exponent 0x{}; expected {BITS} bits, exponent 0x010001",
            path.display(),
            crate::hash::hex(&exponent)
        );
        let private = self.private(role)?;
        ensure!(
            private.modulus() == modulus,
            "the private key of {} is not the other half of {}\nhelp: name the key that belongs to it",
            role.name(),
            path.display()
        );
        Ok(())
    }

    /// The private key of a role: in the one file that there is, or where the other one says.
    fn private(&self, role: Role) -> Result<SigningKey> {
        let [key, uri] = ["key", "uri"].map(|kind| self.file(role, kind));
        match (key.exists(), uri.exists()) {
            (true, false) => SigningKey::load(&key),
            (false, true) => in_token(&uri).with_context(|| format!("key of {}", role.name())),
            (true, true) => bail!(
                "{} and {} are both there\nhelp: remove the one that is not meant",
                key.display(),
                uri.display()
            ),
            (false, false) => bail!(
                "{} has neither {name}.key nor {name}.uri\nhelp: a PEM file, or a file with pkcs11:… of the key in a token",
                self.folder.display(),
                name = role.name()
            ),
        }
    }

    /// SHA-256 of the root's public key, as BL1 or BL2 has it.
    pub(crate) fn root_digest(&self) -> Result<Vec<u8>> {
        let der = self.public_der(Role::Root)?;
        Ok(ring::digest::digest(&ring::digest::SHA256, &der).as_ref().to_vec())
    }
}

/// A key in a token, by a file with its URI. A PIN is never in it: the URI's parser refuses that.
fn in_token(file: &Path) -> Result<SigningKey> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let uri: Uri = text.trim().parse().with_context(|| file.display().to_string())?;
    Ok(SigningKey::in_token(RsaKey::open(&uri)?))
}

/// Makes an RSA development key, unless both files are there. OpenSSL writes private keys that only their owner reads; that file
/// is there last.
pub(crate) fn ensure_pair(private: &Path, public: &Path, bits: &str, log: &Path) -> Result<()> {
    if private.is_file() && public.is_file() {
        return Ok(());
    }
    let part = private.with_file_name("unfinished");
    let openssl = || Tool::new("openssl");
    openssl().args(["genrsa", "-out"]).arg(&part).arg(bits).run(log)?;
    openssl().args(["rsa", "-in"]).arg(&part).args(["-pubout", "-out"]).arg(public).run(log)?;
    Ok(fs::rename(part, private)?)
}

impl Builder {
    /// The development keys of verified boot.
    pub(crate) fn boot_keys(&self) -> Result<Keys> {
        Keys::ensure(self.repo.dev_keys().join("boot"), &self.log("boot-keys"))
    }

    /// The keys of a folder, or development keys.
    pub(crate) fn boot_keys_of(&self, folder: Option<&Path>) -> Result<Keys> {
        folder.map_or_else(|| self.boot_keys(), Keys::load)
    }
}

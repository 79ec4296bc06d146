//! Keys of verified boot: RSA-3072 as PEM files, which any of them may be replaced by.
//!
//! Development keys are made on first use, in `target/dev-keys/boot`, and are worth nothing.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::builder::Builder;
use crate::tool::Tool;

/// Bits of every key.
pub(crate) const BITS: &str = "3072";
/// Days that the certificate around the image's key lasts: its dates are never looked at.
const DAYS: &str = "36500";

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

/// A folder with all keys.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    folder: PathBuf,
}

impl Keys {
    /// The private key of a role.
    pub(crate) fn private(&self, role: Role) -> PathBuf {
        self.folder.join(format!("{}.key", role.name()))
    }

    /// The public key of a role.
    pub(crate) fn public(&self, role: Role) -> PathBuf {
        self.folder.join(format!("{}.pub.pem", role.name()))
    }

    /// The folder: tools of U-Boot take it, and a name.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes the keys that a folder lacks.
    pub(crate) fn ensure(folder: PathBuf, log: &Path) -> Result<Self> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.with_context(|| format!("cannot make {}", folder.display()))?;
        let keys = Self { folder };
        Role::ALL.iter().try_for_each(|role| keys.ensure_one(*role, log))?;
        Ok(keys)
    }

    /// A key is there with everything that belongs to it.
    fn ensure_one(&self, role: Role, log: &Path) -> Result<()> {
        let (private, public) = (self.private(role), self.public(role));
        let certificate = self.folder.join(format!("{}.crt", role.name()));
        if private.is_file() && public.is_file() && certificate.is_file() {
            return Ok(());
        }
        make_pair(&private, &public, BITS, log, |part| {
            let subject = format!("/CN=TrustBox NOT-TRUSTED {}", role.name());
            let request = Tool::new("openssl").args(["req", "-batch", "-new", "-x509", "-days", DAYS]);
            request.args(["-subj", &subject, "-key"]).arg(part).arg("-out").arg(&certificate).run(log)
        })
    }

    /// SHA-256 of the root's public key, as BL1 or BL2 has it.
    pub(crate) fn root_digest(&self) -> Result<Vec<u8>> {
        let text = fs::read_to_string(self.public(Role::Root))?;
        let (label, der) =
            pem_rfc7468::decode_vec(text.as_bytes()).map_err(|error| anyhow::anyhow!("{error}"))?;
        ensure!(label == "PUBLIC KEY", "{} holds {label}", self.public(Role::Root).display());
        Ok(ring::digest::digest(&ring::digest::SHA256, &der).as_ref().to_vec())
    }
}

/// Makes an RSA development key, unless both files are there.
pub(crate) fn ensure_pair(private: &Path, public: &Path, bits: &str, log: &Path) -> Result<()> {
    if private.is_file() && public.is_file() {
        return Ok(());
    }
    make_pair(private, public, bits, log, |_| Ok(()))
}

/// OpenSSL writes private keys that only their owner reads. The private file is there last, after what `more` makes of it.
fn make_pair(
    private: &Path,
    public: &Path,
    bits: &str,
    log: &Path,
    more: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let part = private.with_file_name("unfinished");
    let openssl = || Tool::new("openssl");
    openssl().args(["genrsa", "-out"]).arg(&part).arg(bits).run(log)?;
    openssl().args(["rsa", "-in"]).arg(&part).args(["-pubout", "-out"]).arg(public).run(log)?;
    more(&part)?;
    Ok(fs::rename(part, private)?)
}

impl Builder {
    /// The development keys of verified boot.
    pub(crate) fn boot_keys(&self) -> Result<Keys> {
        Keys::ensure(self.repo.dev_keys().join("boot"), &self.log("boot-keys"))
    }
}

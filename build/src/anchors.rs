//! Whom a firmware believes: who signs enclaves for OP-TEE, and the provisioning authority. Whoever makes devices names both;
//! development keys of this clone stand in.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use trustbox_api::PublicKey;
use trustbox_keys::{dev, files};
use trustbox_package::sign::{Es256, public_key};
use trustbox_pkcs11::EcKey;

use crate::boot::root_keys::read_public;
use crate::builder::Builder;
use crate::pack::source::Source;
use crate::sign_ta::SigningKey;
use crate::tool::Tool;

/// Octets of a modulus that OP-TEE verifies with: RSA of 2048 to 4096 bits.
const MODULUS: std::ops::RangeInclusive<usize> = 256..=512;

/// Which keys, as a command line says it.
#[derive(Clone, Default, clap::Args)]
pub(crate) struct Anchors {
    /// Public key, RSA in PEM, of whoever signs enclaves for OP-TEE; a development key where it is left out
    #[arg(long, value_name = "FILE")]
    ta_key: Option<PathBuf>,
    /// Key of the provisioning authority, P-256: private, in a file or in a token (pkcs11:…), and it signs the reference values
    /// too; or public, in PEM. A development key where it is left out
    #[arg(long, value_name = "KEY")]
    authority: Option<Source>,
}

impl Anchors {
    /// Names of development keys among them.
    pub(crate) fn development(&self) -> Vec<&'static str> {
        let all =
            [("TA-signing key", self.ta_key.is_none()), ("provisioning authority", self.authority.is_none())];
        all.iter().filter(|(_, development)| *development).map(|(name, _)| *name).collect()
    }

    /// Why nobody should trust a device with what was made: development keys, of `others` those that are some, and what else there is.
    pub(crate) fn not_trusted(&self, others: &[(&'static str, bool)], besides: &str) -> String {
        let others = others.iter().filter(|(_, development)| *development).map(|(name, _)| *name);
        let keys: Vec<_> = others.chain(self.development()).collect();
        match keys.is_empty() {
            true => besides.to_owned(),
            false => format!("development keys: {}; {besides}", keys.join(", ")),
        }
    }

    /// Whether reference values get a signature.
    pub(crate) fn signs(&self) -> bool {
        match &self.authority {
            Some(Source::File(path)) => files::load_private(path).is_ok(),
            Some(Source::Token(_)) | None => true,
        }
    }

    /// Both named, in files.
    pub(crate) fn named(ta_key: &Path, authority: &Path) -> Self {
        Self { ta_key: Some(ta_key.to_owned()), authority: Some(Source::File(authority.to_owned())) }
    }
}

impl Builder {
    /// The key that OP-TEE verifies enclaves with.
    pub(crate) fn ta_public_key(&self) -> Result<PathBuf> {
        match &self.anchors.ta_key {
            Some(path) => ta_key(path),
            None => self.development_ta_key(),
        }
    }

    fn development_ta_key(&self) -> Result<PathBuf> {
        let [private, public] =
            ["ta-signing.pem", "ta-signing.pub.pem"].map(|name| self.repo.dev_keys().join(name));
        SigningKey::load_or_generate(&private)?;
        let made = |path: &Path| fs::metadata(path).and_then(|found| found.modified()).ok();
        if made(&public) < made(&private) {
            let pem = Tool::new("openssl").args(["pkey", "-pubout", "-in"]).arg(&private).output()?;
            fs::write(&public, pem)?;
        }
        Ok(public)
    }

    /// The public key of the provisioning authority.
    pub(crate) fn authority(&self) -> Result<PublicKey> {
        Ok(match &self.anchors.authority {
            Some(Source::File(path)) => files::load_public(path)?,
            Some(Source::Token(uri)) => EcKey::open(uri)?.public_key(),
            None => public_key(dev::ensure(&self.repo.dev_keys())?.provisioning_authority.verifying_key()),
        })
    }

    /// The file with its hash, which the TA is built with.
    pub(crate) fn provisioning_authority(&self) -> Result<PathBuf> {
        let id = self.authority()?.id().to_string();
        let path = self.work("authority")?.join(&id);
        if !path.is_file() {
            fs::write(&path, format!("{id}\n"))
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(path)
    }

    /// What signs reference values: nothing where only the authority's public key is here.
    pub(crate) fn reference_signer(&self) -> Result<Option<Box<dyn Es256>>> {
        Ok(match &self.anchors.authority {
            Some(Source::File(path)) if self.anchors.signs() => Some(Box::new(files::load_private(path)?)),
            Some(Source::File(_)) => None,
            Some(Source::Token(uri)) => Some(Box::new(EcKey::open(uri)?)),
            None => Some(Box::new(dev::ensure(&self.repo.dev_keys())?.provisioning_authority)),
        })
    }
}

/// OP-TEE's build reads whatever is in the file, and says little where it is no public key.
fn ta_key(path: &Path) -> Result<PathBuf> {
    let octets = read_public(path)?.modulus.len();
    ensure!(
        MODULUS.contains(&octets),
        "{}: an RSA key of {} bits\nhelp: OP-TEE verifies with 2048 to 4096",
        path.display(),
        octets * 8
    );
    fs::canonicalize(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(folder: &Path, name: &str, words: &[&str]) {
        let private = folder.join(name);
        Tool::new("openssl").args(["genpkey", "-out"]).arg(&private).args(words).output().unwrap();
        let public = Tool::new("openssl").args(["pkey", "-pubout", "-in"]).arg(&private);
        public.arg("-out").arg(folder.join(format!("{name}.pub"))).output().unwrap();
    }

    #[test]
    fn what_optee_verifies_with_is_an_rsa_key_of_its_sizes() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        made(folder.path(), "2048", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]);
        made(folder.path(), "1024", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"]);
        made(folder.path(), "ec", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
        assert!(ta_key(&at("2048.pub")).is_ok());
        for (name, reason) in [
            ("1024.pub", "an RSA key of 1024 bits"),
            ("ec.pub", "help: it is an RSA public key"),
            ("2048", "RSA public key"),
            ("none", "cannot read"),
        ] {
            let error = format!("{:#}", ta_key(&at(name)).unwrap_err());
            assert!(error.contains(reason), "{name}: {error}");
        }
    }

    #[test]
    fn development_keys_are_named_and_a_public_authority_signs_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let key = files::generate().unwrap();
        files::store_private(&at("authority"), &key).unwrap();
        files::store_public(&at("authority.pub"), &key).unwrap();
        assert_eq!(Anchors::default().development(), ["TA-signing key", "provisioning authority"]);
        let mut anchors = Anchors { ta_key: Some(at("ta")), authority: Some(Source::File(at("authority"))) };
        assert!(anchors.development().is_empty() && anchors.signs());
        anchors.authority = Some(Source::File(at("authority.pub")));
        assert!(!anchors.signs());
        assert_eq!(anchors.not_trusted(&[("boot keys", false)], "an emulated device"), "an emulated device");
        let said = Anchors::default().not_trusted(&[("boot keys", true)], "x");
        assert_eq!(said, "development keys: boot keys, TA-signing key, provisioning authority; x");
    }
}

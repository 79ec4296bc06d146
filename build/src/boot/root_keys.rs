//! Super root keys: the four RSA keys that a chip's boot ROM believes, by the digest of their table in its fuses. One signs;
//! the others are for the day when it must be revoked.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use rsa::pkcs8::DecodePublicKey;
use rsa::traits::PublicKeyParts;
use sha2::{Digest, Sha256};
use trustbox_boot_image::secure::{Claim, KeyTable, Prepared, RootKey, Signing};
use trustbox_pkcs11::RsaKey;

use crate::boot::keys::ensure_pair;
use crate::builder::Builder;
use crate::pack::source::Source;
use crate::sign_ta::{Algorithm, SigningKey};

/// Bits of development keys: the boot ROM takes 2048 and 4096.
const BITS: &str = "2048";
const KEYS: usize = 4;

/// The table, and who signs for it.
pub(crate) struct RootKeys {
    pub(crate) signing: Signing,
    /// Whether they are worth nothing.
    pub(crate) development: bool,
    key: SigningKey,
}

/// Which keys, as a command line says it. Nothing said means development keys.
#[derive(Clone, clap::Args)]
pub(crate) struct Choice {
    /// With --verified, for boards: public super root key in PEM, one to four times, in the order of the table
    #[arg(long = "root-key-public", value_name = "FILE")]
    public: Vec<PathBuf>,
    /// The private key that signs: a file, or pkcs11:…
    #[arg(long = "root-key", value_name = "KEY", requires = "public")]
    private: Option<Source>,
    /// Which key of the table signs, counted from one
    #[arg(long = "root-key-number", value_name = "N", default_value_t = 1)]
    number: u8,
    /// Keys that were revoked in some device: they cannot sign
    #[arg(long = "root-key-revoked", value_name = "N", value_delimiter = ',')]
    revoked: Vec<u8>,
}

impl Default for Choice {
    fn default() -> Self {
        Self { public: Vec::new(), private: None, number: 1, revoked: Vec::new() }
    }
}

impl Choice {
    /// Whether the keys are worth nothing.
    pub(crate) fn development(&self) -> bool {
        self.public.is_empty()
    }

    /// The keys that were named.
    pub(crate) fn load(&self) -> Result<RootKeys> {
        let help = "help: --root-key names a file or a token (pkcs11:…)";
        let private = self.private.as_ref().with_context(|| format!("no key that signs\n{help}"))?;
        self.of(&self.public, private)
    }

    fn of(&self, public: &[PathBuf], private: &Source) -> Result<RootKeys> {
        let table = KeyTable::new(public.iter().map(|path| read_public(path)).collect::<Result<_>>()?)?;
        let signing = Signing { table, key: self.number, revoked: self.revoked.clone() };
        let key = match private {
            Source::File(path) => SigningKey::load(path)?,
            Source::Token(uri) => SigningKey::in_token(RsaKey::open(uri)?),
        };
        Ok(RootKeys { signing, development: self.development(), key })
    }
}

impl Builder {
    /// The keys that were chosen, or development keys.
    pub(crate) fn root_keys(&self, choice: &Choice) -> Result<RootKeys> {
        if !choice.development() {
            return choice.load();
        }
        let folder = self.repo.dev_keys().join("boot");
        let public = development_keys(&folder, &self.log("boot-keys"))?;
        choice.of(&public, &Source::File(folder.join(format!("srk-{}.key", choice.number))))
    }
}

impl RootKeys {
    /// Signs both parts, and does not believe the key that it is the one of the table.
    pub(crate) fn sign(&self, prepared: Prepared) -> Result<Vec<u8>> {
        let [pbi, bl2] = &prepared.messages;
        let [pbi, bl2] = [pbi, bl2].map(|message| self.key.sign(Algorithm::Pkcs1v15, message));
        let image = prepared.finish([&pbi?, &bl2?])?;
        let claims = trustbox_boot_image::secure::claims(&image)?.context("SB_EN is not set")?;
        ensure!(
            claims.iter().all(holds),
            "the key that signs is not key {} of the table\nhelp: --root-key-number says which one it is",
            self.signing.key
        );
        Ok(image)
    }

    /// SHA-256 of the table, as the fuses hold it.
    pub(crate) fn digest(&self) -> [u8; 32] {
        table_digest(&self.signing.table)
    }
}

/// SHA-256 of a table.
pub(crate) fn table_digest(table: &KeyTable) -> [u8; 32] {
    Sha256::digest(table.encode()).into()
}

/// Whether a signature is right under the key that its header names.
pub(crate) fn holds(claim: &Claim) -> bool {
    let Some(RootKey { modulus, exponent }) = claim.key() else { return false };
    let key = RsaPublicKeyComponents { n: modulus, e: exponent };
    key.verify(&RSA_PKCS1_2048_8192_SHA256, &claim.message, &claim.signature).is_ok()
}

/// An RSA public key in PEM.
pub(crate) fn read_public(path: &Path) -> Result<RootKey> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let key = rsa::RsaPublicKey::from_public_key_pem(&text);
    let key =
        key.map_err(|error| anyhow!("{}: {error}\nhelp: it is an RSA public key in PEM", path.display()))?;
    Ok(of_rsa(&key))
}

/// The numbers of a key.
pub(crate) fn of_rsa(key: &rsa::RsaPublicKey) -> RootKey {
    RootKey {
        modulus: key.n().to_be_bytes_trimmed_vartime().into(),
        exponent: key.e().to_be_bytes_trimmed_vartime().into(),
    }
}

/// Four keys, made on first use.
fn development_keys(folder: &Path, log: &Path) -> Result<Vec<PathBuf>> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let one = |number: usize| {
        let [private, public] = ["key", "pub.pem"].map(|kind| folder.join(format!("srk-{number}.{kind}")));
        ensure_pair(&private, &public, BITS, log)?;
        Ok(public)
    };
    (1..=KEYS).map(one).collect()
}

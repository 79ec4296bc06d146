//! Signs trusted applications for OP-TEE: the signed header of its bootstrap format, written from its specification.
//!
//! Layout: header (20 octets), SHA-256, signature, UUID (16), version (4), ELF. The digest is over everything except
//! itself and the signature, and the signature is over the digest.

pub(crate) mod subkeys;

use std::fs;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use ring::rand::SystemRandom;
use ring::rsa::KeyPair;
use ring::signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaPublicKeyComponents};
use sha2::{Digest, Sha256};
use trustbox_package::original::Rs256;
use trustbox_package::sign::SignError;
use trustbox_pkcs11::RsaKey;

use crate::tool::Tool;

const MAGIC: u32 = 0x4f54_5348;
const BOOTSTRAP_TA: u32 = 1;
const HEADER_SIZE: usize = 20;
const DIGEST_SIZE: usize = 32;
/// UUID and version, between signature and ELF.
const IDENTITY_SIZE: usize = 20;

/// Signature algorithm, as OP-TEE numbers it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Algorithm {
    /// RSASSA-PSS with MGF1 and SHA-256: OP-TEE's default.
    Pss,
    /// RSASSA-PKCS1-v1_5 with SHA-256: deterministic.
    Pkcs1v15,
}

impl Algorithm {
    fn number(self) -> u32 {
        match self {
            Self::Pss => 0x7041_4930,
            Self::Pkcs1v15 => 0x7000_4830,
        }
    }

    fn encoding(self) -> &'static dyn RsaEncoding {
        match self {
            Self::Pss => &RSA_PSS_SHA256,
            Self::Pkcs1v15 => &RSA_PKCS1_SHA256,
        }
    }
}

/// An RSA private key for signing, in memory or in a PKCS#11 token.
pub struct SigningKey(Place);

enum Place {
    Memory(KeyPair),
    Token(RsaKey),
}

impl SigningKey {
    /// Reads a PKCS#8 PEM file; refuses one that others may read.
    pub fn load(path: &Path) -> Result<Self> {
        let mode = fs::metadata(path)
            .with_context(|| format!("cannot read {}", path.display()))?
            .permissions()
            .mode();
        ensure!(
            mode & 0o077 == 0,
            "key {} has mode {:o}, not 600\nhelp: chmod 600 {}",
            path.display(),
            mode & 0o777,
            path.display()
        );
        let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(path, &text)
    }

    /// `path` is for messages.
    fn parse(path: &Path, text: &[u8]) -> Result<Self> {
        let (label, der) =
            pem_rfc7468::decode_vec(text).map_err(|error| anyhow!("{}: {error}", path.display()))?;
        ensure!(label == "PRIVATE KEY", "{} holds \"{label}\", not a PKCS#8 private key", path.display());
        let pair = KeyPair::from_pkcs8(&der).map_err(|error| anyhow!("{}: {error}", path.display()))?;
        Ok(Self(Place::Memory(pair)))
    }

    /// A key in a token.
    pub(crate) fn in_token(key: RsaKey) -> Self {
        Self(Place::Token(key))
    }

    /// Reads `path`, generating an RSA-3072 key with the host's openssl on first use.
    pub fn load_or_generate(path: &Path) -> Result<Self> {
        if !path.exists() {
            generate(path)?;
        }
        Self::load(path)
    }

    /// The modulus, big endian.
    pub(crate) fn modulus(&self) -> Vec<u8> {
        match &self.0 {
            Place::Memory(pair) => RsaPublicKeyComponents::from(pair.public()).n,
            Place::Token(key) => key.modulus().to_vec(),
        }
    }

    /// Bytes of the modulus, and so of a signature.
    fn size(&self) -> usize {
        match &self.0 {
            Place::Memory(pair) => pair.public().modulus_len(),
            Place::Token(key) => key.signature_size(),
        }
    }

    pub(crate) fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Result<Vec<u8>> {
        let pair = match (&self.0, algorithm) {
            (Place::Token(key), Algorithm::Pss) => return Ok(key.sign_pss(message)?),
            (Place::Token(key), Algorithm::Pkcs1v15) => return Ok(Rs256::sign(key, message)?),
            (Place::Memory(pair), _) => pair,
        };
        let mut signature = vec![0; self.size()];
        pair.sign(algorithm.encoding(), &SystemRandom::new(), message, &mut signature)
            .map_err(|_| anyhow!("signing failed"))?;
        Ok(signature)
    }
}

/// What signs packages of the original.
impl Rs256 for SigningKey {
    fn bits(&self) -> u32 {
        self.size() as u32 * 8
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        Self::sign(self, Algorithm::Pkcs1v15, message)
            .map_err(|error| SignError::Elsewhere(error.to_string()))
    }
}

fn generate(path: &Path) -> Result<()> {
    let folder = path.parent().context("key path has no folder")?;
    fs::create_dir_all(folder)?;
    let pem = Tool::new("openssl")
        .args(["genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072"])
        .output()?;
    let unfinished = folder.join(".ta-signing.unfinished");
    let _ = fs::remove_file(&unfinished);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    std::io::Write::write_all(&mut file, pem.as_bytes())?;
    Ok(fs::rename(unfinished, path)?)
}

/// Signs an ELF file as a bootstrap TA. `uuid` is in network order.
pub fn sign(
    key: &SigningKey,
    algorithm: Algorithm,
    uuid: &[u8; 16],
    version: u32,
    elf: &[u8],
) -> Result<Vec<u8>> {
    let header = header(algorithm, elf.len(), key.size())?;
    let mut signed_part = Vec::with_capacity(HEADER_SIZE + IDENTITY_SIZE + elf.len());
    signed_part.extend_from_slice(&header);
    signed_part.extend_from_slice(uuid);
    signed_part.extend_from_slice(&version.to_le_bytes());
    signed_part.extend_from_slice(elf);
    let signature = key.sign(algorithm, &signed_part)?;
    let mut image = header.to_vec();
    image.extend_from_slice(&Sha256::digest(&signed_part));
    image.extend_from_slice(&signature);
    image.extend_from_slice(&signed_part[HEADER_SIZE..]);
    Ok(image)
}

/// Takes the header off a signed TA and signs its ELF anew, with the same UUID and version.
pub fn resign(key: &SigningKey, algorithm: Algorithm, image: &[u8]) -> Result<Vec<u8>> {
    let parts = Parts::read(image)?;
    sign(key, algorithm, &parts.uuid, parts.version, parts.elf)
}

/// Whether bytes are a signed bootstrap TA, the only type that can be signed anew without its subkey.
pub fn is_bootstrap(image: &[u8]) -> bool {
    Parts::read(image).is_ok()
}

fn header(algorithm: Algorithm, elf_size: usize, signature_size: usize) -> Result<[u8; HEADER_SIZE]> {
    let mut header = [0; HEADER_SIZE];
    header[..4].copy_from_slice(&MAGIC.to_le_bytes());
    header[4..8].copy_from_slice(&BOOTSTRAP_TA.to_le_bytes());
    header[8..12].copy_from_slice(&u32::try_from(elf_size)?.to_le_bytes());
    header[12..16].copy_from_slice(&algorithm.number().to_le_bytes());
    header[16..18].copy_from_slice(&(DIGEST_SIZE as u16).to_le_bytes());
    header[18..20].copy_from_slice(&u16::try_from(signature_size)?.to_le_bytes());
    Ok(header)
}

/// What is inside a signed bootstrap TA.
struct Parts<'a> {
    uuid: [u8; 16],
    version: u32,
    elf: &'a [u8],
}

impl<'a> Parts<'a> {
    fn read(image: &'a [u8]) -> Result<Self> {
        let word = |at| le32(image, at);
        ensure!(word(0)? == MAGIC, "not a signed TA: magic is {:#x}, not {MAGIC:#x}", word(0)?);
        if word(4)? != BOOTSTRAP_TA {
            bail!("signed TA has image type {}, only type {BOOTSTRAP_TA} is handled", word(4)?);
        }
        let sizes = word(16)?;
        let identity = HEADER_SIZE + (sizes & 0xffff) as usize + (sizes >> 16) as usize;
        let elf = image.get(identity + IDENTITY_SIZE..).context("signed TA ends before its ELF")?;
        ensure!(
            elf.len() as u64 == u64::from(word(8)?),
            "signed TA has {} octets of ELF, header says {}",
            elf.len(),
            word(8)?
        );
        let uuid = image.get(identity..identity + 16).context("signed TA ends before its UUID")?;
        Ok(Self { uuid: uuid.try_into()?, version: word(identity + 16)?, elf })
    }
}

fn le32(image: &[u8], at: usize) -> Result<u32> {
    let bytes = at.checked_add(4).and_then(|end| image.get(at..end)).context("signed TA is cut short")?;
    Ok(u32::from_le_bytes(bytes.try_into()?))
}

#[cfg(test)]
impl SigningKey {
    /// The public half, PKCS#1 DER, of a key in memory.
    pub(crate) fn public(&self) -> Option<&[u8]> {
        match &self.0 {
            Place::Memory(pair) => Some(pair.public().as_ref()),
            Place::Token(_) => None,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::LazyLock;

    use super::*;
    use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};

    const UUID: [u8; 16] = *b"0123456789abcdef";

    /// A signed image with a key of its own.
    pub(crate) fn sample_image(uuid: [u8; 16], version: u32) -> Vec<u8> {
        sign(&key(), Algorithm::Pss, &uuid, version, b"payload").unwrap()
    }

    /// Generated once: it takes a while.
    static PEM: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        SigningKey::load_or_generate(&path).unwrap();
        fs::read(path).unwrap()
    });

    pub(crate) fn key() -> SigningKey {
        SigningKey::parse(Path::new("key.pem"), &PEM).unwrap()
    }

    #[test]
    fn layout_digest_and_signature_fit_together() {
        let key = key();
        for algorithm in [Algorithm::Pss, Algorithm::Pkcs1v15] {
            let image = sign(&key, algorithm, &UUID, 7, b"elf").unwrap();
            assert_eq!(image.len(), 20 + 32 + 384 + 20 + 3);
            let message = [&image[..20], &image[436..]].concat();
            assert_eq!(image[20..52], Sha256::digest(&message)[..]);
            let verify: &dyn ring::signature::VerificationAlgorithm = match algorithm {
                Algorithm::Pss => &RSA_PSS_2048_8192_SHA256,
                Algorithm::Pkcs1v15 => &RSA_PKCS1_2048_8192_SHA256,
            };
            let public = UnparsedPublicKey::new(verify, key.public().unwrap());
            public.verify(&message, &image[52..436]).unwrap();
        }
    }

    #[test]
    fn resigning_keeps_identity_and_elf() {
        let key = key();
        let image = sign(&key, Algorithm::Pss, &UUID, 7, b"elf").unwrap();
        let again = resign(&key, Algorithm::Pkcs1v15, &image).unwrap();
        assert_eq!(again, sign(&key, Algorithm::Pkcs1v15, &UUID, 7, b"elf").unwrap());
    }

    #[test]
    fn every_truncation_is_refused() {
        let image = sign(&key(), Algorithm::Pss, &UUID, 7, b"elf").unwrap();
        for length in 0..image.len() {
            assert!(!is_bootstrap(&image[..length]), "{length}");
        }
        assert!(is_bootstrap(&image));
    }

    #[test]
    fn readable_key_is_refused() {
        let path = std::env::temp_dir().join(format!("tb-open-key-{}", std::process::id()));
        fs::write(&path, "x").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = SigningKey::load(&path).err().unwrap();
        assert!(error.to_string().contains("mode 644, not 600"));
        fs::remove_file(path).unwrap();
    }
}

//! The manifest of an image, in the image: what is where, with digests, and what it was made of; signed with the key of the FIT.
//!
//! `TBMANIF1`, two lengths of 32 bits, little endian, a JSON document, and RSA-3072 PKCS#1 v1.5 with SHA-256 over
//! `trustbox image manifest`, a zero, and the document.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use serde::{Deserialize, Serialize};

use crate::boot::keys::{Keys, Role};
use crate::boot::root_keys::read_public;
use crate::builder::Builder;
use crate::hash::sha256_hex;
use crate::image::ImageRequest;
use crate::image::description::Description;
use crate::image::layout::{MANIFEST_ROOM, Plan};
use crate::image::verity::Root;
use crate::image::write::Region;
use crate::lock::Kind;
use crate::sign_ta::Algorithm;

const MAGIC: &[u8; 8] = b"TBMANIF1";
const DOMAIN: &[u8] = b"trustbox image manifest\0";
const HEAD: usize = 16;
/// Octets that one digest stands for: a difference is found to this.
pub(crate) const CHUNK: u64 = 64 << 10;
/// Packages of which the firmware is built.
const SOURCES: [&str; 4] = ["optee-os", "arm-trusted-firmware", "u-boot", "mbedtls"];

/// The document.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    pub(crate) format: u32,
    pub(crate) board: String,
    /// With a shell.
    pub(crate) dev: bool,
    pub(crate) version: String,
    pub(crate) size: u64,
    /// Firmware counters.
    pub(crate) counters: [u32; 2],
    /// As the signed command line has it.
    pub(crate) root: String,
    pub(crate) regions: Vec<Listed>,
    pub(crate) packages: Vec<Package>,
}

/// A region and its digests.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listed {
    pub(crate) name: String,
    pub(crate) start: u64,
    pub(crate) size: u64,
    pub(crate) sha256: String,
    /// Digests of each [`CHUNK`] octets, shortened to 16 digits: they only say where to look.
    pub(crate) chunks: Vec<String>,
}

/// A package that something in the image is of.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) source: bool,
    /// Of its files, as the lock file has them.
    pub(crate) sha256: Vec<String>,
}

/// What a manifest is made from.
pub(crate) struct Facts<'a> {
    pub(crate) builder: &'a Builder,
    pub(crate) request: &'a ImageRequest,
    pub(crate) plan: &'a Plan,
    pub(crate) root: &'a Root,
}

/// The document of an image.
pub(crate) fn of(facts: &Facts<'_>, regions: &[Region]) -> Result<Manifest> {
    Ok(Manifest {
        format: 1,
        board: facts.builder.board.name.get_ref().clone(),
        dev: facts.request.edition.dev,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        size: facts.plan.size,
        counters: [facts.request.counters.trusted, facts.request.counters.normal],
        root: facts.root.word(),
        regions: regions.iter().map(Listed::of).collect(),
        packages: packages(facts)?,
    })
}

impl Manifest {
    /// The content of its region.
    pub(crate) fn signed(&self, keys: &Keys) -> Result<Vec<u8>> {
        let text = serde_json::to_vec(self)?;
        let signature = keys.sign(Role::Image, Algorithm::Pkcs1v15, &message(&text))?;
        let lengths =
            [u32::try_from(text.len())?, u32::try_from(signature.len())?].map(u32::to_le_bytes).concat();
        let content = [MAGIC, lengths.as_slice(), &text, &signature].concat();
        let octets = content.len() as u64;
        ensure!(
            octets <= MANIFEST_ROOM,
            "the manifest has {octets} octets, there is room for {MANIFEST_ROOM}"
        );
        Ok(content)
    }
}

/// The packages of an image, in the order of their names.
pub(crate) fn packages(facts: &Facts<'_>) -> Result<Vec<Package>> {
    let description = Description::load(&facts.builder.image_folder())?;
    let kernel = facts.builder.board.linux.package.as_str();
    let mut names = description.names(facts.request.edition);
    names.extend(SOURCES);
    names.push(kernel);
    names.sort_unstable();
    let package = |name: &str| {
        let package = facts.builder.lock.package(name)?;
        Ok(Package {
            name: package.name.clone(),
            version: package.version.clone(),
            source: package.kind == Kind::Source,
            sha256: package.files.iter().map(|file| file.sha256.clone()).collect(),
        })
    };
    names.into_iter().map(package).collect()
}

impl Listed {
    pub(crate) fn of(region: &Region) -> Self {
        Self {
            name: region.name.clone(),
            start: region.start,
            size: region.content.len() as u64,
            sha256: sha256_hex(&region.content),
            chunks: region.content.chunks(CHUNK as usize).map(short).collect(),
        }
    }

    /// The first octet range in which this content differs.
    pub(crate) fn difference(&self, content: &[u8]) -> Option<(u64, u64)> {
        let wrong = content
            .chunks(CHUNK as usize)
            .zip(&self.chunks)
            .position(|(chunk, digest)| short(chunk) != *digest)?;
        let start = self.start + wrong as u64 * CHUNK;
        Some((start, (start + CHUNK).min(self.start + self.size)))
    }
}

fn short(octets: &[u8]) -> String {
    let mut text = sha256_hex(octets);
    text.truncate(16);
    text
}

fn message(text: &[u8]) -> Vec<u8> {
    [DOMAIN, text].concat()
}

/// A manifest as it was found, and who signed it.
pub(crate) struct Found {
    pub(crate) manifest: Manifest,
    text: Vec<u8>,
    signature: Vec<u8>,
}

impl Found {
    /// Reads the region's content; nothing in it is believed before [`Found::signed_by`].
    pub(crate) fn decode(content: &[u8]) -> Result<Self> {
        ensure!(content.starts_with(MAGIC), "no manifest\nhelp: `build/tb image` writes one");
        let length = |at: usize| {
            let octets = content.get(at..at + 4).context("the manifest is cut off")?;
            Ok::<_, anyhow::Error>(u32::from_le_bytes(octets.try_into()?) as usize)
        };
        let (text, signature) = (length(8)?, length(12)?);
        let Some(rest) = content.get(HEAD..) else { bail!("the manifest is cut off") };
        let text_part = rest.get(..text).context("the manifest is cut off")?.to_vec();
        let end = text.checked_add(signature).context("the manifest is cut off")?;
        let signature = rest.get(text..end).context("the manifest is cut off")?.to_vec();
        let manifest =
            serde_json::from_slice(&text_part).context("the manifest is not what this builder writes")?;
        Ok(Self { manifest, text: text_part, signature })
    }

    /// Whether the key in this file signed it.
    pub(crate) fn signed_by(&self, key: &Path) -> Result<bool> {
        let key = read_public(key)?;
        let key = RsaPublicKeyComponents { n: &key.modulus, e: &key.exponent };
        Ok(key.verify(&RSA_PKCS1_2048_8192_SHA256, &message(&self.text), &self.signature).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_found_to_its_chunk() {
        let content: Vec<u8> = (0..3 * CHUNK as usize + 5).map(|at| at as u8).collect();
        let listed = Listed::of(&Region::new("r", 4096, content.clone()));
        assert_eq!(listed.difference(&content), None);
        for at in [0, CHUNK as usize, 3 * CHUNK as usize + 4] {
            let mut changed = content.clone();
            changed[at] ^= 1;
            let (start, end) = listed.difference(&changed).unwrap();
            assert!((start..end).contains(&(4096 + at as u64)) && end <= 4096 + content.len() as u64);
        }
    }

    #[test]
    fn what_is_cut_off_is_no_manifest() {
        for content in [&b""[..], b"TBMANIF1", b"TBMANIF1\xff\xff\xff\xff\xff\xff\xff\xff{}", b"other"] {
            assert!(Found::decode(content).is_err());
        }
    }
}

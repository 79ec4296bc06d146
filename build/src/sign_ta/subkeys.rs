//! Signs anew a trusted application that is signed through subkeys: the root key signs a subkey, which signs the next one or the
//! application. OP-TEE's own tests have two; UUIDs and names stay, since they derive from each other.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};
use trustbox_boot_image::secure::RootKey;

use super::{Algorithm, DIGEST_SIZE, HEADER_SIZE, MAGIC, SigningKey, le32, resign};
use crate::boot::keys::ensure_pair;
use crate::boot::root_keys::read_public;

const SUBKEY: u32 = 3;
/// Subkeys one below the other.
const LEVELS: usize = 2;
const BITS: &str = "2048";
/// Where in a subkey: octets of the name that follows it, and its key's modulus, with a zero in front, and exponent.
const NAME_SIZE: usize = 16;
const MODULUS: usize = 61;
const EXPONENT: usize = 317;
const EXPONENT_SIZE: usize = 3;

/// Whether an image begins with a subkey.
pub(crate) fn is_chain(image: &[u8]) -> bool {
    le32(image, 0).is_ok_and(|magic| magic == MAGIC) && le32(image, 4).is_ok_and(|kind| kind == SUBKEY)
}

/// Keys of development for the subkeys of tests.
pub(crate) struct Subkeys(Vec<(SigningKey, RootKey)>);

impl Subkeys {
    /// Makes what lacks in a folder.
    pub(crate) fn ensure(folder: &Path, log: &Path) -> Result<Self> {
        let path =
            |number: usize, kind: &str| -> PathBuf { folder.join(format!("xtest-subkey-{number}.{kind}")) };
        let one = |number: usize| {
            let (private, public) = (path(number, "key"), path(number, "pub.pem"));
            ensure_pair(&private, &public, BITS, log)?;
            Ok((SigningKey::load(&private)?, read_public(&public)?))
        };
        Ok(Self((0..LEVELS).map(one).collect::<Result<_>>()?))
    }

    /// The image with our keys in place of those it came with.
    pub(crate) fn resign(&self, root: &SigningKey, image: &[u8]) -> Result<Vec<u8>> {
        let (mut out, mut rest, mut signer) = (Vec::new(), image, root);
        for (next, public) in &self.0 {
            if !is_chain(rest) {
                break;
            }
            let size = le32(rest, 8)? as usize;
            let sizes = le32(rest, 16)?;
            let start = HEADER_SIZE + (sizes & 0xffff) as usize + (sizes >> 16) as usize;
            let mut subkey = rest.get(start..start + size).context("the subkey is cut short")?.to_vec();
            let name = start + size + le32(&subkey, NAME_SIZE)? as usize;
            ensure!(
                public.exponent.len() == EXPONENT_SIZE,
                "the exponent has {} octets",
                public.exponent.len()
            );
            replace(&mut subkey, MODULUS, &public.modulus)?;
            replace(&mut subkey, EXPONENT, &public.exponent)?;
            out.extend(signed(signer, &subkey)?);
            out.extend(rest.get(start + size..name).context("the name is cut short")?);
            rest = rest.get(name..).context("nothing is behind the subkey")?;
            signer = next;
        }
        ensure!(!is_chain(rest), "more than {LEVELS} subkeys");
        out.extend(resign(signer, Algorithm::Pss, rest)?);
        Ok(out)
    }
}

fn replace(subkey: &mut [u8], at: usize, value: &[u8]) -> Result<()> {
    let place = subkey.get_mut(at..at + value.len()).context("the subkey has no room for a key")?;
    place.copy_from_slice(value);
    Ok(())
}

/// Header, digest, signature, subkey.
fn signed(key: &SigningKey, subkey: &[u8]) -> Result<Vec<u8>> {
    let mut header = super::header(Algorithm::Pss, subkey.len(), key.size())?;
    header[4..8].copy_from_slice(&SUBKEY.to_le_bytes());
    let message = [&header[..], subkey].concat();
    let digest: [u8; DIGEST_SIZE] = Sha256::digest(&message).into();
    Ok([&header[..], &digest, &key.sign(Algorithm::Pss, &message)?, subkey].concat())
}

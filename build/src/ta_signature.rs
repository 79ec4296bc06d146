//! The OEM's signature of a TA, as OP-TEE checks it before it runs one.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use ring::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey,
    VerificationAlgorithm,
};
use sha2::{Digest, Sha256};
use trustbox_keys::files;
use trustbox_package::certificate::{Certificate, public_key_der};
use trustbox_package::image::Parts;

use crate::verify::Outcome;

const PSS: u32 = 0x7041_4930;
const PKCS1_V15: u32 = 0x7000_4830;

/// The public half of an OEM's key.
pub(crate) struct TaKey(Vec<u8>);

impl TaKey {
    /// Reads a public key, a certificate, or a private key, in PEM.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let shown = path.display();
        let bytes = files::read(path)?;
        let (label, der) = pem_rfc7468::decode_vec(&bytes).map_err(|error| anyhow!("{shown}: {error}"))?;
        match label {
            "PUBLIC KEY" => {
                Ok(Self(public_key_der(&der).with_context(|| format!("{shown} is not an RSA key"))?))
            }
            "CERTIFICATE" => {
                Ok(Self(Certificate::read(&bytes).with_context(|| shown.to_string())?.public_key_der()))
            }
            "PRIVATE KEY" => {
                let bytes = files::read_private(path)?;
                let (_, der) =
                    pem_rfc7468::decode_vec(&bytes).map_err(|error| anyhow!("{shown}: {error}"))?;
                let pair = RsaKeyPair::from_pkcs8(&der).map_err(|error| anyhow!("{shown}: {error}"))?;
                Ok(Self(pair.public().as_ref().to_vec()))
            }
            other => bail!("{shown} holds \"{other}\"\nhelp: a public key, a certificate or a private key"),
        }
    }

    /// Whether it signed an image.
    pub(crate) fn check(&self, image: &Parts<'_>) -> Outcome {
        let algorithm: &dyn VerificationAlgorithm = match image.algorithm {
            PSS => &RSA_PSS_2048_8192_SHA256,
            PKCS1_V15 => &RSA_PKCS1_2048_8192_SHA256,
            other => return Outcome::Fails(format!("algorithm {other:#x} is not one that is known")),
        };
        let message = [&image.header[..], image.content].concat();
        let key = UnparsedPublicKey::new(algorithm, &self.0);
        Outcome::when(key.verify(&message, image.signature).is_ok(), "the signature is not of this key")
    }

    /// SHA-256 of the key, to be compared by people.
    pub(crate) fn fingerprint(&self) -> String {
        crate::hash::hex(&Sha256::digest(&self.0))
    }
}

//! The annex of a package: what travels with an enclave and is not for the TA, such as its SBOM. Needs no heap.
//!
//! The annex is a signed list of the streams behind it. It has a signature of its own, by the key that signed the trusted
//! manifest, over that manifest's digest and those of the attachments: an attachment cannot be changed or moved to another
//! package. It can be taken off with all of its attachments, as the TA neither needs nor looks at any of them.

use arrayvec::ArrayVec;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;
use trustbox_api::statement::Envelope;
use trustbox_api::{Bytes, PublicKey, wire};

/// What the signature of an annex starts with, so that no signature of a statement fits.
pub const DOMAIN: &[u8] = b"TrustBox annex\0";
/// Version of the encoding.
pub const FORMAT: u16 = 1;
/// Attachments of a package at most.
pub const MAX_ATTACHMENTS: usize = 8;
/// Bytes of an attachment at most.
pub const MAX_ATTACHMENT: usize = 1 << 20;
/// Bytes of an annex at most.
pub const MAX_ANNEX: usize = 1024;

/// The signed list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Annex {
    /// [`FORMAT`].
    pub format: u16,
    /// SHA-256 of the trusted manifest's stream, signature included.
    pub trusted_sha256: Bytes<32>,
    /// What follows, in the order of the streams.
    pub attachments: ArrayVec<Attachment, MAX_ATTACHMENTS>,
}

/// A stream behind the annex.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Attachment {
    /// What it is: [`Attachment::SBOM`], or a kind that this version does not know.
    pub kind: u16,
    /// Its bytes.
    pub size: u32,
    /// Their SHA-256.
    pub sha256: Bytes<32>,
}

/// An annex taken apart; its signature was not verified.
#[derive(Clone, Debug)]
pub struct Signed<'a> {
    /// As it stands in the package.
    pub envelope: Envelope<'a>,
    /// What it says.
    pub annex: Annex,
}

/// Why bytes are not the annex of a package.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum AnnexError {
    /// Longer than any annex.
    #[error("annex has {found} bytes, the limit is {MAX_ANNEX}")]
    TooLarge {
        /// Bytes there are.
        found: usize,
    },
    /// The bytes are none.
    #[error("annex does not decode")]
    Encoding,
    /// It is of another version.
    #[error("annex has format {found}, expected {FORMAT}")]
    Format {
        /// Its format.
        found: u16,
    },
    /// Another key signed the trusted manifest.
    #[error("annex is signed by {found}, the trusted manifest by {expected}")]
    Signer {
        /// Id of the key that the annex names.
        found: Bytes<32>,
        /// Id of the key that the trusted manifest names.
        expected: Bytes<32>,
    },
    /// It belongs to another package.
    #[error("annex is for the trusted manifest {found}, the package has {expected}")]
    OtherPackage {
        /// Digest in the annex.
        found: Bytes<32>,
        /// Digest of the trusted manifest.
        expected: Bytes<32>,
    },
    /// The annex lists more or fewer streams.
    #[error("annex lists {found} attachments, {expected} streams follow it")]
    Count {
        /// Attachments in the list.
        found: usize,
        /// Streams behind the annex.
        expected: usize,
    },
    /// An attachment is too long.
    #[error("attachment {index} has {found} bytes, the limit is {MAX_ATTACHMENT}")]
    AttachmentSize {
        /// Its place in the list.
        index: usize,
        /// Its bytes.
        found: usize,
    },
    /// An attachment is another than the one in the list.
    #[error("attachment {index} has SHA-256 {found}, the annex says {expected}")]
    Attachment {
        /// Its place in the list.
        index: usize,
        /// Digest of the stream.
        found: Bytes<32>,
        /// Digest in the list.
        expected: Bytes<32>,
    },
}

impl Attachment {
    /// A software bill of materials, CycloneDX in JSON.
    pub const SBOM: u16 = 1;

    /// The entry of a stream.
    pub fn of(kind: u16, bytes: &[u8]) -> Self {
        Self { kind, size: bytes.len() as u32, sha256: sha256(bytes) }
    }

    /// What people call it.
    pub const fn name(&self) -> Option<&'static str> {
        match self.kind {
            Self::SBOM => Some("SBOM"),
            _ => None,
        }
    }
}

impl<'a> Signed<'a> {
    /// Takes an annex apart.
    pub fn read(bytes: &'a [u8]) -> Result<Self, AnnexError> {
        if bytes.len() > MAX_ANNEX {
            return Err(AnnexError::TooLarge { found: bytes.len() });
        }
        let envelope: Envelope<'a> = wire::decode(bytes).map_err(|_| AnnexError::Encoding)?;
        let annex: Annex = wire::decode(envelope.payload).map_err(|_| AnnexError::Encoding)?;
        match annex.format {
            FORMAT => Ok(Self { envelope, annex }),
            found => Err(AnnexError::Format { found }),
        }
    }

    /// Whether it belongs to a trusted manifest, with its signer, and to the streams behind the annex.
    pub fn check(&self, trusted: &[u8], signer: &PublicKey, attachments: &[&[u8]]) -> Result<(), AnnexError> {
        let (found, expected) = (self.envelope.signer.id(), signer.id());
        if self.envelope.signer != *signer {
            return Err(AnnexError::Signer { found, expected });
        }
        let (found, expected) = (self.annex.trusted_sha256, sha256(trusted));
        if found != expected {
            return Err(AnnexError::OtherPackage { found, expected });
        }
        let (found, expected) = (self.annex.attachments.len(), attachments.len());
        if found != expected {
            return Err(AnnexError::Count { found, expected });
        }
        let pairs = self.annex.attachments.iter().zip(attachments).enumerate();
        pairs.into_iter().try_for_each(|(index, (entry, bytes))| check_attachment(index, entry, bytes))
    }
}

/// What is signed: SHA-256 over [`DOMAIN`] and the encoded [`Annex`].
pub fn digest(payload: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(DOMAIN).chain_update(payload).finalize().into()
}

fn check_attachment(index: usize, entry: &Attachment, bytes: &[u8]) -> Result<(), AnnexError> {
    if bytes.len() > MAX_ATTACHMENT {
        return Err(AnnexError::AttachmentSize { index, found: bytes.len() });
    }
    let (found, expected) = (sha256(bytes), entry.sha256);
    if found != expected || entry.size as usize != bytes.len() {
        return Err(AnnexError::Attachment { index, found, expected });
    }
    Ok(())
}

fn sha256(bytes: &[u8]) -> Bytes<32> {
    Bytes(Sha256::digest(bytes).into())
}

//! A package, taken apart and held against itself. Not verified: that is the TA's business.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};

use thiserror::Error;
use trustbox_api::limits::MAX_IMAGE;
use trustbox_api::manifest::Terms;

use crate::annex::{self, AnnexError, Attachment};
use crate::class_key;
use crate::frame::{Frame, FrameError};
use crate::json::{Encryption, MAX_JSON, Manifest};
use crate::layout::{LayoutError, Place, Role, Roles, roles};
use crate::trusted::{Trusted, TrustedError};

/// Bytes of a package at most: the largest image, the largest attachment, and room for everything around them.
pub const MAX_PACKAGE: u64 = MAX_IMAGE as u64 + annex::MAX_ATTACHMENT as u64 + (1 << 16);

/// A package; borrows the bytes it was read from.
#[derive(Clone, Debug)]
pub struct Package<'a> {
    /// The JSON manifest.
    pub json: Manifest,
    /// The payload's stream, encrypted unless the JSON manifest says otherwise.
    pub payload: &'a [u8],
    /// The frame.
    pub frame: Frame<'a>,
    /// What each stream of it is.
    pub roles: Roles,
    trusted: Option<Trusted<'a>>,
    annex: Option<annex::Signed<'a>>,
}

/// Why bytes are not a package.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PackageError {
    /// Larger than any device takes.
    #[error("file has {found} bytes, a package at most {MAX_PACKAGE}")]
    TooLarge {
        /// Bytes of the file.
        found: u64,
    },
    /// The frame is damaged or of another version.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The JSON manifest is too long.
    #[error("JSON manifest in {place} has {found} bytes, the limit is {MAX_JSON}")]
    JsonSize {
        /// Where it is.
        place: Place,
        /// Its bytes.
        found: usize,
    },
    /// The JSON manifest does not parse.
    #[error("JSON manifest in {place}: {error}")]
    Json {
        /// Where it is.
        place: Place,
        /// What the parser says.
        error: serde_json::Error,
    },
    /// The streams are not those of a package.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The trusted manifest is none.
    #[error("{place}: {error}")]
    TrustedManifest {
        /// Where it is.
        place: Place,
        /// What is wrong.
        error: TrustedError,
    },
    /// The annex is none, or not that of this package.
    #[error("{place}: {error}")]
    Annex {
        /// Where it is.
        place: Place,
        /// What is wrong.
        error: AnnexError,
    },
    /// The package has none, as those of the original.
    #[error("package has no trusted manifest")]
    NoTrustedManifest,
    /// A package of the original says something that cannot be installed.
    #[error("{what} is {found}, an install needs {expected}")]
    Original {
        /// What it says.
        what: &'static str,
        /// How it says it.
        found: String,
        /// What it should say.
        expected: &'static str,
    },
    /// A stream or the JSON manifest is not what the trusted manifest says.
    #[error("{what} in {place} is {found}, the trusted manifest says {expected}")]
    Mismatch {
        /// The role of the stream, or the member of the JSON manifest.
        what: &'static str,
        /// Where it is.
        place: Place,
        /// What the stream holds.
        found: String,
        /// What the trusted manifest says.
        expected: String,
    },
}

impl<'a> Package<'a> {
    /// Takes a package apart.
    ///
    /// Where there is a trusted manifest, the other streams must agree with it, except that the ciphertext's
    /// digest is left to the TA.
    pub fn read(bytes: &'a [u8]) -> Result<Self, PackageError> {
        let found = bytes.len() as u64;
        if found > MAX_PACKAGE {
            return Err(PackageError::TooLarge { found });
        }
        let frame = Frame::read(bytes)?;
        let json = read_json(&frame)?;
        let roles = roles(&frame, &json)?;
        let mut package = Self { json, payload: &[], frame, roles, trusted: None, annex: None };
        package.payload = package.stream(Role::Payload).unwrap_or_default();
        package.trusted = package.read_trusted()?;
        package.annex = package.read_annex()?;
        package.check_agreement()?;
        Ok(package)
    }

    /// The first stream of a role, if there is one.
    pub fn stream(&self, role: Role) -> Option<&'a [u8]> {
        self.index(role).and_then(|index| self.frame.streams.get(index)).copied()
    }

    /// Where the first stream of a role is; the start of the streams where there is none.
    pub fn place(&self, role: Role) -> Place {
        Place::of(&self.frame, self.index(role).unwrap_or_default())
    }

    /// The trusted manifest. Where there is none, only [`crate::legacy`] is left.
    pub fn trusted(&self) -> Result<&Trusted<'a>, PackageError> {
        self.trusted.as_ref().ok_or(PackageError::NoTrustedManifest)
    }

    /// The annex, if there is one; its signature was not verified.
    pub fn annex(&self) -> Option<&annex::Signed<'a>> {
        self.annex.as_ref()
    }

    /// What the annex lists, with the streams.
    pub fn attachments(&self) -> impl Iterator<Item = (&Attachment, &'a [u8])> {
        let entries = self.annex.iter().flat_map(|signed| &signed.annex.attachments);
        entries.zip(self.attached().iter().copied())
    }

    /// The SBOM, if there is one.
    pub fn sbom(&self) -> Option<&'a [u8]> {
        self.attachments().find(|(entry, _)| entry.kind == Attachment::SBOM).map(|(_, bytes)| bytes)
    }

    fn index(&self, role: Role) -> Option<usize> {
        self.roles.iter().position(|found| *found == role)
    }

    fn attached(&self) -> &[&'a [u8]] {
        let first = self.index(Role::Attachment);
        first.and_then(|first| self.frame.streams.get(first..)).unwrap_or_default()
    }

    fn read_trusted(&self) -> Result<Option<Trusted<'a>>, PackageError> {
        let place = self.place(Role::TrustedManifest);
        let read = self.stream(Role::TrustedManifest).map(Trusted::read).transpose();
        read.map_err(|error| PackageError::TrustedManifest { place, error })
    }

    fn read_annex(&self) -> Result<Option<annex::Signed<'a>>, PackageError> {
        let (Some(bytes), Some(trusted)) = (self.stream(Role::Annex), &self.trusted) else { return Ok(None) };
        let place = self.place(Role::Annex);
        let read = annex::Signed::read(bytes).and_then(|signed| {
            signed.check(trusted.statement, &trusted.signer, self.attached())?;
            Ok(Some(signed))
        });
        read.map_err(|error| PackageError::Annex { place, error })
    }

    /// A package whose halves say different things is refused before it costs the device anything.
    fn check_agreement(&self) -> Result<(), PackageError> {
        let Some(trusted) = &self.trusted else { return Ok(()) };
        let terms = trusted.terms();
        self.check_words(terms)?;
        let place = self.place(Role::Payload);
        equal("payload size", place, &self.payload.len().to_string(), &terms.size.to_string())?;
        let streams = [
            (Role::Nonce, terms.nonce.as_ref()),
            (Role::Tag, terms.tag.as_ref()),
            (Role::Digest, terms.plaintext_sha256.as_ref()),
        ];
        streams.into_iter().try_for_each(|(role, expected)| match self.stream(role) {
            Some(found) => equal(role.name(), self.place(role), &hexadecimal(found), &hexadecimal(expected)),
            None => Ok(()),
        })
    }

    /// The JSON manifest is what people and old tools see.
    fn check_words(&self, terms: &Terms) -> Result<(), PackageError> {
        let (json, place) = (&self.json, self.place(Role::Manifest));
        equal("application id", place, &json.id, &terms.uuid.to_string())?;
        equal("name", place, &json.name, &terms.name)?;
        let version = &json.payload.ver;
        let found = format!("{}.{}.{}", version.maj, version.min, version.rev);
        equal("version", place, &found, &format!("{}.0.0", terms.version))?;
        match &json.payload.enc {
            Encryption::AesGcm { key_name, .. } => {
                equal("key name", place, key_name, &class_key::name(&terms.class_key))
            }
            Encryption::None => equal("encryption", place, "none", "aes-gcm"),
        }
    }
}

fn read_json(frame: &Frame<'_>) -> Result<Manifest, PackageError> {
    let place = Place::of(frame, frame.manifest);
    let bytes = frame.streams.get(frame.manifest).copied().unwrap_or_default();
    if bytes.len() > MAX_JSON {
        return Err(PackageError::JsonSize { place, found: bytes.len() });
    }
    Manifest::read(bytes).map_err(|error| PackageError::Json { place, error })
}

fn equal(what: &'static str, place: Place, found: &str, expected: &str) -> Result<(), PackageError> {
    if found == expected {
        return Ok(());
    }
    Err(PackageError::Mismatch { what, place, found: found.to_owned(), expected: expected.to_owned() })
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;

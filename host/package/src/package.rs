//! A package, taken apart and held against itself. Not verified: that is the TA's business.

use thiserror::Error;
use trustbox_api::limits::{MAX_IMAGE, MAX_REQUEST};
use trustbox_api::manifest::{self, Terms};
use trustbox_api::statement::{Envelope, Header, Kind};
use trustbox_api::{PublicKey, wire};

use crate::frame::{Frame, FrameError};
use crate::json::{Digest, Encryption, Manifest};

/// Bytes of a package at most: the largest image and room for everything around it.
pub const MAX_PACKAGE: u64 = MAX_IMAGE as u64 + (1 << 16);

/// A package; borrows the bytes it was read from.
#[derive(Clone, Debug)]
pub struct Package<'a> {
    /// The JSON manifest.
    pub json: Manifest,
    /// The payload's stream, encrypted unless the JSON manifest says otherwise.
    pub payload: &'a [u8],
    trusted: Option<Trusted<'a>>,
    frame: Frame<'a>,
}

/// The trusted manifest of a package, and what it says.
#[derive(Clone, Debug)]
pub struct Trusted<'a> {
    /// The statement, for the TA.
    pub statement: &'a [u8],
    /// Who claims to have signed it.
    pub signer: PublicKey,
    /// What it says; the signature was not verified.
    pub manifest: manifest::Parsed<'a>,
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
    /// The JSON manifest does not parse.
    #[error("JSON manifest in stream {stream}: {error}")]
    Json {
        /// Its stream.
        stream: usize,
        /// What the parser says.
        error: serde_json::Error,
    },
    /// The JSON manifest names a stream that does not exist.
    #[error("JSON manifest names stream {stream} as {role}, the frame has {count} streams")]
    NoSuchStream {
        /// What it would be.
        role: &'static str,
        /// Its index.
        stream: usize,
        /// Number of streams.
        count: usize,
    },
    /// The trusted manifest does not decode.
    #[error("trusted manifest in stream {stream} does not decode")]
    TrustedManifest {
        /// Its stream.
        stream: usize,
    },
    /// The trusted manifest's stream is a statement of another kind.
    #[error("stream {stream} is a statement of kind {found:?}, expected {:?}", Kind::Manifest)]
    Kind {
        /// Its stream.
        stream: usize,
        /// Its kind.
        found: Kind,
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
    /// A stream is not what the trusted manifest says.
    #[error("{what} is {found}, the trusted manifest says {expected}")]
    Mismatch {
        /// The stream's role.
        what: &'static str,
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
        let stream = frame.manifest;
        let json: Manifest = serde_json::from_slice(frame.streams[stream])
            .map_err(|error| PackageError::Json { stream, error })?;
        let payload = stream_of(&frame, "payload", json.payload.data)?;
        let trusted = read_trusted(&frame)?;
        if let Some(trusted) = &trusted {
            check_agreement(&frame, &json, &trusted.manifest.manifest.terms)?;
        }
        Ok(Self { json, payload, trusted, frame })
    }

    /// The stream that the JSON manifest names as `role`.
    pub(crate) fn stream(&self, role: &'static str, index: usize) -> Result<&'a [u8], PackageError> {
        stream_of(&self.frame, role, index)
    }

    /// The trusted manifest. Where there is none, only [`crate::legacy`] is left.
    pub fn trusted(&self) -> Result<&Trusted<'a>, PackageError> {
        self.trusted.as_ref().ok_or(PackageError::NoTrustedManifest)
    }
}

impl Trusted<'_> {
    /// What the publisher says about the enclave.
    pub fn terms(&self) -> &Terms {
        &self.manifest.manifest.terms
    }
}

fn stream_of<'a>(frame: &Frame<'a>, role: &'static str, stream: usize) -> Result<&'a [u8], PackageError> {
    let count = frame.streams.len();
    frame.streams.get(stream).copied().ok_or(PackageError::NoSuchStream { role, stream, count })
}

fn read_trusted<'a>(frame: &Frame<'a>) -> Result<Option<Trusted<'a>>, PackageError> {
    let stream = frame.manifest + 1;
    let Some(&statement) = frame.streams.get(stream) else { return Ok(None) };
    let undecodable = |_| PackageError::TrustedManifest { stream };
    if statement.len() > MAX_REQUEST {
        return Err(PackageError::TrustedManifest { stream });
    }
    let envelope: Envelope<'a> = wire::decode(statement).map_err(undecodable)?;
    let (header, _) = wire::decode_prefix::<Header>(envelope.payload).map_err(undecodable)?;
    if header.kind != Kind::Manifest {
        return Err(PackageError::Kind { stream, found: header.kind });
    }
    let manifest = manifest::parse(envelope.payload).map_err(undecodable)?;
    Ok(Some(Trusted { statement, signer: envelope.signer, manifest }))
}

/// A package whose halves say different things is refused before it costs the device anything.
fn check_agreement(frame: &Frame<'_>, json: &Manifest, terms: &Terms) -> Result<(), PackageError> {
    let size = stream_of(frame, "payload", json.payload.data)?.len();
    equal("payload size", &size.to_string(), &terms.size.to_string())?;
    equal("application id", &json.id, &terms.uuid.to_string())?;
    if let Encryption::AesGcm { nonce, tag, .. } = json.payload.enc {
        equal_stream(frame, "nonce", nonce, terms.nonce.as_ref())?;
        equal_stream(frame, "tag", tag, terms.tag.as_ref())?;
    }
    if let Digest::Sha256 { data } = json.payload.dig {
        equal_stream(frame, "digest", data, terms.plaintext_sha256.as_ref())?;
    }
    Ok(())
}

fn equal_stream(
    frame: &Frame<'_>,
    what: &'static str,
    stream: usize,
    expected: &[u8],
) -> Result<(), PackageError> {
    equal(what, &shown(stream_of(frame, what, stream)?), &shown(expected))
}

fn equal(what: &'static str, found: &str, expected: &str) -> Result<(), PackageError> {
    if found == expected {
        return Ok(());
    }
    Err(PackageError::Mismatch { what, found: found.to_owned(), expected: expected.to_owned() })
}

/// Hexadecimal, or the length where that says more.
fn shown(bytes: &[u8]) -> String {
    match bytes.len() {
        0..=32 => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        length => format!("{length} bytes"),
    }
}

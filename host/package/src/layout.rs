//! Which stream of a frame is what. Every stream has exactly one role.
//!
//! The JSON manifest names payload, nonce, tag, digest, signature and certificate. The frame's header names the JSON
//! manifest. What follows that one is ours: the trusted manifest, the annex, and what the annex lists.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use arrayvec::ArrayVec;
use thiserror::Error;
use trustbox_api::limits::{MAX_IMAGE, MAX_REQUEST};
use trustbox_api::manifest::{NONCE_SIZE, TAG_SIZE};

use crate::annex::{MAX_ANNEX, MAX_ATTACHMENT};
use crate::frame::{Frame, MAX_STREAMS};
use crate::json::{Certificate, Digest, Encryption, MAX_JSON, Manifest, Signature};

/// Bytes of a certificate in PEM at most.
pub const MAX_CERTIFICATE: usize = 16 << 10;

const DIGEST_SIZE: usize = 32;

/// What a stream is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// The payload, encrypted unless the JSON manifest says otherwise.
    Payload,
    /// Nonce of the payload's encryption.
    Nonce,
    /// Tag of the payload's encryption.
    Tag,
    /// Digest of the payload's plaintext.
    Digest,
    /// Signature of the payload's plaintext, in packages of the original.
    Signature,
    /// Certificate of that signature's key.
    Certificate,
    /// The JSON manifest.
    Manifest,
    /// The trusted manifest.
    TrustedManifest,
    /// The annex.
    Annex,
    /// Something that the annex lists.
    Attachment,
}

/// Where a stream is in the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Its index.
    pub stream: usize,
    /// Its first byte, from the start of the file.
    pub offset: u64,
}

/// The roles of all streams, in order.
pub type Roles = ArrayVec<Role, MAX_STREAMS>;

/// Why the streams of a frame are not those of a package.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// The JSON manifest names a stream that does not exist.
    #[error("JSON manifest names stream {stream} as {role}, the frame has {count} streams")]
    NoSuchStream {
        /// What it would be.
        role: Role,
        /// Its index.
        stream: usize,
        /// Number of streams.
        count: usize,
    },
    /// One stream has two roles.
    #[error("{place} is named as {first} and as {second}")]
    Duplicate {
        /// Where it is.
        place: Place,
        /// One role.
        first: Role,
        /// The other.
        second: Role,
    },
    /// Nobody says what a stream is.
    #[error("{place} has {size} bytes and no role")]
    Unknown {
        /// Where it is.
        place: Place,
        /// Its bytes.
        size: usize,
    },
    /// A stream is shorter or longer than its role lets it be.
    #[error("{role} in {place} has {found} bytes, expected {expected}")]
    Size {
        /// What it is.
        role: Role,
        /// Where it is.
        place: Place,
        /// Its bytes.
        found: usize,
        /// What they may be.
        expected: String,
    },
    /// The package map is not the list of all streams.
    #[error("package map lists the streams {found:?}, the frame has 0 to {}", count - 1)]
    Map {
        /// The map.
        found: Vec<usize>,
        /// Number of streams.
        count: usize,
    },
    /// The package itself is said to have a digest, a signature or a certificate.
    #[error("package.{member} of the JSON manifest is not \"none\", and no meaning of it is known")]
    Container {
        /// Which of them.
        member: &'static str,
    },
}

impl Role {
    /// What people call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Payload => "payload",
            Self::Nonce => "nonce",
            Self::Tag => "tag",
            Self::Digest => "digest",
            Self::Signature => "signature",
            Self::Certificate => "certificate",
            Self::Manifest => "JSON manifest",
            Self::TrustedManifest => "trusted manifest",
            Self::Annex => "annex",
            Self::Attachment => "attachment",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Place {
    /// The place of a stream.
    pub fn of(frame: &Frame<'_>, stream: usize) -> Self {
        Self { stream, offset: frame.offset(stream) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stream {} at offset {}", self.stream, self.offset)
    }
}

/// The role of each stream; each has one, and a size that fits.
pub fn roles(frame: &Frame<'_>, json: &Manifest) -> Result<Roles, LayoutError> {
    check_container(frame, json)?;
    let mut found = Found { frame, roles: ArrayVec::new() };
    found.roles.extend(frame.streams.iter().map(|_| None));
    named(json).into_iter().flatten().try_for_each(|(role, stream)| found.name(role, stream))?;
    found.name(Role::Manifest, frame.manifest)?;
    for stream in frame.manifest + 1..frame.streams.len() {
        found.name(behind_manifest(stream - frame.manifest), stream)?;
    }
    found.check_sizes(json)
}

/// What the JSON manifest names.
fn named(json: &Manifest) -> [Option<(Role, usize)>; 6] {
    let payload = &json.payload;
    let (nonce, tag) = match payload.enc {
        Encryption::None => (None, None),
        Encryption::AesGcm { nonce, tag, .. } => (Some((Role::Nonce, nonce)), Some((Role::Tag, tag))),
    };
    let digest = match payload.dig {
        Digest::None => None,
        Digest::Sha256 { data } => Some((Role::Digest, data)),
    };
    let signature = match payload.sig {
        Signature::None => None,
        Signature::RsaPkcs1v15 { data, .. } => Some((Role::Signature, data)),
    };
    let certificate = match payload.cert {
        Certificate::None => None,
        Certificate::EmbeddedX509Pem { data } => Some((Role::Certificate, data)),
    };
    [Some((Role::Payload, payload.data)), nonce, tag, digest, signature, certificate]
}

fn behind_manifest(distance: usize) -> Role {
    match distance {
        1 => Role::TrustedManifest,
        2 => Role::Annex,
        _ => Role::Attachment,
    }
}

fn check_container(frame: &Frame<'_>, json: &Manifest) -> Result<(), LayoutError> {
    let (package, count) = (&json.package, frame.streams.len());
    let container = |member| Err(LayoutError::Container { member });
    if package.dig != Digest::None {
        return container("dig");
    }
    if package.sig != Signature::None {
        return container("sig");
    }
    if package.cert != Certificate::None {
        return container("cert");
    }
    if !package.map.iter().copied().eq(0..count) {
        return Err(LayoutError::Map { found: package.map.clone(), count });
    }
    Ok(())
}

/// Roles as far as they were found.
struct Found<'a> {
    frame: &'a Frame<'a>,
    roles: ArrayVec<Option<Role>, MAX_STREAMS>,
}

impl Found<'_> {
    fn name(&mut self, role: Role, stream: usize) -> Result<(), LayoutError> {
        let count = self.roles.len();
        match self.roles.get_mut(stream) {
            None => Err(LayoutError::NoSuchStream { role, stream, count }),
            Some(Some(first)) => {
                let (place, first) = (Place::of(self.frame, stream), *first);
                Err(LayoutError::Duplicate { place, first, second: role })
            }
            Some(free) => {
                *free = Some(role);
                Ok(())
            }
        }
    }

    fn check_sizes(self, json: &Manifest) -> Result<Roles, LayoutError> {
        let streams = self.frame.streams.iter().zip(&self.roles).enumerate();
        let checked = streams.map(|(stream, (bytes, role))| {
            let (place, size) = (Place::of(self.frame, stream), bytes.len());
            let role = role.ok_or(LayoutError::Unknown { place, size })?;
            check_size(role, place, size, json).map(|()| role)
        });
        checked.collect()
    }
}

fn check_size(role: Role, place: Place, found: usize, json: &Manifest) -> Result<(), LayoutError> {
    let (least, most) = sizes(role, json);
    if (least..=most).contains(&found) {
        return Ok(());
    }
    let expected = if least == most { least.to_string() } else { alloc::format!("{least} to {most}") };
    Err(LayoutError::Size { role, place, found, expected })
}

fn sizes(role: Role, json: &Manifest) -> (usize, usize) {
    let exactly = |size| (size, size);
    match role {
        Role::Payload => (1, MAX_IMAGE as usize),
        Role::Nonce => exactly(NONCE_SIZE),
        Role::Tag => exactly(TAG_SIZE),
        Role::Digest => exactly(DIGEST_SIZE),
        Role::Signature => match json.payload.sig {
            Signature::RsaPkcs1v15 { key_strength, .. } => exactly(key_strength as usize / 8),
            Signature::None => exactly(0),
        },
        Role::Certificate => (1, MAX_CERTIFICATE),
        Role::Manifest => (1, MAX_JSON),
        Role::TrustedManifest => (1, MAX_REQUEST),
        Role::Annex => (1, MAX_ANNEX),
        Role::Attachment => (1, MAX_ATTACHMENT),
    }
}

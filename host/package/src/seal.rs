//! From a signed OP-TEE image to a package: encrypt, wrap the content key, sign. For publisher tools.

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use trustbox_api::key::{KeyId, KeyRef, Name};
use trustbox_api::manifest::{NONCE_SIZE, TAG_SIZE, Terms, WrappedKey};
use trustbox_api::message::Version;
use trustbox_api::statement::{Audience, FORMAT, Header, Kind};
use trustbox_api::{Bytes, Secret};

use crate::annex::{Annex, Attachment, MAX_ATTACHMENT};
use crate::class_key::{self, ClassKey, random_secret};
use crate::frame::{FrameError, data_start, front};
use crate::image::{Image, ImageError, Parts};
use crate::sign::{self, Es256, SignError};
use crate::{date, json};

/// The JSON manifest's stream.
const MANIFEST: usize = 4;
/// Bytes behind the ciphertext that need no second allocation.
const ROOM_BEHIND: usize = 128 << 10;

/// What the publisher says about an edition of an enclave; the rest is read out of the image.
#[derive(Clone, Debug)]
pub struct Edition {
    /// Display name, not empty.
    pub name: Name,
    /// Vendor, for people.
    pub vendor: String,
    /// The owner root under which the package is published.
    pub owner_root: KeyId,
    /// The class key that wraps the content key.
    pub class_key: KeyRef,
    /// Lowest version of OP-TEE it runs on.
    pub min_optee: Version,
    /// Lowest version of the TrustBox TA it runs on.
    pub min_ta: Version,
    /// When it was packed, in seconds since 1970-01-01 UTC; an input, so that packing depends on no clock.
    pub date: u64,
}

/// Why an image was not packed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SealError {
    /// The image is not a signed OP-TEE TA.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The display name is empty.
    #[error("name is empty")]
    EmptyName,
    /// The key for the original's signature has another size than old devices expect.
    #[error("signing key has {found} bits, the original's format needs {}", crate::original::KEY_BITS)]
    OriginalKey {
        /// Its bits.
        found: u32,
    },
    /// A name or certificate is longer than a package can say.
    #[error("{what} has {found} bytes, the limit is {limit}")]
    TooLong {
        /// What it is.
        what: &'static str,
        /// Its bytes.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// The host has no random numbers.
    #[error("no random numbers: {0}")]
    Random(#[from] getrandom::Error),
    /// AES-GCM failed.
    #[error("encryption failed")]
    Encryption,
    /// A key that is not in memory did not encrypt.
    #[error("encryption failed: {0}")]
    Elsewhere(String),
    /// The SBOM is too long.
    #[error("SBOM has {found} bytes, the limit is {MAX_ATTACHMENT}")]
    SbomSize {
        /// Its bytes.
        found: usize,
    },
    /// The statement was not signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The JSON manifest was not written.
    #[error("JSON manifest: {0}")]
    Json(#[from] serde_json::Error),
    /// The frame was not written.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// A 256-bit AES key that encrypts, wherever it is kept.
pub trait Aes256 {
    /// AES-256-GCM in place; returns the tag.
    fn encrypt(
        &self,
        nonce: &Bytes<NONCE_SIZE>,
        additional: &[u8],
        bytes: &mut [u8],
    ) -> Result<Bytes<TAG_SIZE>, SealError>;
}

impl<K: Aes256 + ?Sized> Aes256 for Box<K> {
    fn encrypt(
        &self,
        nonce: &Bytes<NONCE_SIZE>,
        additional: &[u8],
        bytes: &mut [u8],
    ) -> Result<Bytes<TAG_SIZE>, SealError> {
        (**self).encrypt(nonce, additional, bytes)
    }
}

/// A class key that wraps content keys: one that encrypts, or one in a key service.
pub trait WrapContentKey {
    /// Wraps a content key, with the manifest's header and terms as additional data. `nonce` is a fresh one, for a class key that
    /// does not choose its own.
    fn wrap(
        &self,
        nonce: &Bytes<NONCE_SIZE>,
        additional: &[u8],
        content_key: &Secret<32>,
    ) -> Result<WrappedKey, SealError>;
}

impl<K: Aes256 + ?Sized> WrapContentKey for K {
    fn wrap(
        &self,
        nonce: &Bytes<NONCE_SIZE>,
        additional: &[u8],
        content_key: &Secret<32>,
    ) -> Result<WrappedKey, SealError> {
        let mut key = content_key.clone();
        let tag = self.encrypt(nonce, additional, key.expose_mut())?;
        Ok(WrappedKey { nonce: *nonce, ciphertext: Bytes(*key.expose()), tag })
    }
}

impl Aes256 for ClassKey {
    fn encrypt(
        &self,
        nonce: &Bytes<NONCE_SIZE>,
        additional: &[u8],
        bytes: &mut [u8],
    ) -> Result<Bytes<TAG_SIZE>, SealError> {
        let tag = Aes256Gcm::new(self.expose().into()).encrypt_inout_detached(
            &Nonce::from(nonce.0),
            additional,
            bytes.into(),
        );
        tag.map(|tag| Bytes(tag.into())).map_err(|_| SealError::Encryption)
    }
}

/// What is new with each package: a content key and two nonces.
pub struct Fresh {
    pub(crate) content_key: Secret<32>,
    pub(crate) image_nonce: Bytes<NONCE_SIZE>,
    pub(crate) key_nonce: Bytes<NONCE_SIZE>,
}

impl Fresh {
    /// Random ones; there is no other way outside of tests.
    pub fn generate() -> Result<Self, getrandom::Error> {
        Ok(Self { content_key: random_secret()?, image_nonce: random_nonce()?, key_nonce: random_nonce()? })
    }
}

/// Packs a signed OP-TEE image; returns the bytes of the package.
///
/// Content key and nonces are fresh; everything else follows from the arguments.
pub fn seal(
    image: &[u8],
    edition: &Edition,
    class_key: &(impl WrapContentKey + ?Sized),
    publisher: &(impl Es256 + ?Sized),
) -> Result<Vec<u8>, SealError> {
    seal_with(Fresh::generate()?, image, edition, None, class_key, publisher)
}

/// As [`seal`], with an SBOM (CycloneDX in JSON) where there is one.
pub fn seal_with(
    fresh: Fresh,
    image: &[u8],
    edition: &Edition,
    sbom: Option<&[u8]>,
    class_key: &(impl WrapContentKey + ?Sized),
    publisher: &(impl Es256 + ?Sized),
) -> Result<Vec<u8>, SealError> {
    Parts::read(image)?;
    if edition.name.is_empty() {
        return Err(SealError::EmptyName);
    }
    if let Some(found) = sbom.map(<[u8]>::len).filter(|found| *found > MAX_ATTACHMENT) {
        return Err(SealError::SbomSize { found });
    }
    let count = if sbom.is_some() { 8 } else { 6 };
    let encrypted = Encrypted::new(image, &fresh, data_start(count))?;
    let terms = terms(&encrypted, edition, publisher);
    let trusted = statement(&terms, edition, &fresh, class_key, publisher)?;
    let annex = sbom.map(|sbom| annex(&trusted, sbom, publisher)).transpose()?;
    let json = json_manifest(&terms, edition, count).write()?;
    let (nonce, tag) = (terms.nonce, terms.tag);
    let own: [&[u8]; 5] = [nonce.as_ref(), tag.as_ref(), terms.plaintext_sha256.as_ref(), &json, &trusted];
    let behind = own.into_iter().chain(annex.as_deref()).chain(sbom);
    put_together(encrypted.room, image.len(), &behind.collect::<Vec<_>>())
}

/// The ciphertext stays where it is: behind the room for header and table, which are known last.
fn put_together(mut out: Vec<u8>, payload: usize, behind: &[&[u8]]) -> Result<Vec<u8>, SealError> {
    let sizes: Vec<usize> = [payload].into_iter().chain(behind.iter().map(|stream| stream.len())).collect();
    let front = front(&sizes, MANIFEST)?;
    out[..front.len()].copy_from_slice(&front);
    behind.iter().for_each(|stream| out.extend_from_slice(stream));
    Ok(out)
}

/// The encrypted image and what belongs to it.
struct Encrypted {
    facts: Image,
    /// Room for header and table, then the ciphertext.
    room: Vec<u8>,
    nonce: Bytes<NONCE_SIZE>,
    tag: Bytes<TAG_SIZE>,
    ciphertext_sha256: Bytes<32>,
    plaintext_sha256: Bytes<32>,
}

impl Encrypted {
    /// Digests of the plaintext are made beside the encryption: they take longer than it does.
    fn new(image: &[u8], fresh: &Fresh, start: usize) -> Result<Self, SealError> {
        std::thread::scope(|scope| {
            let header = scope.spawn(|| Image::read(image));
            let plain = scope.spawn(|| Bytes(Sha256::digest(image).into()));
            let mut room = Vec::with_capacity(start + image.len() + ROOM_BEHIND);
            room.resize(start, 0);
            room.extend_from_slice(image);
            let ciphertext = &mut room[start..];
            let content_key = ClassKey::new(fresh.content_key.clone());
            let tag = content_key.encrypt(&fresh.image_nonce, &[], ciphertext)?;
            let ciphertext_sha256 = Bytes(Sha256::digest(&*ciphertext).into());
            let facts = header.join().map_err(|_| SealError::Encryption)??;
            let plaintext_sha256 = plain.join().map_err(|_| SealError::Encryption)?;
            let nonce = fresh.image_nonce;
            Ok(Self { facts, room, nonce, tag, ciphertext_sha256, plaintext_sha256 })
        })
    }
}

fn terms(encrypted: &Encrypted, edition: &Edition, publisher: &(impl Es256 + ?Sized)) -> Terms {
    let facts = &encrypted.facts;
    Terms {
        publisher: publisher.public_key().id(),
        uuid: facts.uuid,
        name: edition.name,
        version: facts.version,
        min_optee: edition.min_optee,
        min_ta: edition.min_ta,
        size: facts.size,
        ciphertext_sha256: encrypted.ciphertext_sha256,
        plaintext_sha256: encrypted.plaintext_sha256,
        nonce: encrypted.nonce,
        tag: encrypted.tag,
        class_key: edition.class_key,
    }
}

/// The trusted manifest: everything before the wrapped content key is its additional data.
fn statement(
    terms: &Terms,
    edition: &Edition,
    fresh: &Fresh,
    class_key: &(impl WrapContentKey + ?Sized),
    publisher: &(impl Es256 + ?Sized),
) -> Result<Vec<u8>, SealError> {
    let header = Header {
        kind: Kind::Manifest,
        format: FORMAT,
        root: edition.owner_root,
        audience: Audience::Fleet,
        sequence: terms.version.into(),
    };
    let front = [sign::encode(&header)?, sign::encode(terms)?].concat();
    let wrapped = class_key.wrap(&fresh.key_nonce, &front, &fresh.content_key)?;
    let payload = [front, sign::encode(&wrapped)?].concat();
    Ok(sign::payload(&payload, publisher)?)
}

fn annex(trusted: &[u8], sbom: &[u8], publisher: &(impl Es256 + ?Sized)) -> Result<Vec<u8>, SealError> {
    let attachments = [Attachment::of(Attachment::SBOM, sbom)].into_iter().collect();
    let trusted_sha256 = Bytes(Sha256::digest(trusted).into());
    let annex = Annex { format: crate::annex::FORMAT, trusted_sha256, attachments };
    Ok(sign::annex(&annex, publisher)?)
}

fn random_nonce() -> Result<Bytes<NONCE_SIZE>, getrandom::Error> {
    let mut nonce = Bytes::default();
    getrandom::fill(&mut nonce.0)?;
    Ok(nonce)
}

fn json_manifest(terms: &Terms, edition: &Edition, streams: usize) -> json::Manifest {
    let (key_name, none) = (class_key::name(&terms.class_key), json::Digest::None);
    json::Manifest {
        id: terms.uuid.to_string(),
        name: terms.name.to_string(),
        vendor: edition.vendor.clone(),
        payload: json::Payload {
            data: 0,
            target: json::Target::optee(),
            ver: json::PayloadVersion { maj: terms.version, min: 0, rev: 0, date: date::text(edition.date) },
            enc: json::Encryption::AesGcm { key_name, key_strength: 256, nonce: 1, tag: 2 },
            dig: json::Digest::Sha256 { data: 3 },
            sig: json::Signature::None,
            cert: json::Certificate::None,
        },
        package: json::Container {
            map: (0..streams).collect(),
            dig: none,
            sig: json::Signature::None,
            cert: json::Certificate::None,
        },
    }
}

#[cfg(test)]
mod tests;

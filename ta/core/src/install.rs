//! From an encrypted package to an installed enclave.
//!
//! The order is fixed (INV-2): publisher's signature over the raw manifest, then its meaning, then
//! whether it may be installed, then memory for it; at the end the digest of the ciphertext, the
//! content key, the tag, the digest of the plaintext, the header inside. Whether it may be
//! installed is asked again at the end, under the writer slot, since begin may be long ago.
//!
//! A package of the original format has no signed manifest. It takes the same way, but the owner's policy must name its
//! UUID, and its class key encrypts the image itself.

use alloc::boxed::Box;

use arrayvec::ArrayVec;
use sha2::{Digest, Sha256};
use trustbox_api::key::{KeyId, KeyRef, Name, PublicKey, Uuid};
use trustbox_api::limits::{MAX_CHUNK, MAX_IMAGE, MAX_STATEMENT};
use trustbox_api::log::Event;
use trustbox_api::manifest::{self, Parsed, Terms};
use trustbox_api::message::{InstallChunkRequest, InstallReply, LegacyRequest, Version};
use trustbox_api::{Bytes, Error, Secret};

use crate::authority;
use crate::image;
use crate::records::{
    DeviceRecord, EnclavesRecord, Installed, Intent, KeysRecord, Owner, exclusively, load, store, undisturbed,
};
use crate::reserved;
use crate::tee::{Slot, Tee, Untrusted};
use crate::{log, seal, settle};

/// An install under way: what was verified, and its ciphertext so far.
pub struct Install<T: Tee> {
    wanted: Wanted,
    source: Source,
    buffer: T::Buffer,
    received: usize,
    hash: Sha256,
}

/// What is to be installed.
struct Wanted {
    uuid: Uuid,
    name: Name,
    version: u32,
    /// Digest of the plaintext.
    digest: Bytes<32>,
    nonce: Bytes<12>,
    tag: Bytes<16>,
    class_key: KeyRef,
}

/// Who vouches for it.
enum Source {
    /// A publisher, by the payload of a manifest statement.
    Publisher(PublicKey, Box<ArrayVec<u8, MAX_STATEMENT>>),
    /// The owner's policy.
    Policy,
}

/// Verifies a manifest and makes room for its ciphertext.
#[inline(never)]
pub fn begin<T: Tee>(tee: &mut T, device: &DeviceRecord, request: &[u8]) -> Result<Install<T>, Error> {
    let owner = device.owner()?;
    let statement = authority::by_publisher(tee, owner, request)?;
    let publisher = *statement.signer();
    let payload: Box<ArrayVec<u8, MAX_STATEMENT>> =
        Box::new(ArrayVec::try_from(statement.payload()).map_err(|_| Error::TooLarge)?);
    let terms = parse(&payload, &publisher)?.manifest.terms;
    check_firmware(tee, terms.min_optee, terms.min_ta)?;
    start(tee, owner, Wanted::of(&terms), Source::Publisher(publisher, payload), terms.size)
}

/// Begins the install of a package without a trusted manifest.
#[inline(never)]
pub fn begin_legacy<T: Tee>(
    tee: &mut T,
    device: &DeviceRecord,
    request: &LegacyRequest,
) -> Result<Install<T>, Error> {
    if !(1..=MAX_IMAGE).contains(&request.size) || request.name.is_empty() || !is_version(request.version) {
        return Err(Error::ManifestInvalid);
    }
    let wanted = Wanted {
        uuid: request.uuid,
        name: request.name,
        version: request.version,
        digest: request.plaintext_sha256,
        nonce: request.nonce,
        tag: request.tag,
        class_key: request.class_key,
    };
    start(tee, device.owner()?, wanted, Source::Policy, request.size)
}

fn start<T: Tee>(
    tee: &mut T,
    owner: &Owner,
    wanted: Wanted,
    source: Source,
    size: u32,
) -> Result<Install<T>, Error> {
    check_allowed(owner, &*load(tee)?, &wanted, &source)?;
    class_key(tee, owner, &wanted.class_key)?;
    if size > tee.platform().max_image {
        return Err(Error::OutOfMemory);
    }
    tee.acquire(Slot::Install)?;
    match tee.map(size as usize) {
        Ok(buffer) => Ok(Install { wanted, source, buffer, received: 0, hash: Sha256::new() }),
        Err(error) => {
            tee.release(Slot::Install);
            Err(error)
        }
    }
}

/// Takes the next bytes of the ciphertext. A refused chunk changes nothing.
pub fn chunk<T: Tee>(
    install: &mut Install<T>,
    request: InstallChunkRequest,
    data: &dyn Untrusted,
) -> Result<(), Error> {
    let length = data.len();
    if length > MAX_CHUNK {
        return Err(Error::TooLarge);
    }
    if length == 0 || request.offset as usize != install.received {
        return Err(Error::ChunkOutOfOrder);
    }
    let end = install.received + length;
    let room = install.buffer.get_mut(install.received..end).ok_or(Error::ChunkOutOfOrder)?;
    data.copy_to(room)?;
    install.hash.update(&*room);
    install.received = end;
    Ok(())
}

/// Verifies, decrypts, installs. The install is over afterwards, whatever comes out.
#[inline(never)]
pub fn finish<T: Tee>(
    tee: &mut T,
    device: &DeviceRecord,
    mut install: Install<T>,
) -> Result<InstallReply, Error> {
    let image = device.owner().and_then(|owner| open_image(tee, owner, &mut install));
    let result = image.and_then(|contents| commit(tee, &mut install, contents));
    abort(tee, install);
    result
}

/// Forgets an install.
pub fn abort<T: Tee>(tee: &mut T, install: Install<T>) {
    drop(install);
    tee.release(Slot::Install);
}

/// Turns the ciphertext in the buffer into the verified image; returns the digest of what OP-TEE will hold of it.
fn open_image<T: Tee>(tee: &mut T, owner: &Owner, install: &mut Install<T>) -> Result<Bytes<32>, Error> {
    let Install { wanted, source, buffer, received, hash } = install;
    if *received != buffer.len() {
        return Err(Error::Incomplete);
    }
    let content_key = content_key(tee, owner, wanted, source, hash)?;
    seal::decrypt_image(&content_key, &wanted.nonce, &wanted.tag, buffer)?;
    if Sha256::digest(&**buffer).as_slice() != wanted.digest.as_ref() {
        return Err(Error::PlaintextDigest);
    }
    let contents = image::check(buffer, &wanted.uuid, wanted.version)?;
    Ok(Bytes(Sha256::digest(contents).into()))
}

/// The key of the image, once the ciphertext is what the publisher signed.
fn content_key<T: Tee>(
    tee: &mut T,
    owner: &Owner,
    wanted: &Wanted,
    source: &Source,
    ciphertext: &mut Sha256,
) -> Result<Secret<32>, Error> {
    let Source::Publisher(publisher, payload) = source else {
        return class_key(tee, owner, &wanted.class_key);
    };
    let parsed = parse(payload, publisher)?;
    if ciphertext.finalize_reset().as_slice() != parsed.manifest.terms.ciphertext_sha256.as_ref() {
        return Err(Error::CiphertextDigest);
    }
    seal::unwrap_content_key(&class_key(tee, owner, &wanted.class_key)?, &parsed)
}

fn class_key<T: Tee>(tee: &mut T, owner: &Owner, key: &KeyRef) -> Result<Secret<32>, Error> {
    owner.revoked.check_class_key(key)?;
    load::<KeysRecord, T>(tee)?.find(key).cloned()
}

/// Hands the image to OP-TEE between an intent and the final record.
fn commit<T: Tee>(tee: &mut T, install: &mut Install<T>, contents: Bytes<32>) -> Result<InstallReply, Error> {
    let Install { wanted: Wanted { uuid, name, version, digest, .. }, source, buffer, .. } = install;
    let (uuid, name, version, digest) = (*uuid, *name, *version, *digest);
    undisturbed(tee, |tee| {
        exclusively(tee, |tee| {
            let device: Box<DeviceRecord> = load(tee)?;
            // An interrupted install may have raised the floor.
            let mut record = settle::resolve_all(tee)?;
            check_allowed(device.owner()?, &record, &install.wanted, source)?;
            let enclave = record.find_or_add(uuid, &name)?;
            let next = Installed { version, digest, publisher: source.publisher() };
            enclave.intent = Some(Intent::Install { next, name, contents });
            if version > enclave.floor {
                log::accept(tee, [Event::Installed { uuid, version, digest }])?;
            } else {
                log::observe(tee, Event::Reinstalled { uuid, version }, 1)?;
            }
            store(tee, &*record)?;
            let outcome = tee.install(buffer);
            let enclave = record.find_or_add(uuid, &name)?;
            match outcome {
                Ok(()) => settle::finish(tee, enclave),
                // OP-TEE says which of the two it holds.
                Err(_) => settle::resolve(tee, enclave)?,
            }
            record.forget_unused();
            store(tee, &*record)?;
            outcome.map(|()| InstallReply { uuid, version })
        })
    })
}

/// A manifest that keeps its own rules; its signature was checked before.
fn parse<'a>(payload: &'a [u8], publisher: &PublicKey) -> Result<Parsed<'a>, Error> {
    let parsed = manifest::parse(payload)?;
    let terms = &parsed.manifest.terms;
    let consistent = terms.publisher == publisher.id()
        && parsed.header.sequence == u64::from(terms.version)
        && is_version(terms.version)
        && (1..=MAX_IMAGE).contains(&terms.size)
        && !terms.name.is_empty();
    if consistent { Ok(parsed) } else { Err(Error::ManifestInvalid) }
}

/// 0 is the floor of what was never installed, and a floor of `u32::MAX` revokes all there is.
fn is_version(version: u32) -> bool {
    (1..u32::MAX).contains(&version)
}

fn check_firmware<T: Tee>(tee: &T, min_optee: Version, min_ta: Version) -> Result<(), Error> {
    let platform = tee.platform();
    if platform.optee_version < min_optee || platform.ta_version < min_ta {
        return Err(Error::FirmwareTooOld);
    }
    Ok(())
}

/// Whether the device, as it is now, takes this version of this enclave from this source.
fn check_allowed(
    owner: &Owner,
    record: &EnclavesRecord,
    wanted: &Wanted,
    source: &Source,
) -> Result<(), Error> {
    reserved::check(&wanted.uuid)?;
    source.check(owner, &wanted.uuid)?;
    owner.revoked.check_enclave(&wanted.uuid, wanted.version, &source.publisher())?;
    let others = record.enclaves.iter().filter(|other| other.uuid != wanted.uuid);
    if others.filter(|other| other.installed.is_some()).count() >= owner.policy.max_enclaves.into() {
        return Err(Error::LimitReached);
    }
    match record.find(&wanted.uuid) {
        Some(enclave) if wanted.version < enclave.floor => Err(Error::VersionRollback),
        None if record.enclaves.is_full() => Err(Error::LimitReached),
        _ => Ok(()),
    }
}

impl Wanted {
    fn of(terms: &Terms) -> Self {
        Self {
            uuid: terms.uuid,
            name: terms.name,
            version: terms.version,
            digest: terms.plaintext_sha256,
            nonce: terms.nonce,
            tag: terms.tag,
            class_key: terms.class_key,
        }
    }
}

impl Source {
    /// Whether the owner accepts it for this UUID.
    fn check(&self, owner: &Owner, uuid: &Uuid) -> Result<(), Error> {
        match self {
            Self::Publisher(key, _) => authority::may_publish(owner, key, uuid),
            Self::Policy if owner.policy.legacy.contains(uuid) => Ok(()),
            Self::Policy => Err(Error::NotAuthorised),
        }
    }

    /// The publisher's id; zero where there is none.
    fn publisher(&self) -> KeyId {
        match self {
            Self::Publisher(key, _) => key.id(),
            Self::Policy => KeyId::default(),
        }
    }
}

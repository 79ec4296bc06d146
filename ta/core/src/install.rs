//! From an encrypted package to an installed enclave.
//!
//! The order is fixed (INV-2): publisher's signature over the raw manifest, then its meaning, then
//! whether it may be installed, then memory for it; at the end the digest of the ciphertext, the
//! content key, the tag, the digest of the plaintext, the header inside. Whether it may be
//! installed is asked again at the end, under the writer slot, since begin may be long ago.

use heapless::Vec;
use sha2::{Digest, Sha256};
use trustbox_api::key::PublicKey;
use trustbox_api::limits::{MAX_CHUNK, MAX_IMAGE, MAX_STATEMENT};
use trustbox_api::manifest::{self, Manifest, Parsed, Terms};
use trustbox_api::message::{InstallChunkRequest, InstallReply};
use trustbox_api::{Error, Secret};

use crate::authority;
use crate::image;
use crate::records::{
    DeviceRecord, EnclaveRecord, EnclavesRecord, Installed, Intent, KeysRecord, exclusively, load, store,
};
use crate::reserved;
use crate::seal;
use crate::tee::{Slot, Tee, Untrusted};

/// An install under way: a manifest that was verified, and its ciphertext so far.
pub struct Install<T: Tee> {
    publisher: PublicKey,
    payload: Vec<u8, MAX_STATEMENT>,
    buffer: T::Buffer,
    received: usize,
    hash: Sha256,
}

/// Verifies a manifest and makes room for its ciphertext.
pub fn begin<T: Tee>(tee: &mut T, request: &[u8]) -> Result<Install<T>, Error> {
    let device: DeviceRecord = load(tee)?;
    let statement = authority::by_publisher(tee, device.owner()?, request)?;
    let publisher = *statement.signer();
    let payload = Vec::from_slice(statement.payload()).map_err(|_| Error::TooLarge)?;
    let parsed = parse(&payload, &publisher)?;
    let terms = &parsed.manifest.terms;
    check_allowed(tee, terms, &publisher)?;
    let keys: KeysRecord = load(tee)?;
    keys.find(&terms.class_key)?;
    tee.acquire(Slot::Install)?;
    match tee.map(terms.size as usize) {
        Ok(buffer) => Ok(Install { publisher, payload, buffer, received: 0, hash: Sha256::new() }),
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
pub fn finish<T: Tee>(tee: &mut T, mut install: Install<T>) -> Result<InstallReply, Error> {
    let result = open_image(tee, &mut install).and_then(|terms| commit(tee, &mut install, &terms));
    abort(tee, install);
    result
}

/// Forgets an install.
pub fn abort<T: Tee>(tee: &mut T, install: Install<T>) {
    drop(install);
    tee.release(Slot::Install);
}

/// Turns the ciphertext in the buffer into the verified image.
fn open_image<T: Tee>(tee: &mut T, install: &mut Install<T>) -> Result<Terms, Error> {
    if install.received != install.buffer.len() {
        return Err(Error::Incomplete);
    }
    let parsed = parse(&install.payload, &install.publisher)?;
    let terms = &parsed.manifest.terms;
    if install.hash.finalize_reset().as_slice() != terms.ciphertext_sha256.as_ref() {
        return Err(Error::CiphertextDigest);
    }
    let content_key = content_key(tee, &parsed)?;
    seal::decrypt_image(&content_key, terms, &mut install.buffer)?;
    if Sha256::digest(&*install.buffer).as_slice() != terms.plaintext_sha256.as_ref() {
        return Err(Error::PlaintextDigest);
    }
    image::check(&install.buffer, terms)?;
    Ok(parsed.manifest.terms)
}

fn content_key<T: Tee>(tee: &mut T, parsed: &Parsed<'_>) -> Result<Secret<32>, Error> {
    let keys: KeysRecord = load(tee)?;
    let class_key = keys.find(&parsed.manifest.terms.class_key)?;
    seal::unwrap_content_key(class_key, parsed)
}

/// Hands the image to OP-TEE between an intent and the final record.
fn commit<T: Tee>(tee: &mut T, install: &mut Install<T>, terms: &Terms) -> Result<InstallReply, Error> {
    exclusively(tee, |tee| {
        check_allowed(tee, terms, &install.publisher)?;
        let mut record: EnclavesRecord = load(tee)?;
        let enclave = record.find_or_add(terms.uuid, &terms.name)?;
        let before =
            enclave.intent.replace(Intent { version: terms.version, digest: terms.plaintext_sha256 });
        store(tee, &record)?;
        let outcome = tee.install(&mut install.buffer);
        let enclave = record.find_or_add(terms.uuid, &terms.name)?;
        match outcome {
            Ok(()) => settle(tee, enclave, terms),
            // Refused before OP-TEE touched what is installed.
            Err(Error::ImageRefused) => enclave.intent = before,
            // Nobody knows: the intent stays until an install succeeds.
            Err(_) => {}
        }
        record.forget_unused();
        store(tee, &record)?;
        outcome.map(|()| InstallReply { uuid: terms.uuid, version: terms.version })
    })
}

/// Makes the new version the installed one. A new publisher inherits no sealed data.
fn settle<T: Tee>(tee: &mut T, enclave: &mut EnclaveRecord, terms: &Terms) {
    let sealing_key = match enclave.installed.take() {
        Some(old) if old.publisher == terms.publisher => old.sealing_key,
        _ => fresh_key(tee),
    };
    enclave.name = terms.name.clone();
    enclave.floor = enclave.floor.max(terms.version);
    enclave.intent = None;
    enclave.installed = Some(Installed {
        version: terms.version,
        digest: terms.plaintext_sha256,
        publisher: terms.publisher,
        sealing_key,
    });
}

fn fresh_key<T: Tee>(tee: &mut T) -> Secret<32> {
    let mut key = Secret::zero();
    tee.random(key.expose_mut());
    key
}

/// A manifest that keeps its own rules; its signature was checked before.
fn parse<'a>(payload: &'a [u8], publisher: &PublicKey) -> Result<Parsed<'a>, Error> {
    let parsed = manifest::parse(payload)?;
    let Manifest { terms, .. } = &parsed.manifest;
    let consistent = terms.publisher == publisher.id()
        && parsed.header.sequence == u64::from(terms.version)
        && (1..=MAX_IMAGE).contains(&terms.size)
        && !terms.name.is_empty();
    if consistent { Ok(parsed) } else { Err(Error::ManifestInvalid) }
}

/// Whether the device, as it is now, takes this version of this enclave from this publisher.
fn check_allowed<T: Tee>(tee: &mut T, terms: &Terms, publisher: &PublicKey) -> Result<(), Error> {
    reserved::check(&terms.uuid)?;
    let device: DeviceRecord = load(tee)?;
    authority::may_publish(device.owner()?, publisher, &terms.uuid)?;
    let platform = tee.platform();
    if platform.optee_version < terms.min_optee || platform.ta_version < terms.min_ta {
        return Err(Error::FirmwareTooOld);
    }
    let enclaves: EnclavesRecord = load(tee)?;
    match enclaves.find(&terms.uuid) {
        Some(enclave) if terms.version < enclave.floor => Err(Error::VersionRollback),
        None if enclaves.enclaves.is_full() => Err(Error::LimitReached),
        _ => Ok(()),
    }
}

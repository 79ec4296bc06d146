//! Statements for the TA: who owns a device, who may do what for the owner, and class keys for one device.
//!
//! Every function returns the bytes of a statement file, the encoded `trustbox_api::statement::Envelope`.

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use heapless::Vec as Bounded;
use p256::ecdsa::SigningKey;
use rsa::pkcs8::DecodePublicKey;
use rsa::traits::PublicKeyParts;
use rsa::{BoxedUint, Oaep, RsaPublicKey};
use sha2::Sha256;
use thiserror::Error;
use trustbox_api::key::{KeyId, KeyName, KeyRef};
use trustbox_api::message::Nonce;
use trustbox_api::statement::{self, Audience, FORMAT, Header, Kind};
use trustbox_api::{DeviceId, PublicKey, Uuid};
use trustbox_package::ClassKey;
use trustbox_package::sign::{self, SignError, public_key};

/// Bits of a device key at least.
pub const MIN_DEVICE_KEY_BITS: u32 = 2048;
/// Bits of a device key at most.
pub const MAX_DEVICE_KEY_BITS: u32 = 4096;
/// The public exponent of every device key.
const EXPONENT: u64 = 65_537;

/// Why no statement was issued.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IssueError {
    /// The statement was not signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// More entries than the TA takes, or none.
    #[error("{found} {what}, allowed are 1 to {limit}")]
    Count {
        /// What was counted.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there may be.
        limit: usize,
    },
    /// The device key is not an RSA key.
    #[error("device key is not an RSA SubjectPublicKeyInfo in DER: {0}")]
    DeviceKey(rsa::pkcs8::spki::Error),
    /// The device key is too short or too long.
    #[error("device key has {0} bits, allowed are {MIN_DEVICE_KEY_BITS} to {MAX_DEVICE_KEY_BITS}")]
    DeviceKeySize(u32),
    /// The device key's public exponent is not that of a device key.
    #[error("device key has another public exponent than {EXPONENT}")]
    DeviceKeyExponent,
    /// The host has no random numbers.
    #[error("no random numbers: {0}")]
    Random(#[from] getrandom::Error),
    /// RSA failed.
    #[error("wrapping the class key failed: {0}")]
    Wrap(rsa::Error),
}

/// A device that asked for something, and the nonce it gave.
#[derive(Clone, Copy, Debug)]
pub struct Asking {
    /// Identity of the device.
    pub device_id: DeviceId,
    /// The nonce.
    pub nonce: Nonce,
}

/// Pins an owner root to one device, signed by the provisioning authority.
pub fn pin_root(authority: &SigningKey, root: &PublicKey, asking: &Asking) -> Result<Vec<u8>, IssueError> {
    let header = Header {
        kind: Kind::PinRoot,
        format: FORMAT,
        root: root.id(),
        audience: Audience::Device(asking.device_id),
        sequence: 0,
    };
    let body = statement::PinRoot { nonce: asking.nonce, root: *root };
    Ok(sign::statement(&header, &body, authority)?)
}

/// Lets a publisher publish exactly these applications on all devices of the owner.
///
/// Replaces what was said of this publisher before. `sequence` must rise from one publisher delegation to the next.
pub fn delegate_publisher(
    root: &SigningKey,
    publisher: &PublicKey,
    uuids: &[Uuid],
    sequence: u64,
) -> Result<Vec<u8>, IssueError> {
    let body = statement::Publisher { key: *publisher, uuids: bounded("application UUIDs", uuids)? };
    Ok(sign::statement(&fleet(Kind::Publisher, root, sequence), &body, root)?)
}

/// Lets a releaser release exactly these class keys to all devices of the owner.
///
/// Replaces what was said of this releaser before. `sequence` must rise from one releaser delegation to the next.
pub fn delegate_releaser(
    root: &SigningKey,
    releaser: &PublicKey,
    names: &[KeyName],
    sequence: u64,
) -> Result<Vec<u8>, IssueError> {
    let body = statement::Releaser { key: *releaser, keys: bounded("class key names", names)? };
    Ok(sign::statement(&fleet(Kind::Releaser, root, sequence), &body, root)?)
}

/// Hands a class key to one device: wrapped with RSAES-OAEP (SHA-256) to its key, signed by a releaser.
///
/// Whoever holds the private half of `device_key` gets the class key: that it is the device's must be known.
pub fn release(
    releaser: &SigningKey,
    root: KeyId,
    asking: &Asking,
    device_key: &[u8],
    (key, value): (&KeyRef, &ClassKey),
) -> Result<Vec<u8>, IssueError> {
    let wrapped = wrap(&parse_device_key(device_key)?, value)?;
    let header = Header {
        kind: Kind::KeyBundle,
        format: FORMAT,
        root,
        audience: Audience::Device(asking.device_id),
        sequence: key.version.into(),
    };
    let body = statement::KeyBundle { nonce: asking.nonce, key: key.clone(), wrapped: &wrapped };
    Ok(sign::statement(&header, &body, releaser)?)
}

fn fleet(kind: Kind, root: &SigningKey, sequence: u64) -> Header {
    let root = public_key(root.verifying_key()).id();
    Header { kind, format: FORMAT, root, audience: Audience::Fleet, sequence }
}

fn bounded<T: Clone, const N: usize>(what: &'static str, items: &[T]) -> Result<Bounded<T, N>, IssueError> {
    let found = items.len();
    let full = Bounded::from_slice(items).ok().filter(|items| !items.is_empty());
    full.ok_or(IssueError::Count { what, found, limit: N })
}

fn parse_device_key(der: &[u8]) -> Result<RsaPublicKey, IssueError> {
    let key = RsaPublicKey::from_public_key_der(der).map_err(IssueError::DeviceKey)?;
    let bits = key.n().bits_vartime();
    if !(MIN_DEVICE_KEY_BITS..=MAX_DEVICE_KEY_BITS).contains(&bits) {
        return Err(IssueError::DeviceKeySize(bits));
    }
    if *key.e() != BoxedUint::from(EXPONENT) {
        return Err(IssueError::DeviceKeyExponent);
    }
    Ok(key)
}

fn wrap(device_key: &RsaPublicKey, class_key: &ClassKey) -> Result<Vec<u8>, IssueError> {
    // Fails here, as an error, where the generator below would panic.
    getrandom::u32()?;
    let padding = Oaep::<Sha256>::new();
    device_key.encrypt(&mut UnwrapErr(SysRng), padding, class_key.expose()).map_err(IssueError::Wrap)
}

#[cfg(test)]
mod tests;

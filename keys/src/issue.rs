//! Statements for the TA: who owns a device, who may do what for the owner, what is allowed and what is revoked, and class
//! keys for one device.
//!
//! Every function returns the bytes of a statement file, the encoded `trustbox_api::statement::Envelope`.

use arrayvec::ArrayVec;
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use p256::ecdsa::SigningKey;
use rsa::pkcs8::DecodePublicKey;
use rsa::traits::PublicKeyParts;
use rsa::{BoxedUint, Oaep, RsaPublicKey};
use sha2::Sha256;
use thiserror::Error;
use trustbox_api::key::{KeyId, KeyName, KeyRef};
use trustbox_api::limits::MAX_ENCLAVES;
use trustbox_api::message::Nonce;
use trustbox_api::statement::{self, Audience, FORMAT, Header, Kind, Revoked};
use trustbox_api::{DeviceId, PublicKey, Uuid};
use trustbox_package::sign::{self, Es256, SignError, public_key};
use trustbox_package::{ClassKey, Request};

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
    /// More entries than the TA takes, or too few.
    #[error("{found} {what}, allowed are {least} to {limit}")]
    Count {
        /// What was counted.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there must be.
        least: usize,
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

impl From<&Request> for Asking {
    fn from(request: &Request) -> Self {
        let (device_id, nonce) = request.asking();
        Self { device_id, nonce }
    }
}

/// Which devices a statement is for, and its place in the order of its kind.
///
/// A plain sequence is for all devices of the owner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scope {
    /// The devices.
    pub audience: Audience,
    /// Must rise from one statement of a kind to the next, whoever signs and whatever the audience.
    pub sequence: u64,
}

impl From<u64> for Scope {
    fn from(sequence: u64) -> Self {
        Self { audience: Audience::Fleet, sequence }
    }
}

/// Pins an owner root to one device, signed by the provisioning authority.
pub fn pin_root(authority: &SigningKey, root: &PublicKey, asking: &Asking) -> Result<Vec<u8>, IssueError> {
    let body = statement::PinRoot { nonce: asking.nonce, root: *root };
    Ok(sign::statement(&one_device(Kind::PinRoot, root.id(), asking), &body, authority)?)
}

/// Closes the factory's doors on one device, signed by the provisioning authority. `root` is the device's owner root.
pub fn lock(authority: &SigningKey, root: KeyId, asking: &Asking) -> Result<Vec<u8>, IssueError> {
    let body = statement::Lock { nonce: asking.nonce };
    Ok(sign::statement(&one_device(Kind::Lock, root, asking), &body, authority)?)
}

/// Hands one device over: signed by its owner root `old`, and `new` is its owner root from then on.
///
/// All roles that `old` gave end. Sequences go on: the new owner's statements must be higher than those of the old one.
pub fn rotate_root(old: &SigningKey, new: &PublicKey, asking: &Asking) -> Result<Vec<u8>, IssueError> {
    let body = statement::RotateRoot { nonce: asking.nonce, root: *new };
    Ok(sign::statement(&one_device(Kind::RotateRoot, id(old), asking), &body, old)?)
}

/// Ends the life of one device, signed by its owner root: everything secret is erased, for ever.
pub fn decommission(root: &SigningKey, asking: &Asking) -> Result<Vec<u8>, IssueError> {
    let body = statement::Decommission { nonce: asking.nonce };
    Ok(sign::statement(&one_device(Kind::Decommission, id(root), asking), &body, root)?)
}

/// Lets a publisher publish exactly these applications. Replaces what was said of this publisher before.
pub fn delegate_publisher(
    root: &SigningKey,
    publisher: &PublicKey,
    uuids: &[Uuid],
    scope: impl Into<Scope>,
) -> Result<Vec<u8>, IssueError> {
    let body = statement::Publisher { key: *publisher, uuids: bounded("application UUIDs", 1, uuids)? };
    Ok(sign::statement(&scoped(Kind::Publisher, id(root), scope.into()), &body, root)?)
}

/// Lets a releaser release exactly these class keys. Replaces what was said of this releaser before.
pub fn delegate_releaser(
    root: &SigningKey,
    releaser: &PublicKey,
    names: &[KeyName],
    scope: impl Into<Scope>,
) -> Result<Vec<u8>, IssueError> {
    let body = statement::Releaser { key: *releaser, keys: bounded("class key names", 1, names)? };
    Ok(sign::statement(&scoped(Kind::Releaser, id(root), scope.into()), &body, root)?)
}

/// Lets a revoker revoke keys, enclaves and class keys.
pub fn delegate_revoker(
    root: &SigningKey,
    revoker: &PublicKey,
    scope: impl Into<Scope>,
) -> Result<Vec<u8>, IssueError> {
    let body = statement::Revoker { key: *revoker };
    Ok(sign::statement(&scoped(Kind::Revoker, id(root), scope.into()), &body, root)?)
}

/// Says what the owner allows: `legacy` applications, whose packages may lack a trusted manifest, and at most
/// `max_enclaves` installed at a time. Replaces the policy before.
pub fn policy(
    root: &SigningKey,
    legacy: &[Uuid],
    max_enclaves: u8,
    scope: impl Into<Scope>,
) -> Result<Vec<u8>, IssueError> {
    let found = usize::from(max_enclaves);
    if found > MAX_ENCLAVES {
        return Err(IssueError::Count { what: "enclaves", found, least: 0, limit: MAX_ENCLAVES });
    }
    let body = statement::Policy { legacy: bounded("legacy UUIDs", 0, legacy)?, max_enclaves };
    Ok(sign::statement(&scoped(Kind::Policy, id(root), scope.into()), &body, root)?)
}

/// Revokes for ever, signed by a revoker or by the owner root itself. `root` is the owner root.
pub fn revoke(
    revoker: &SigningKey,
    root: KeyId,
    items: &[Revoked],
    scope: impl Into<Scope>,
) -> Result<Vec<u8>, IssueError> {
    let body = statement::Revocation { items: bounded("revoked items", 1, items)? };
    Ok(sign::statement(&scoped(Kind::Revocation, root, scope.into()), &body, revoker)?)
}

/// Hands a class key to one device: wrapped with RSAES-OAEP (SHA-256) to its key, signed by a releaser.
///
/// Whoever holds the private half of `device_key` gets the class key: that it is the device's must be known.
pub fn release(
    releaser: &(impl Es256 + ?Sized),
    root: KeyId,
    asking: &Asking,
    device_key: &[u8],
    (key, value): (&KeyRef, &ClassKey),
) -> Result<Vec<u8>, IssueError> {
    let wrapped = wrap(&parse_device_key(device_key)?, value)?;
    bundle(releaser, root, asking, key, &wrapped)
}

/// Signs a class key that is wrapped already, by [`wrap`] or inside a hardware module.
pub fn bundle(
    releaser: &(impl Es256 + ?Sized),
    root: KeyId,
    asking: &Asking,
    key: &KeyRef,
    wrapped: &[u8],
) -> Result<Vec<u8>, IssueError> {
    let sequence = key.version.into();
    let header = Header { sequence, ..one_device(Kind::KeyBundle, root, asking) };
    let body = statement::KeyBundle { nonce: asking.nonce, key: *key, wrapped };
    Ok(sign::statement(&header, &body, releaser)?)
}

/// A device key from its DER SubjectPublicKeyInfo: RSA of a size and with the exponent that device keys have.
pub fn parse_device_key(der: &[u8]) -> Result<RsaPublicKey, IssueError> {
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

/// RSAES-OAEP (SHA-256, MGF1-SHA-256, empty label) of a class key.
pub fn wrap(device_key: &RsaPublicKey, class_key: &ClassKey) -> Result<Vec<u8>, IssueError> {
    // Fails here, as an error, where the generator below would panic.
    getrandom::u32()?;
    let padding = Oaep::<Sha256>::new();
    device_key.encrypt(&mut UnwrapErr(SysRng), padding, class_key.expose()).map_err(IssueError::Wrap)
}

fn id(key: &SigningKey) -> KeyId {
    public_key(key.verifying_key()).id()
}

fn scoped(kind: Kind, root: KeyId, Scope { audience, sequence }: Scope) -> Header {
    Header { kind, format: FORMAT, root, audience, sequence }
}

/// The answer to a request; its nonce takes the place of a sequence.
fn one_device(kind: Kind, root: KeyId, asking: &Asking) -> Header {
    scoped(kind, root, Scope { audience: Audience::Device(asking.device_id), sequence: 0 })
}

fn bounded<T: Clone, const N: usize>(
    what: &'static str,
    least: usize,
    items: &[T],
) -> Result<ArrayVec<T, N>, IssueError> {
    let found = items.len();
    if !(least..=N).contains(&found) {
        return Err(IssueError::Count { what, found, least, limit: N });
    }
    Ok(items.iter().cloned().collect())
}

#[cfg(test)]
mod tests;

//! Who may say what: the one verifier of signed statements.
//!
//! A [`Verified`] statement can only be made here, after the signature, the signer, the kind, the
//! format, the owner root and the audience were checked, and everything that acts on a statement
//! asks for one: a forgotten check does not compile. Sequence and nonce are the business of the
//! kind and are checked by whoever stores them, the sequence with [`advance`].

use serde::Deserialize;
use trustbox_api::key::{KeyId, PublicKey, Uuid};
use trustbox_api::limits::MAX_SEQUENCE_STEP;
use trustbox_api::statement::{Audience, Envelope, FORMAT, Header, Kind, digest};
use trustbox_api::{Bytes, Error, wire};

use crate::identity;
use crate::records::{KeysRecord, Owner, Seen, load};
use crate::tee::Tee;

/// A statement that was checked.
pub struct Verified<'a> {
    payload: &'a [u8],
    header: Header,
    body: &'a [u8],
    signer: PublicKey,
}

impl<'a> Verified<'a> {
    /// The kind in its header.
    pub fn kind(&self) -> Kind {
        self.header.kind
    }

    /// The sequence in its header.
    pub fn sequence(&self) -> u64 {
        self.header.sequence
    }

    /// The owner root in its header.
    pub fn root(&self) -> KeyId {
        self.header.root
    }

    /// Who signed it.
    pub fn signer(&self) -> &PublicKey {
        &self.signer
    }

    /// Header and body as signed.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Its body.
    pub fn body<B: Deserialize<'a>>(&self) -> Result<B, Error> {
        wire::decode(self.body)
    }
}

/// Checks a statement of the provisioning authority, for this device.
pub fn by_provisioning_authority<'a, T: Tee>(
    tee: &mut T,
    kind: Kind,
    request: &'a [u8],
) -> Result<Verified<'a>, Error> {
    let authority = tee.platform().provisioning_authority;
    let statement = verify(tee, kind, request, |signer| signer.id() == authority)?;
    check_audience(tee, &statement.header)?;
    Ok(statement)
}

/// Checks a statement of the owner root.
pub fn by_owner<'a, T: Tee>(
    tee: &mut T,
    owner: &Owner,
    kind: Kind,
    request: &'a [u8],
) -> Result<Verified<'a>, Error> {
    under_owner(tee, owner, kind, request, |signer| *signer == owner.root)
}

/// Checks a statement of a releaser.
pub fn by_releaser<'a, T: Tee>(tee: &mut T, owner: &Owner, request: &'a [u8]) -> Result<Verified<'a>, Error> {
    under_owner(tee, owner, Kind::KeyBundle, request, |signer| {
        owner.releasers.iter().any(|releaser| releaser.key == *signer)
    })
}

/// Checks a statement of a publisher.
pub fn by_publisher<'a, T: Tee>(
    tee: &mut T,
    owner: &Owner,
    request: &'a [u8],
) -> Result<Verified<'a>, Error> {
    under_owner(tee, owner, Kind::Manifest, request, |signer| {
        owner.publishers.iter().any(|publisher| publisher.key == *signer)
    })
}

/// Checks a statement of a revoker, or of the owner root, which may revoke as well.
pub fn by_revoker<'a, T: Tee>(tee: &mut T, owner: &Owner, request: &'a [u8]) -> Result<Verified<'a>, Error> {
    under_owner(tee, owner, Kind::Revocation, request, |signer| {
        *signer == owner.root || owner.revokers.contains(signer)
    })
}

/// Moves the newest statement of a kind forward. `false` for the newest itself, which changes nothing a second time.
pub fn advance(newest: &mut Seen, statement: &Verified<'_>) -> Result<bool, Error> {
    let digest = Bytes(digest(statement.payload));
    let sequence = statement.header.sequence;
    if sequence == newest.sequence && digest == newest.digest {
        return Ok(false);
    }
    if sequence <= newest.sequence {
        return Err(Error::Replayed);
    }
    // One statement must not use up all sequences of those who come later.
    if sequence - newest.sequence > MAX_SEQUENCE_STEP {
        return Err(Error::LimitReached);
    }
    *newest = Seen { sequence, digest };
    Ok(true)
}

/// What kind of statement a request claims to be, before anything about it is verified.
pub fn claimed_kind(request: &[u8]) -> Result<Kind, Error> {
    let envelope: Envelope = wire::decode(request)?;
    let (header, _) = wire::decode_prefix::<Header>(envelope.payload)?;
    Ok(header.kind)
}

/// Whether the device's owner lets this publisher publish this UUID.
pub fn may_publish(owner: &Owner, publisher: &PublicKey, uuid: &Uuid) -> Result<(), Error> {
    let granted = owner.publishers.iter().any(|p| p.key == *publisher && p.uuids.contains(uuid));
    if granted { Ok(()) } else { Err(Error::NotAuthorised) }
}

/// Whether the device's owner lets this releaser release a key of this name.
pub fn may_release(owner: &Owner, releaser: &PublicKey, name: &str) -> Result<(), Error> {
    let granted = owner.releasers.iter().any(|r| r.key == *releaser && r.keys.iter().any(|key| key == name));
    if granted { Ok(()) } else { Err(Error::NotAuthorised) }
}

fn under_owner<'a, T: Tee>(
    tee: &mut T,
    owner: &Owner,
    kind: Kind,
    request: &'a [u8],
    trusted: impl FnOnce(&PublicKey) -> bool,
) -> Result<Verified<'a>, Error> {
    let statement = verify(tee, kind, request, trusted)?;
    if statement.header.root != owner.root.id() {
        return Err(Error::WrongRoot);
    }
    check_audience(tee, &statement.header)?;
    Ok(statement)
}

/// The signature over the raw bytes comes first; nothing inside them is believed before.
fn verify<'a, T: Tee>(
    tee: &mut T,
    kind: Kind,
    request: &'a [u8],
    trusted: impl FnOnce(&PublicKey) -> bool,
) -> Result<Verified<'a>, Error> {
    let Envelope { payload, signer, signature } = wire::decode(request)?;
    tee.verify_es256(&signer, &digest(payload), &signature)?;
    if !trusted(&signer) {
        return Err(Error::NotAuthorised);
    }
    let (header, body) = wire::decode_prefix::<Header>(payload)?;
    if header.kind != kind || header.format != FORMAT {
        return Err(Error::WrongKind);
    }
    if kind.is_single_use() && header.sequence != 0 {
        return Err(Error::BadMessage);
    }
    Ok(Verified { payload, header, body, signer })
}

fn check_audience<T: Tee>(tee: &mut T, header: &Header) -> Result<(), Error> {
    let meant = match header.audience {
        Audience::Device(device) => device == identity::device_id(tee)?,
        _ if header.kind.is_for_one_device() => false,
        Audience::Fleet => true,
        Audience::Class(name) => load::<KeysRecord, T>(tee)?.keys.iter().any(|held| held.key.name == name),
    };
    if meant { Ok(()) } else { Err(Error::WrongAudience) }
}

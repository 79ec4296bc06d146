//! 30xx: class keys reach exactly one device, once.

use trustbox_api::key::KeyRef;
use trustbox_api::limits::MAX_NONCES;
use trustbox_api::message::{ChallengeReply, Purpose};
use trustbox_api::statement::{Audience, Header, KeyBundle};
use trustbox_api::{Bytes, Command, Error};

use crate::case::{Case, Stop};
use crate::context::{CLASS_KEY, Context, refuse_damaged};
use crate::forge::{self, stranger};
use crate::package::wrap;
use crate::requests::{challenge, info, send};
use crate::{check, check_eq};

/// The cases.
pub const CASES: &[Case] = &[
    Case {
        id: 3001,
        name: "only a releaser's bundle for this device and nonce",
        invariants: &["INV-1", "INV-3"],
        run: refused,
    },
    Case {
        id: 3002,
        name: "a refused bundle costs no nonce, an accepted one does",
        invariants: &["INV-3", "INV-6"],
        run: nonce_single_use,
    },
    Case { id: 3003, name: "a fifth nonce replaces the oldest", invariants: &["INV-11"], run: nonce_limit },
    Case {
        id: 3004,
        name: "keys wrapped for another device do not open",
        invariants: &["INV-1"],
        run: other_device_key,
    },
    Case { id: 3005, name: "a damaged bundle is refused", invariants: &["INV-1", "INV-10"], run: damaged },
];

/// A key nobody has imported yet.
fn next_key(context: &mut Context<'_>) -> KeyRef {
    KeyRef::new(CLASS_KEY, context.next_sequence() as u32).expect("a short name")
}

/// One thing wrong at a time.
fn refused(context: &mut Context<'_>) -> Result<(), Stop> {
    context.owned()?;
    let key = next_key(context);
    let mut link = context.connect()?;
    let good = challenge(link.as_mut(), Purpose::ImportKey)?;
    let wrapped = context.wrapped_class_key(link.as_mut())?;
    let header = context.bundle_header(good.device_id, &key);
    let body = KeyBundle { nonce: good.nonce, key, wrapped: &wrapped };
    let releaser = &context.parties.releaser;
    let elsewhere = Audience::Device(Bytes([1; 32]));
    let ungranted = KeyRef::new("not-granted", key.version).expect("a short name");
    let other_key = KeyBundle { key: ungranted, ..body.clone() };
    let other_nonce = KeyBundle { nonce: Bytes([3; 32]), ..body.clone() };
    let attempts = [
        ("signed by a stranger", forge::statement(&header, &body, &stranger(8)), Error::NotAuthorised),
        (
            "signed by the publisher",
            forge::statement(&header, &body, &context.parties.publisher),
            Error::NotAuthorised,
        ),
        ("signed by the root", forge::statement(&header, &body, &context.parties.root), Error::NotAuthorised),
        (
            "another device",
            forge::statement(&Header { audience: elsewhere, ..header }, &body, releaser),
            Error::WrongAudience,
        ),
        (
            "all devices",
            forge::statement(&Header { audience: Audience::Fleet, ..header }, &body, releaser),
            Error::WrongAudience,
        ),
        (
            "another root",
            forge::statement(&Header { root: Bytes([0; 32]), ..header }, &body, releaser),
            Error::WrongRoot,
        ),
        (
            "another version",
            forge::statement(&Header { sequence: 0, ..header }, &body, releaser),
            Error::BadMessage,
        ),
        ("a name not granted", forge::statement(&header, &other_key, releaser), Error::NotAuthorised),
        ("an unknown nonce", forge::statement(&header, &other_nonce, releaser), Error::NonceUnknown),
    ];
    for (what, statement, want) in attempts {
        check_eq!(send(link.as_mut(), Command::ImportKey, &statement), Err(want.into()), "{what}");
    }
    check!(!info(link.as_mut())?.class_keys.contains(&key), "a refused key is there");
    Ok(())
}

fn nonce_single_use(context: &mut Context<'_>) -> Result<(), Stop> {
    context.keyed()?;
    let held = context.class_key_ref();
    let (second, third) = (next_key(context), next_key(context));
    let mut link = context.connect()?;
    let challenge = challenge(link.as_mut(), Purpose::ImportKey)?;
    let wrapped = context.wrapped_class_key(link.as_mut())?;
    let again = context.bundle(&challenge, &held, &wrapped);
    check_eq!(
        send(link.as_mut(), Command::ImportKey, &again),
        Err(Error::KeyExists.into()),
        "a key held already"
    );
    let garbage = context.bundle(&challenge, &second, &[0; 384]);
    check_eq!(
        send(link.as_mut(), Command::ImportKey, &garbage),
        Err(Error::Decryption.into()),
        "not a wrapped key"
    );
    send(link.as_mut(), Command::ImportKey, &context.bundle(&challenge, &second, &wrapped))?;
    check!(info(link.as_mut())?.class_keys.contains(&second), "the imported key is missing");
    let third = context.bundle(&challenge, &third, &wrapped);
    check_eq!(
        send(link.as_mut(), Command::ImportKey, &third),
        Err(Error::NonceUnknown.into()),
        "a used nonce"
    );
    Ok(())
}

fn nonce_limit(context: &mut Context<'_>) -> Result<(), Stop> {
    context.owned()?;
    let key = next_key(context);
    let mut link = context.connect()?;
    let mut nonces = Vec::new();
    for _ in 0..=MAX_NONCES {
        nonces.push(challenge(link.as_mut(), Purpose::ImportKey)?);
    }
    let outcome = |link: &mut dyn crate::target::Link, challenge: &ChallengeReply| {
        send(link, Command::ImportKey, &context.bundle(challenge, &key, &[0; 384]))
    };
    check_eq!(outcome(link.as_mut(), &nonces[0]), Err(Error::NonceUnknown.into()), "the oldest");
    for nonce in &nonces[1..] {
        check_eq!(outcome(link.as_mut(), nonce), Err(Error::Decryption.into()), "an outstanding one");
    }
    Ok(())
}

fn other_device_key(context: &mut Context<'_>) -> Result<(), Stop> {
    context.owned()?;
    let key = next_key(context);
    let mut link = context.connect()?;
    let challenge = challenge(link.as_mut(), Purpose::ImportKey)?;
    let der = link.call(Command::DeviceKey as u32, &[], None, trustbox_api::limits::MAX_REPLY)?;
    let too_short = wrap(&der, &[0; 31])?;
    let too_long = wrap(&der, &[0; 33])?;
    let mut foreign = wrap(&der, &context.parties.class_key)?;
    foreign.reverse();
    for (what, wrapped) in
        [("31 bytes", &too_short), ("33 bytes", &too_long), ("foreign", &foreign), ("none", &vec![])]
    {
        let bundle = context.bundle(&challenge, &key, wrapped);
        check_eq!(send(link.as_mut(), Command::ImportKey, &bundle), Err(Error::Decryption.into()), "{what}");
    }
    check!(!info(link.as_mut())?.class_keys.contains(&key), "the key is there all the same");
    Ok(())
}

fn damaged(context: &mut Context<'_>) -> Result<(), Stop> {
    context.owned()?;
    let key = next_key(context);
    let mut link = context.connect()?;
    let challenge = challenge(link.as_mut(), Purpose::ImportKey)?;
    let wrapped = context.wrapped_class_key(link.as_mut())?;
    let good = context.bundle(&challenge, &key, &wrapped);
    refuse_damaged(context, link.as_mut(), Command::ImportKey, &good)?;
    check!(!info(link.as_mut())?.class_keys.contains(&key), "the key is there all the same");
    Ok(())
}

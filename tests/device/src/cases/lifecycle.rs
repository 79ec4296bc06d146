//! 2xxx: from blank to provisioned, and never back.

use trustbox_api::command::Lifecycle;
use trustbox_api::limits::MAX_REPLY;
use trustbox_api::message::{ChallengeReply, KeyReply, Purpose};
use trustbox_api::statement::{Audience, Header, Kind, PinRoot};
use trustbox_api::{Bytes, Command, Error};

use super::table::refuse_by_table;
use crate::case::{Case, Stop};
use crate::context::{Context, refuse_damaged};
use crate::forge::{self, public, stranger};
use crate::requests::{ask, challenge, info, send};
use crate::target::Link;
use crate::{check, check_eq};
use p256::ecdsa::SigningKey;
use rsa::RsaPublicKey;
use rsa::pkcs8::DecodePublicKey;
use rsa::traits::PublicKeyParts;
use sha2::{Digest, Sha256};

/// The cases.
pub const CASES: &[Case] = &[
    Case {
        id: 2001,
        name: "a blank device refuses what needs an owner",
        invariants: &["INV-7"],
        run: blank_refuses,
    },
    Case {
        id: 2002,
        name: "only the authority pins, for this device and nonce",
        invariants: &["INV-3", "INV-7"],
        run: pinning_refused,
    },
    Case {
        id: 2003,
        name: "a damaged pin statement is refused",
        invariants: &["INV-3", "INV-10"],
        run: pin_damaged,
    },
    Case {
        id: 2004,
        name: "provisioning pins the owner and keeps the device key",
        invariants: &["INV-7"],
        run: provisioning,
    },
    Case {
        id: 2005,
        name: "a provisioned device is not provisioned again",
        invariants: &["INV-7"],
        run: no_second_owner,
    },
    Case {
        id: 2006,
        name: "the device key is an RSA SubjectPublicKeyInfo",
        invariants: &["INV-1"],
        run: device_key,
    },
    Case {
        id: 2007,
        name: "the disk key is the same until the owner goes, and no key of the TEE",
        invariants: &["INV-1"],
        run: disk_key,
    },
];

/// The device if it is blank still.
fn blank(context: &Context<'_>) -> Result<(), Stop> {
    match info(context.connect()?.as_mut())?.lifecycle {
        Lifecycle::Blank => Ok(()),
        _ => Err(Stop::Skipped("the device is not blank")),
    }
}

fn blank_refuses(context: &mut Context<'_>) -> Result<(), Stop> {
    blank(context)?;
    refuse_by_table(context, Lifecycle::Blank)?;
    let nonce = challenge(context.connect()?.as_mut(), Purpose::ImportKey);
    check!(nonce.is_err(), "a blank device gives a nonce for key import");
    Ok(())
}

/// One thing wrong at a time.
fn pinning_refused(context: &mut Context<'_>) -> Result<(), Stop> {
    blank(context)?;
    let mut link = context.connect()?;
    let old = challenge(link.as_mut(), Purpose::Provision)?;
    let fresh = challenge(link.as_mut(), Purpose::Provision)?;
    check!(old.nonce != fresh.nonce, "the same nonce twice");
    let root = public(&context.parties.root);
    let good = forge::header(Kind::PinRoot, root.id(), Audience::Device(fresh.device_id), 0);
    let pin = |header: Header, challenge: &ChallengeReply, key: &SigningKey| {
        forge::statement(&header, &PinRoot { nonce: challenge.nonce, root }, key)
    };
    let authority = &context.parties.authority;
    let unknown = ChallengeReply { nonce: Bytes([7; 32]), ..fresh };
    let other_device = Audience::Device(Bytes([1; 32]));
    let attempts = [
        ("signed by the owner itself", pin(good, &fresh, &context.parties.root), Error::NotAuthorised),
        ("signed by a stranger", pin(good, &fresh, &stranger(9)), Error::NotAuthorised),
        (
            "another device",
            pin(Header { audience: other_device, ..good }, &fresh, authority),
            Error::WrongAudience,
        ),
        (
            "all devices",
            pin(Header { audience: Audience::Fleet, ..good }, &fresh, authority),
            Error::WrongAudience,
        ),
        ("another kind", pin(Header { kind: Kind::Publisher, ..good }, &fresh, authority), Error::WrongKind),
        ("another format", pin(Header { format: 2, ..good }, &fresh, authority), Error::WrongKind),
        ("another root", pin(Header { root: Bytes([0; 32]), ..good }, &fresh, authority), Error::WrongRoot),
        ("a replaced nonce", pin(good, &old, authority), Error::NonceUnknown),
        ("an unknown nonce", pin(good, &unknown, authority), Error::NonceUnknown),
    ];
    for (what, statement, want) in attempts {
        check_eq!(send(link.as_mut(), Command::Provision, &statement), Err(want.into()), "{what}");
    }
    blank(context)
}

fn pin_damaged(context: &mut Context<'_>) -> Result<(), Stop> {
    blank(context)?;
    let mut link = context.connect()?;
    let challenge = challenge(link.as_mut(), Purpose::Provision)?;
    let good = context.pin_root(&challenge);
    refuse_damaged(context, link.as_mut(), Command::Provision, &good)?;
    let mut longer = good.clone();
    longer.push(0);
    check_eq!(
        send(link.as_mut(), Command::Provision, &longer),
        Err(Error::BadMessage.into()),
        "one byte more"
    );
    blank(context)
}

fn provisioning(context: &mut Context<'_>) -> Result<(), Stop> {
    blank(context)?;
    let before = info(context.connect()?.as_mut())?;
    check_eq!(before.owner_root, None, "owner of a blank device");
    context.owned()?;
    let after = info(context.connect()?.as_mut())?;
    check_eq!(after.lifecycle, Lifecycle::Provisioned, "lifecycle");
    check_eq!(after.owner_root, Some(context.root_id()), "owner root");
    check_eq!(after.device_id, before.device_id, "device id");
    check_eq!(after.device_key, before.device_key, "device key");
    Ok(())
}

fn no_second_owner(context: &mut Context<'_>) -> Result<(), Stop> {
    let before = context.owned()?;
    let mut link = context.connect()?;
    check!(challenge(link.as_mut(), Purpose::Provision).is_err(), "a nonce to provision again");
    let forged = ChallengeReply { device_id: before.device_id, nonce: Bytes([0; 32]) };
    let answer = send(link.as_mut(), Command::Provision, &context.pin_root(&forged));
    check_eq!(answer, Err(Error::WrongLifecycle.into()), "second owner");
    Ok(())
}

fn device_key(context: &mut Context<'_>) -> Result<(), Stop> {
    let info = context.owned()?;
    let mut link = context.connect()?;
    let der = link.call(Command::DeviceKey as u32, &[], None, MAX_REPLY)?;
    let digest: [u8; 32] = Sha256::digest(&der).into();
    check_eq!(info.device_key, Some(Bytes(digest)), "hash in info");
    let key = RsaPublicKey::from_public_key_der(&der)?;
    check!(key.n().bits() >= 2048, "{} bits", key.n().bits());
    let answer = link.call(Command::DeviceKey as u32, &[], None, der.len() - 1);
    check_eq!(answer, Err(Error::ShortBuffer.into()), "one byte too little room");
    Ok(())
}

/// An enclave has no way to ask: the table says so, and 2001 and 2901 that it takes an owner.
fn disk_key(context: &mut Context<'_>) -> Result<(), Stop> {
    context.owned()?;
    let key = |link: &mut dyn Link| -> Result<[u8; 32], Stop> {
        let KeyReply { key } = ask(link, Command::DiskKey, &[])?;
        Ok(*key.expose())
    };
    let first = key(context.connect()?.as_mut())?;
    check!(first != [0; 32], "the disk key is nothing");
    let mut link = context.connect()?;
    check!(key(link.as_mut())? == first, "another session gets another key");
    check!(info(link.as_mut())?.device_id.0 != first, "the disk key is public");
    check_eq!(send(link.as_mut(), Command::DiskKey, &[0]), Err(Error::BadMessage.into()), "a request");
    let answer = link.call(Command::DiskKey as u32, &[], None, 31);
    check_eq!(answer, Err(Error::ShortBuffer.into()), "one byte too little room");
    Ok(())
}

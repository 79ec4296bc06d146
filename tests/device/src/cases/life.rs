//! 23xx: lock, a new owner root; and at the very end, decommission.

use p256::ecdsa::SigningKey;
use serde::Serialize;
use trustbox_api::command::Lifecycle;
use trustbox_api::log::{Channel, Event, LogReply};
use trustbox_api::message::{ChallengeReply, LogRequest, Purpose};
use trustbox_api::statement::{Audience, Decommission, Header, Kind, Lock, RotateRoot};
use trustbox_api::{Bytes, Command, Error, PublicKey};

use super::table::refuse_by_table;
use crate::case::{Case, Stop};
use crate::context::{Context, refuse_damaged};
use crate::forge::{self, public, stranger};
use crate::requests::{ask, challenge, encode, info, list, send};
use crate::target::{Code, Link};
use crate::{check, check_eq};

/// The cases that leave the device as it was, or locked.
pub const CASES: &[Case] = &[
    Case {
        id: 2301,
        name: "the table's refusals on a provisioned device",
        invariants: &["INV-7", "INV-10"],
        run: provisioned_table,
    },
    Case {
        id: 2302,
        name: "only the root hands the device to another root",
        invariants: &["INV-3", "INV-7"],
        run: rotation_refused,
    },
    Case {
        id: 2303,
        name: "roles end with the root that gave them, sequences go on",
        invariants: &["INV-3", "INV-5"],
        run: rotation,
    },
    Case {
        id: 2304,
        name: "only the authority locks, for this device and nonce",
        invariants: &["INV-3", "INV-7"],
        run: lock_refused,
    },
    Case { id: 2305, name: "a locked device stays locked", invariants: &["INV-7"], run: lock },
    Case {
        id: 2306,
        name: "only the root decommissions, for this device and nonce",
        invariants: &["INV-3", "INV-7"],
        run: decommission_refused,
    },
];

/// The case after which there is nothing left to test.
pub const LAST: &[Case] = &[Case {
    id: 2901,
    name: "a decommissioned device holds nothing and takes nothing",
    invariants: &["INV-1", "INV-7"],
    run: decommission,
}];

/// The right header, body and signer of a statement for one device, and what else to try.
struct Trial<'k, B> {
    command: Command,
    good: Header,
    body: B,
    other_nonce: B,
    signer: &'k SigningKey,
}

impl<B: Serialize> Trial<'_, B> {
    /// One thing wrong at a time; each is refused.
    fn refuse(&self, context: &Context<'_>, link: &mut dyn Link) -> Result<(), Stop> {
        let Self { good, body, signer, .. } = self;
        let parties = context.parties;
        let elsewhere = Header { audience: Audience::Device(Bytes([1; 32])), ..*good };
        let fleet = Header { audience: Audience::Fleet, ..*good };
        let other_root = Header { root: Bytes([0; 32]), ..*good };
        let other_kind = Header { kind: Kind::Publisher, ..*good };
        let mut attempts = vec![
            ("another device", forge::statement(&elsewhere, body, signer), Error::WrongAudience),
            ("the whole fleet", forge::statement(&fleet, body, signer), Error::WrongAudience),
            ("another root", forge::statement(&other_root, body, signer), Error::WrongRoot),
            ("another kind", forge::statement(&other_kind, body, signer), Error::WrongKind),
            ("another nonce", forge::statement(good, &self.other_nonce, signer), Error::NonceUnknown),
        ];
        let everybody = [
            &parties.authority,
            &parties.root,
            &parties.publisher,
            &parties.releaser,
            &parties.revoker,
            &stranger(9),
        ];
        for wrong in everybody.into_iter().filter(|key| key != signer) {
            attempts.push(("a wrong signer", forge::statement(good, body, wrong), Error::NotAuthorised));
        }
        for (what, statement, want) in attempts {
            check_eq!(send(link, self.command, &statement), Err(want.into()), "{what}");
        }
        Ok(())
    }

    fn statement(&self) -> Vec<u8> {
        forge::statement(&self.good, &self.body, self.signer)
    }
}

fn provisioned_table(context: &mut Context<'_>) -> Result<(), Stop> {
    let info = context.owned()?;
    refuse_by_table(context, info.lifecycle)
}

fn rotate<'k>(
    context: &Context<'_>,
    challenge: &ChallengeReply,
    old: &'k SigningKey,
    new: PublicKey,
) -> Trial<'k, RotateRoot> {
    let root = public(old).id();
    Trial {
        command: Command::RotateRoot,
        good: Header { root, ..context.device_header(Kind::RotateRoot, challenge) },
        body: RotateRoot { nonce: challenge.nonce, root: new },
        other_nonce: RotateRoot { nonce: Bytes([0; 32]), root: new },
        signer: old,
    }
}

fn rotation_refused(context: &mut Context<'_>) -> Result<(), Stop> {
    let before = context.owned()?;
    let mut link = context.connect()?;
    // A nonce for something else is good for nothing here.
    let other = challenge(link.as_mut(), Purpose::Decommission)?;
    let new = public(&stranger(31));
    let root = &context.parties.root;
    let wrong_purpose = rotate(context, &other, root, new).statement();
    check_eq!(
        send(link.as_mut(), Command::RotateRoot, &wrong_purpose),
        Err(Error::NonceUnknown.into()),
        "a nonce for decommissioning"
    );
    let nonce = challenge(link.as_mut(), Purpose::RotateRoot)?;
    let trial = rotate(context, &nonce, root, new);
    trial.refuse(context, link.as_mut())?;
    check_eq!(info(link.as_mut())?, before, "info after refusals");
    Ok(())
}

fn rotation(context: &mut Context<'_>) -> Result<(), Stop> {
    let before = context.keyed()?;
    let mut link = context.connect()?;
    let (old, new) = (context.parties.root.clone(), stranger(32));
    let newest = context.delegate_publisher(&context.uuids());
    send(link.as_mut(), Command::Authorise, &newest)?;
    let nonce = challenge(link.as_mut(), Purpose::RotateRoot)?;
    let there = rotate(context, &nonce, &old, public(&new)).statement();
    send(link.as_mut(), Command::RotateRoot, &there)?;
    check_eq!(info(link.as_mut())?.owner_root, Some(public(&new).id()), "owner root");
    check_eq!(send(link.as_mut(), Command::RotateRoot, &there), Err(Error::NotAuthorised.into()), "again");
    check_eq!(
        send(link.as_mut(), Command::Authorise, &newest),
        Err(Error::NotAuthorised.into()),
        "the old root speaks"
    );
    let package = context.package(&context.image);
    check_eq!(
        send(link.as_mut(), Command::InstallBegin, &package.0),
        Err(Error::NotAuthorised.into()),
        "the old root's publisher speaks"
    );
    let nonce = challenge(link.as_mut(), Purpose::RotateRoot)?;
    let back = rotate(context, &nonce, &new, public(&old)).statement();
    send(link.as_mut(), Command::RotateRoot, &back)?;
    check_eq!(
        send(link.as_mut(), Command::Authorise, &newest),
        Err(Error::Replayed.into()),
        "what the root said in its first term"
    );
    check_eq!(info(link.as_mut())?.class_keys, before.class_keys, "class keys");
    let request = encode(&LogRequest { channel: Channel::Authority });
    let log: LogReply = ask(link.as_mut(), Command::Log, &request)?;
    let roots = log.ring.entries.iter().filter_map(|entry| match entry.event {
        Event::RootRotated { root, .. } => Some(root),
        _ => None,
    });
    let last: Vec<_> = roots.collect();
    check!(last.ends_with(&[public(&new).id(), public(&old).id()]), "the log has {last:?}");
    context.owned()?;
    Ok(())
}

fn locking<'k>(context: &'k Context<'_>, challenge: &ChallengeReply) -> Trial<'k, Lock> {
    Trial {
        command: Command::Lock,
        good: context.device_header(Kind::Lock, challenge),
        body: Lock { nonce: challenge.nonce },
        other_nonce: Lock { nonce: Bytes([0; 32]) },
        signer: &context.parties.authority,
    }
}

fn lock_refused(context: &mut Context<'_>) -> Result<(), Stop> {
    let before = context.owned()?;
    if before.lifecycle == Lifecycle::Locked {
        return Err(Stop::Skipped("the device is locked already"));
    }
    let mut link = context.connect()?;
    let nonce = challenge(link.as_mut(), Purpose::Lock)?;
    locking(context, &nonce).refuse(context, link.as_mut())?;
    check_eq!(info(link.as_mut())?, before, "info after refusals");
    Ok(())
}

fn lock(context: &mut Context<'_>) -> Result<(), Stop> {
    let info_before = context.owned()?;
    let mut link = context.connect()?;
    if info_before.lifecycle != Lifecycle::Locked {
        let nonce = challenge(link.as_mut(), Purpose::Lock)?;
        let statement = locking(context, &nonce).statement();
        refuse_damaged(context, link.as_mut(), Command::Lock, &statement)?;
        send(link.as_mut(), Command::Lock, &statement)?;
    }
    check_eq!(info(link.as_mut())?.lifecycle, Lifecycle::Locked, "lifecycle");
    let no_nonce = challenge(link.as_mut(), Purpose::Lock);
    check!(no_nonce.is_err(), "a nonce to lock again");
    refuse_by_table(context, Lifecycle::Locked)?;
    context.keyed()?;
    Ok(())
}

fn ending<'k>(context: &'k Context<'_>, challenge: &ChallengeReply) -> Trial<'k, Decommission> {
    Trial {
        command: Command::Decommission,
        good: context.device_header(Kind::Decommission, challenge),
        body: Decommission { nonce: challenge.nonce },
        other_nonce: Decommission { nonce: Bytes([0; 32]) },
        signer: &context.parties.root,
    }
}

fn decommission_refused(context: &mut Context<'_>) -> Result<(), Stop> {
    let before = context.owned()?;
    let mut link = context.connect()?;
    let nonce = challenge(link.as_mut(), Purpose::Decommission)?;
    let trial = ending(context, &nonce);
    trial.refuse(context, link.as_mut())?;
    // A newer nonce, for whatever, takes the place of the older one.
    challenge(link.as_mut(), Purpose::RotateRoot)?;
    let late = send(link.as_mut(), Command::Decommission, &trial.statement());
    check_eq!(late, Err(Error::NonceUnknown.into()), "a nonce that was replaced");
    check_eq!(info(link.as_mut())?, before, "info after refusals");
    Ok(())
}

fn decommission(context: &mut Context<'_>) -> Result<(), Stop> {
    context.installed()?;
    let uuids: Vec<_> = list(context.connect()?.as_mut())?.enclaves.iter().map(|e| e.uuid).collect();
    let mut link = context.connect()?;
    let before = info(link.as_mut())?;
    let nonce = challenge(link.as_mut(), Purpose::Decommission)?;
    let statement = ending(context, &nonce).statement();
    send(link.as_mut(), Command::Decommission, &statement)?;
    for _ in 0..2 {
        let after = info(context.connect()?.as_mut())?;
        check_eq!(after.lifecycle, Lifecycle::Decommissioned, "lifecycle");
        check_eq!(after.device_id, before.device_id, "device id");
        check_eq!((after.device_key, after.attestation_key), (None, None), "keys of the device");
        check_eq!(after.owner_root, None, "owner root");
        check!(after.class_keys.is_empty(), "class keys are left");
    }
    check_eq!(
        send(link.as_mut(), Command::Decommission, &statement),
        Err(Error::WrongLifecycle.into()),
        "once more"
    );
    refuse_by_table(context, Lifecycle::Decommissioned)?;
    for uuid in uuids {
        if let Some(answer) = context.target.connect_to(&uuid.to_string()) {
            check_eq!(answer, Err::<(), _>(Code::NOT_FOUND), "OP-TEE still knows {uuid}");
        }
    }
    Ok(())
}

//! 24xx: what was revoked never comes back. 25xx: what the owner's policy allows.

use trustbox_api::key::KeyRef;
use trustbox_api::limits::{MAX_ENCLAVES, MAX_REVOCATION_ITEMS, MAX_REVOKERS};
use trustbox_api::message::{LegacyRequest, OpenRequest, Purpose};
use trustbox_api::statement::{Audience, Header, Kind, Policy, Revoked, Revoker};
use trustbox_api::{Bytes, Command, Error};

use super::removal::remove;
use crate::case::{Case, Stop};
use crate::context::{CLASS_KEY, Context, Image, publisher, refuse_damaged, revocation, spare_uuid};
use crate::forge::{self, public, stranger, unsigned_image};
use crate::requests::{challenge, encode, info, install, list, send, send_chunk};
use crate::{check, check_eq};

/// The cases.
pub const CASES: &[Case] = &[
    Case {
        id: 2401,
        name: "only a revoker or the root revokes",
        invariants: &["INV-3", "INV-5"],
        run: refused,
    },
    Case {
        id: 2402,
        name: "a damaged revocation is refused",
        invariants: &["INV-5", "INV-10"],
        run: damaged,
    },
    Case { id: 2403, name: "an older revocation is refused", invariants: &["INV-5"], run: sequence },
    Case { id: 2404, name: "a revoked key is never trusted again", invariants: &["INV-5"], run: key },
    Case { id: 2405, name: "revoked versions do not install", invariants: &["INV-5"], run: version },
    Case { id: 2406, name: "revoked class keys are destroyed", invariants: &["INV-5"], run: class_key },
    Case {
        id: 2407,
        name: "a revocation ends a running session at its next call",
        invariants: &["INV-5"],
        run: running,
    },
    Case { id: 2408, name: "the root cannot be revoked", invariants: &["INV-10"], run: root },
    Case {
        id: 2501,
        name: "the policy limits how many enclaves are installed",
        invariants: &["INV-3", "INV-11"],
        run: policy_limit,
    },
    Case {
        id: 2502,
        name: "packages without a trusted manifest need the policy",
        invariants: &["INV-3"],
        run: legacy,
    },
];

/// Revokes what no other case uses.
fn harmless(number: u32) -> [Revoked; 1] {
    [Revoked::Enclave { uuid: spare_uuid(), floor: number }]
}

fn revoke(context: &mut Context<'_>, items: &[Revoked]) -> Result<(), Stop> {
    let statement = context.revocation(items);
    Ok(send(context.connect()?.as_mut(), Command::Revoke, &statement)?)
}

fn refused(context: &mut Context<'_>) -> Result<(), Stop> {
    context.with_revoker()?;
    let mut link = context.connect()?;
    let before = info(link.as_mut())?;
    let good = context.owner_header(Kind::Revocation);
    let body = revocation(&harmless(1));
    let parties = context.parties;
    for wrong in [&parties.authority, &parties.publisher, &parties.releaser, &stranger(7)] {
        let statement = forge::statement(&good, &body, wrong);
        let answer = send(link.as_mut(), Command::Revoke, &statement);
        check_eq!(answer, Err(Error::NotAuthorised.into()), "a wrong signer");
    }
    let revoker = &parties.revoker;
    let elsewhere = Audience::Device(Bytes([1; 32]));
    let no_class = Audience::Class(KeyRef::new("no-such-class", 1).expect("a short name").name);
    let attempts = [
        (Header { audience: elsewhere, ..good }, Error::WrongAudience),
        (Header { audience: no_class, ..good }, Error::WrongAudience),
        (Header { root: Bytes([0; 32]), ..good }, Error::WrongRoot),
        (Header { kind: Kind::Publisher, ..good }, Error::WrongKind),
        (Header { format: 2, ..good }, Error::WrongKind),
    ];
    for (header, want) in attempts {
        let answer = send(link.as_mut(), Command::Revoke, &forge::statement(&header, &body, revoker));
        check_eq!(answer, Err(want.into()), "{header:?}");
    }
    check_eq!(info(link.as_mut())?, before, "info after refusals");
    context.keyed()?;
    let class = Audience::Class(context.class_key_ref().name);
    let by_class = forge::statement(&Header { audience: class, ..good }, &body, revoker);
    send(link.as_mut(), Command::Revoke, &by_class)?;
    let header = context.owner_header(Kind::Revocation);
    send(link.as_mut(), Command::Revoke, &forge::statement(&header, &body, &context.parties.root))?;
    check_eq!(info(link.as_mut())?.epoch, before.epoch + 2, "epoch");
    Ok(())
}

fn damaged(context: &mut Context<'_>) -> Result<(), Stop> {
    context.with_revoker()?;
    let statement = context.revocation(&harmless(1));
    refuse_damaged(context, context.connect()?.as_mut(), Command::Revoke, &statement)
}

fn sequence(context: &mut Context<'_>) -> Result<(), Stop> {
    context.with_revoker()?;
    let (older, newer) = (context.revocation(&harmless(1)), context.revocation(&harmless(2)));
    let mut link = context.connect()?;
    send(link.as_mut(), Command::Revoke, &newer)?;
    check_eq!(send(link.as_mut(), Command::Revoke, &older), Err(Error::Replayed.into()), "an older one");
    send(link.as_mut(), Command::Revoke, &newer)?;
    // Whoever could use up all sequences could end revocation for ever.
    let header = Header { sequence: u64::MAX, ..context.owner_header(Kind::Revocation) };
    let greedy = forge::statement(&header, &revocation(&harmless(3)), &context.parties.revoker);
    check_eq!(
        send(link.as_mut(), Command::Revoke, &greedy),
        Err(Error::LimitReached.into()),
        "the last sequence"
    );
    Ok(())
}

fn key(context: &mut Context<'_>) -> Result<(), Stop> {
    context.with_revoker()?;
    context.keyed()?;
    let stranger = stranger(40);
    let mut link = context.connect()?;
    let mut delegate = |context: &mut Context<'_>| {
        let header = context.owner_header(Kind::Publisher);
        let body = publisher(public(&stranger), &[spare_uuid()]);
        let statement = forge::statement(&header, &body, &context.parties.root);
        send(link.as_mut(), Command::Authorise, &statement)
    };
    if delegate(context) == Err(Error::Revoked.into()) {
        return Err(Stop::Skipped("the key was revoked by an earlier run"));
    }
    let uuid = spare_uuid();
    let image = Image { bytes: unsigned_image(&uuid, 9, &[1; 64]), uuid, version: 9 };
    let mut draft = context.draft(&image);
    draft.terms.publisher = public(&stranger).id();
    draft.publisher = stranger.clone();
    let package = draft.seal();
    let begin = |context: &Context<'_>| {
        let mut link = context.connect()?;
        Ok::<_, Stop>(send(link.as_mut(), Command::InstallBegin, &package.0))
    };
    check_eq!(begin(context)?, Ok(()), "before");
    revoke(context, &[Revoked::Key(public(&stranger).id())])?;
    check_eq!(begin(context)?, Err(Error::NotAuthorised.into()), "after");
    check_eq!(delegate(context), Err(Error::Revoked.into()), "delegated again");
    Ok(())
}

fn version(context: &mut Context<'_>) -> Result<(), Stop> {
    context.with_revoker()?;
    context.keyed()?;
    let uuid = spare_uuid();
    revoke(context, &[Revoked::Enclave { uuid, floor: 50 }])?;
    revoke(context, &[Revoked::Enclave { uuid, floor: 20 }])?;
    for (version, want) in [(1, Err(Error::Revoked)), (49, Err(Error::Revoked)), (50, Ok(()))] {
        let image = Image { bytes: unsigned_image(&uuid, version, &[1; 64]), uuid, version };
        let package = context.package(&image);
        let answer = send(context.connect()?.as_mut(), Command::InstallBegin, &package.0);
        check_eq!(answer, want.map_err(Into::into), "version {version}");
    }
    Ok(())
}

fn class_key(context: &mut Context<'_>) -> Result<(), Stop> {
    context.with_revoker()?;
    let first = KeyRef::new(CLASS_KEY, context.next_sequence() as u32).expect("a short name");
    let name = KeyRef::new("suite-revoked", first.version).expect("a short name");
    let [old, new] = [name, KeyRef { version: name.version + 1, ..name }];
    let mut link = context.connect()?;
    let releaser = context.delegate_releaser(&[CLASS_KEY, "suite-revoked"]);
    send(link.as_mut(), Command::Authorise, &releaser)?;
    let wrapped = context.wrapped_class_key(link.as_mut())?;
    let mut import = |context: &Context<'_>, key: &KeyRef| {
        let nonce = challenge(link.as_mut(), Purpose::ImportKey)?;
        let bundle = context.bundle(&nonce, key, &wrapped);
        Ok::<_, Stop>(send(link.as_mut(), Command::ImportKey, &bundle))
    };
    check_eq!(import(context, &old)?, Ok(()), "the old one");
    check_eq!(import(context, &new)?, Ok(()), "the new one, beside it");
    revoke(context, &[Revoked::ClassKey { name: name.name, floor: new.version }])?;
    let held = info(context.connect()?.as_mut())?.class_keys;
    check!(!held.contains(&old), "the revoked version is still there");
    check!(held.contains(&new), "the other version is gone");
    check_eq!(import(context, &old)?, Err(Error::Revoked.into()), "the old one again");
    let destroy = |key: KeyRef| encode(&trustbox_api::message::DestroyKeyRequest { key });
    let mut link = context.connect()?;
    send(link.as_mut(), Command::DestroyKey, &destroy(new))?;
    let again = send(link.as_mut(), Command::DestroyKey, &destroy(new));
    check_eq!(again, Err(Error::KeyUnknown.into()), "destroyed twice");
    Ok(())
}

/// Uses up all versions of the probe but the highest.
fn running(context: &mut Context<'_>) -> Result<(), Stop> {
    context.with_revoker()?;
    let [_, old, new] = context.probe.clone();
    let open = encode(&OpenRequest { uuid: old.uuid });
    match context.with(&old) {
        Err(Stop::Failed(why)) if why.contains("Revoked") || why.contains("VersionRollback") => {
            return Err(Stop::Skipped("an earlier case or run needed a higher version"));
        }
        result => result?,
    }
    let mut link = context.connect()?;
    send(link.as_mut(), Command::OpenEnclave, &open)?;
    if let Some(answer) = link.invoke(1, &[], 4096) {
        check!(answer.is_ok(), "before: {answer:?}");
    }
    revoke(context, &[Revoked::Enclave { uuid: old.uuid, floor: new.version }])?;
    let answer = link.invoke(1, &[], 4096);
    check_eq!(answer, Some(Err(Error::Revoked.into())), "the next call");
    let closed = link.invoke(1, &[], 4096);
    check_eq!(closed, Some(Err(Error::WrongSequence.into())), "the call after that");
    let answer = send(link.as_mut(), Command::OpenEnclave, &open);
    check_eq!(answer, Err(Error::Revoked.into()), "launched again");
    let package = context.package(&old);
    let answer = install(link.as_mut(), &package.0, &package.1);
    check_eq!(answer, Err(Error::Revoked.into()), "installed again");
    context.with(&new)?;
    send(link.as_mut(), Command::OpenEnclave, &open)?;
    Ok(())
}

fn root(context: &mut Context<'_>) -> Result<(), Stop> {
    context.with_revoker()?;
    let statement = context.revocation(&[Revoked::Key(context.root_id())]);
    let answer = send(context.connect()?.as_mut(), Command::Revoke, &statement);
    check_eq!(answer, Err(Error::NotAuthorised.into()), "the root");
    let many = vec![harmless(1)[0]; MAX_REVOCATION_ITEMS];
    revoke(context, &many)?;
    for number in 0..=MAX_REVOKERS as u8 {
        let header = context.owner_header(Kind::Revoker);
        let body = Revoker { key: public(&stranger(60 + number)) };
        let statement = forge::statement(&header, &body, &context.parties.root);
        let answer = send(context.connect()?.as_mut(), Command::Authorise, &statement);
        check!(answer.is_ok() || answer == Err(Error::LimitReached.into()), "revoker {number}: {answer:?}");
        check!(number < MAX_REVOKERS as u8 || answer.is_err(), "one revoker too many");
    }
    Ok(())
}

fn set_policy(context: &mut Context<'_>, policy: &Policy) -> Result<(), Stop> {
    let header = context.owner_header(Kind::Policy);
    let statement = forge::statement(&header, policy, &context.parties.root);
    Ok(send(context.connect()?.as_mut(), Command::Authorise, &statement)?)
}

fn policy_limit(context: &mut Context<'_>) -> Result<(), Stop> {
    context.installed()?;
    remove(context, context.c_echo.uuid, false).ok();
    let installed =
        list(context.connect()?.as_mut())?.enclaves.iter().filter(|e| e.version.is_some()).count();
    let full = Policy { max_enclaves: installed as u8, ..Policy::default() };
    set_policy(context, &full)?;
    check_eq!(info(context.connect()?.as_mut())?.policy, full, "policy in info");
    let begin = |image: &Image| {
        let package = context.package(image);
        Ok::<_, Stop>(send(context.connect()?.as_mut(), Command::InstallBegin, &package.0))
    };
    check_eq!(begin(&context.c_echo)?, Err(Error::LimitReached.into()), "one enclave more");
    check_eq!(begin(&context.image)?, Ok(()), "one that is there, again");
    let header = context.owner_header(Kind::Policy);
    let beyond = Policy { max_enclaves: MAX_ENCLAVES as u8 + 1, ..Policy::default() };
    let statement = forge::statement(&header, &beyond, &context.parties.root);
    let answer = send(context.connect()?.as_mut(), Command::Authorise, &statement);
    check_eq!(answer, Err(Error::LimitReached.into()), "more than there is room for");
    set_policy(context, &Policy::default())
}

fn legacy(context: &mut Context<'_>) -> Result<(), Stop> {
    context.keyed()?;
    let image = context.c_echo.clone();
    let (request, ciphertext) = context.legacy_package(&image);
    let begin = |context: &Context<'_>, request: &LegacyRequest| {
        let mut link = context.connect()?;
        Ok::<_, Stop>(send(link.as_mut(), Command::InstallLegacy, &encode(request)))
    };
    check_eq!(begin(context, &request)?, Err(Error::NotAuthorised.into()), "without a policy");
    let mut policy = Policy::default();
    policy.legacy.try_push(image.uuid).expect("room for one");
    set_policy(context, &policy)?;
    let other = LegacyRequest { uuid: spare_uuid(), ..request };
    check_eq!(begin(context, &other)?, Err(Error::NotAuthorised.into()), "another UUID");
    let unnamed = LegacyRequest { size: 0, ..request };
    check_eq!(begin(context, &unnamed)?, Err(Error::ManifestInvalid.into()), "no size");
    let finish = |context: &Context<'_>, request: &LegacyRequest| {
        let mut link = context.connect()?;
        send(link.as_mut(), Command::InstallLegacy, &encode(request))?;
        for (number, chunk) in ciphertext.chunks(1 << 20).enumerate() {
            send_chunk(link.as_mut(), number << 20, chunk)?;
        }
        Ok::<_, Stop>(send(link.as_mut(), Command::InstallFinish, &[]))
    };
    let flipped = LegacyRequest { tag: Bytes([0; 16]), ..request };
    check_eq!(finish(context, &flipped)?, Err(Error::Decryption.into()), "another tag");
    let other_text = LegacyRequest { plaintext_sha256: Bytes([0; 32]), ..request };
    check_eq!(finish(context, &other_text)?, Err(Error::PlaintextDigest.into()), "another digest");
    check_eq!(finish(context, &request)?, Ok(()), "as the policy allows");
    set_policy(context, &Policy::default())
}

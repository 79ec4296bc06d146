//! Limits on the fake: at each, and one beyond (INV-11). On OP-TEE an enclave needs a signature of its own.

mod support;

use support::{Fake, blank, context};
use trustbox_api::key::Uuid;
use trustbox_api::limits::{
    MAX_ENCLAVES, MAX_LOG_ENTRIES, MAX_OBSERVATIONS, MAX_RELEASERS, MAX_REVOKED_CLASS_KEYS,
    MAX_REVOKED_ENCLAVES, MAX_REVOKED_KEYS,
};
use trustbox_api::log::{Channel, LogReply};
use trustbox_api::message::LogRequest;
use trustbox_api::statement::{Kind, Releaser, Revoked};
use trustbox_api::{Bytes, Command, Error};
use trustbox_test::context::{Context, Image, publisher};
use trustbox_test::forge::{self, public, stranger, unsigned_image};
use trustbox_test::requests::{ask, encode, install, list, send};
use trustbox_test::target::Code;

fn numbered(number: u8) -> Uuid {
    Uuid(Bytes([number; 16]))
}

/// Lets the suite's publisher publish 16 numbered UUIDs.
fn authorise(context: &mut Context<'_>, first: u8) {
    let uuids: Vec<Uuid> = (first..first + 16).map(numbered).collect();
    let header = context.owner_header(Kind::Publisher);
    let body = publisher(public(&context.parties.publisher), &uuids);
    let statement = forge::statement(&header, &body, &context.parties.root);
    send(context.connect().expect("a session").as_mut(), Command::Authorise, &statement).expect("authorised");
}

fn put(context: &Context<'_>, number: u8) -> Result<(), Code> {
    let uuid = numbered(number);
    let image = Image { bytes: unsigned_image(&uuid, 1, &[number; 40]), uuid, version: 1 };
    let package = context.package(&image);
    install(context.connect().expect("a session").as_mut(), &package.0, &package.1)
}

fn revoke(context: &mut Context<'_>, item: Revoked) -> Result<(), Code> {
    let statement = context.revocation(&[item]);
    send(context.connect().expect("a session").as_mut(), Command::Revoke, &statement)
}

fn with_revoker<'a>(target: &'a Fake, parties: &'a trustbox_test::context::Parties) -> Context<'a> {
    let mut context = context(target, parties, 3);
    context.with_revoker().expect("a revoker");
    context
}

#[test]
fn enclaves() {
    let (target, parties) = blank();
    let mut context = context(&target, &parties, 3);
    context.keyed().expect("a key");
    authorise(&mut context, 1);
    for number in 1..=MAX_ENCLAVES as u8 {
        put(&context, number).expect("room");
    }
    authorise(&mut context, 100);
    assert_eq!(put(&context, 100), Err(Error::LimitReached.into()));
    let count = list(context.connect().expect("a session").as_mut()).expect("a list").enclaves.len();
    assert_eq!(count, MAX_ENCLAVES);
}

#[test]
fn releasers() {
    let (target, parties) = blank();
    let mut context = context(&target, &parties, 3);
    context.owned().expect("an owner");
    for number in 1..=MAX_RELEASERS as u8 {
        let header = context.owner_header(Kind::Releaser);
        let body = Releaser { key: public(&stranger(number)), keys: Default::default() };
        let statement = forge::statement(&header, &body, &context.parties.root);
        let answer = send(context.connect().expect("a session").as_mut(), Command::Authorise, &statement);
        // The suite's own is one of them.
        let want = if number < MAX_RELEASERS as u8 { Ok(()) } else { Err(Error::LimitReached.into()) };
        assert_eq!(answer, want, "releaser {number}");
    }
}

#[test]
fn revocations() {
    let (target, parties) = blank();
    let mut context = with_revoker(&target, &parties);
    type Item = fn(u8) -> Revoked;
    let limits: [(usize, Item); 3] = [
        (MAX_REVOKED_KEYS, |number| Revoked::Key(Bytes([number; 32]))),
        (MAX_REVOKED_ENCLAVES, |number| Revoked::Enclave { uuid: numbered(number), floor: 1 }),
        (MAX_REVOKED_CLASS_KEYS, |number| Revoked::ClassKey {
            name: format!("class-{number}").as_str().try_into().expect("a short name"),
            floor: 1,
        }),
    ];
    for (limit, item) in limits {
        for number in 0..limit as u8 {
            revoke(&mut context, item(number)).expect("room");
        }
        let beyond = revoke(&mut context, item(limit as u8));
        assert_eq!(beyond, Err(Error::LimitReached.into()), "one more than {limit}");
        // What is there can still be raised, and a refused statement leaves nothing behind.
        revoke(&mut context, item(0)).expect("known");
    }
}

/// Everything at its limit at once still fits into what is stored and into a reply.
#[test]
fn everything_at_once() {
    let (target, parties) = blank();
    let mut context = with_revoker(&target, &parties);
    revocations_into(&mut context);
    context.keyed().expect("a key");
    for number in 2..8 {
        let header = context.owner_header(Kind::Publisher);
        let uuids: Vec<Uuid> = (0..16).map(|uuid| numbered(16 + uuid)).collect();
        let body = publisher(public(&stranger(number)), &uuids);
        let statement = forge::statement(&header, &body, &context.parties.root);
        send(context.connect().expect("a session").as_mut(), Command::Authorise, &statement).expect("room");
    }
    context.installed().expect("installed");
    let largest = target.0.get().records.values().map(Vec::len).max();
    assert!(largest.is_some_and(|size| size > 3000), "{largest:?}");
}

fn revocations_into(context: &mut Context<'_>) {
    for number in 0..MAX_REVOKED_KEYS as u8 {
        revoke(context, Revoked::Key(Bytes([number; 32]))).expect("room");
    }
}

/// More events than a channel holds: the oldest go, the newest stay, and Linux cannot push out what the owner said.
#[test]
fn log_channels() {
    let (target, parties) = blank();
    let mut context = with_revoker(&target, &parties);
    for number in 0..2 * MAX_LOG_ENTRIES as u32 {
        revoke(&mut context, Revoked::Enclave { uuid: numbered(1), floor: number }).expect("revoked");
    }
    let read = |channel| {
        let request = encode(&LogRequest { channel });
        ask::<LogReply>(context.connect().expect("a session").as_mut(), Command::Log, &request)
            .expect("a log")
    };
    let ring = read(Channel::Authority).ring;
    assert_eq!(ring.entries.len(), MAX_LOG_ENTRIES);
    assert!(ring.first > 0 && ring.base != Bytes([0; 32]));
    for _ in 0..200 {
        let mut link = context.connect().expect("a session");
        assert!(
            send(
                link.as_mut(),
                Command::Revoke,
                &context.pin_root(&trustbox_api::message::ChallengeReply {
                    device_id: Bytes([0; 32]),
                    nonce: Bytes([0; 32]),
                })
            )
            .is_err()
        );
    }
    assert_eq!(read(Channel::Authority).ring, ring);
    assert!(read(Channel::Activity).observations.len() <= MAX_OBSERVATIONS);
}

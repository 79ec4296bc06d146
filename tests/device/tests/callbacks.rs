//! What enclaves may ask, on the fake: their commands, their tickets, and nothing else (INV-9).

mod support;

use support::{Fake, blank, context};
use trustbox_api::command::{Caller, TABLE};
use trustbox_api::launch::{Enclave, Ticket};
use trustbox_api::limits::{MAX_COUNTERS, MAX_ENCLAVE_SESSIONS, MAX_REPLY, MAX_SESSIONS};
use trustbox_api::message::{
    CounterReply, CounterRequest, KeyReply, KeyRequest, NoteRequest, ReportData, ReportRequest,
    UninstallRequest,
};
use trustbox_api::statement::Revoked;
use trustbox_api::{Bytes, Command, Error, Uuid};
use trustbox_core::Session;
use trustbox_test::context::{Context, Image};
use trustbox_test::forge::{stranger, unsigned_image};
use trustbox_test::requests::{ask, encode, info, install, send};
use trustbox_test::target::{Code, Link};
use trustbox_verifier::Token;

/// What who expects a token of the device says to a report.
const NO_DEVICE: &str = "claim client-id: not of the normal world, so no token of the device";

/// The ticket of a fresh launch.
fn launch(target: &Fake, uuid: Uuid) -> Ticket {
    let mut session = Session::open(target.0.tee()).expect("a session");
    let request = encode(&trustbox_api::message::OpenRequest { uuid });
    session.handle(Command::OpenEnclave as u32, &request, &&[][..], &mut []).expect("launched");
    session.enclave().expect("an enclave").launch.ticket
}

fn installed<'a>(target: &'a Fake, parties: &'a trustbox_test::context::Parties) -> Context<'a> {
    let mut context = context(target, parties, 3);
    context.installed().expect("installed");
    context
}

fn counter(link: &mut dyn Link, ticket: Ticket, counter: u8, add: u64) -> Result<u64, Code> {
    let request = encode(&CounterRequest { ticket, counter, add });
    let reply = link.call(Command::EnclaveCounter as u32, &request, None, MAX_REPLY)?;
    Ok(trustbox_api::wire::decode::<CounterReply>(&reply).expect("a counter").value)
}

/// Every command from an enclave: those of Linux are refused by number, its own ask for a ticket.
#[test]
fn enclaves_may_use_their_commands_only() {
    let (target, parties) = blank();
    let context = installed(&target, &parties);
    let mut link = target.connect_as(context.image.uuid).expect("a session");
    for rule in TABLE {
        let answer = link.call(rule.command as u32, &[], None, MAX_REPLY);
        let want = match rule.caller.contains(&Caller::Enclave) {
            true => Error::BadMessage,
            false if rule.shape == trustbox_api::command::Shape::Forward => Error::BadParameters,
            false => Error::WrongCaller,
        };
        assert_eq!(answer, Err(want.into()), "{}", rule.name);
    }
}

#[test]
fn a_ticket_is_good_for_its_enclave_only_and_as_it_came() {
    let (target, parties) = blank();
    let context = installed(&target, &parties);
    let uuid = context.image.uuid;
    let ticket = launch(&target, uuid);
    let mut link = target.connect_as(uuid).expect("a session");
    assert_eq!(counter(link.as_mut(), ticket, 0, 0), Ok(0));
    let mut other = target.connect_as(context.probe[0].uuid).expect("a session");
    assert_eq!(counter(other.as_mut(), ticket, 0, 0), Err(Error::TicketInvalid.into()));
    let encoded = encode(&ticket);
    for bit in 0..encoded.len() * 8 {
        let flipped = trustbox_test::forge::flip(&encoded, bit);
        let Ok(forged) = trustbox_api::wire::decode::<Ticket>(&flipped) else { continue };
        if forged != ticket {
            let answer = counter(link.as_mut(), forged, 0, 0);
            assert_eq!(answer, Err(Error::TicketInvalid.into()), "bit {bit}");
        }
    }
}

fn public(parties: &trustbox_test::context::Parties) -> trustbox_api::PublicKey {
    trustbox_test::forge::public(&parties.authority)
}

#[test]
fn a_ticket_of_another_device_is_worth_nothing() {
    let (target, parties) = blank();
    let context = installed(&target, &parties);
    let foreign = launch(&target, context.image.uuid);
    let other = Fake(trustbox_core::fake::Device::new(2, &public(&parties)));
    let context = installed(&other, &parties);
    let mut link = other.connect_as(context.image.uuid).expect("a session");
    assert_eq!(counter(link.as_mut(), foreign, 0, 0), Err(Error::TicketInvalid.into()));
}

#[test]
fn counters_rise_and_survive_an_upgrade() {
    let (target, parties) = blank();
    let mut context = installed(&target, &parties);
    let Image { uuid, version, .. } = context.image.clone();
    let ticket = launch(&target, uuid);
    let mut link = target.connect_as(uuid).expect("a session");
    assert_eq!(counter(link.as_mut(), ticket, 1, 5), Ok(5));
    assert_eq!(counter(link.as_mut(), ticket, 1, u64::MAX), Err(Error::LimitReached.into()));
    assert_eq!(counter(link.as_mut(), ticket, MAX_COUNTERS as u8, 0), Err(Error::LimitReached.into()));
    let newer = Image { bytes: unsigned_image(&uuid, version + 1, &[1]), uuid, version: version + 1 };
    context.with(&newer).expect("upgraded");
    assert_eq!(counter(link.as_mut(), launch(&target, uuid), 1, 1), Ok(6));
    let erase = encode(&UninstallRequest { uuid, erase: true });
    send(context.connect().expect("a session").as_mut(), Command::Uninstall, &erase).expect("erased");
    assert_eq!(counter(link.as_mut(), ticket, 1, 0), Err(Error::NotInstalled.into()));
    context.with(&newer).expect("installed again");
    assert_eq!(counter(link.as_mut(), launch(&target, uuid), 1, 0), Ok(0));
    // What was launched before the erasure does not get at what came after it.
    assert_eq!(counter(link.as_mut(), ticket, 1, 0), Err(Error::NotInstalled.into()));
}

/// An instance that was launched before an upgrade goes on, and never speaks as the new version.
#[test]
fn a_report_says_what_was_launched() {
    let (target, parties) = blank();
    let mut context = installed(&target, &parties);
    let Image { uuid, version, .. } = context.image.clone();
    let old = launch(&target, uuid);
    let newer = Image { bytes: unsigned_image(&uuid, version + 1, &[1]), uuid, version: version + 1 };
    context.with(&newer).expect("upgraded");
    let key = info(context.connect().expect("a session").as_mut()).expect("info").attestation_key;
    let key = key.expect("a key");
    let offered = trustbox_test::forge::public(&stranger(3));
    let mut link = target.connect_as(uuid).expect("a session");
    for (ticket, version) in [(old, version), (launch(&target, uuid), version + 1)] {
        let bytes = [7, 8].iter().copied().collect();
        let data = ReportData { bytes, transport_key: Some(offered) };
        let request = encode(&ReportRequest { ticket, nonce: Bytes([4; 32]), data });
        let reply = link.call(Command::EnclaveReport as u32, &request, None, MAX_REPLY).expect("a report");
        let token = Token::parse(&reply).expect("a token");
        assert_eq!(token.clone().verify(&key, &[4; 32]).map(drop).unwrap_err().to_string(), NO_DEVICE);
        let report = token.verify_report(&key, &[4; 32]).expect("a report");
        assert_eq!(report.enclave, Enclave::from(ticket.identity));
        assert_eq!((report.enclave.version, report.data), (version, &[7, 8][..]));
        assert_eq!(report.transport_key, Some(offered));
        assert_eq!(report.claims.components.len(), 3);
    }
}

#[test]
fn labels_give_unrelated_keys_and_a_publisher_its_own() {
    let (target, parties) = blank();
    let context = installed(&target, &parties);
    let ticket = launch(&target, context.image.uuid);
    let mut link = target.connect_as(context.image.uuid).expect("a session");
    let mut key = |label: &str| {
        let request = encode(&KeyRequest { ticket, label: label.try_into().expect("a short label") });
        let reply: KeyReply = ask(link.as_mut(), Command::EnclaveKey, &request).expect("a key");
        *reply.key.expose()
    };
    assert_eq!(key("a"), key("a"));
    assert_ne!(key("a"), key("b"));
    assert_ne!(key(""), key("a"));
}

#[test]
fn notes_are_in_a_channel_of_their_own() {
    let (target, parties) = blank();
    let context = installed(&target, &parties);
    let ticket = launch(&target, context.image.uuid);
    let mut link = target.connect_as(context.image.uuid).expect("a session");
    let before = target.0.get().records.get(&trustbox_core::Record::Log).cloned();
    for _ in 0..100 {
        let request = encode(&NoteRequest { ticket, text: "hello".try_into().expect("short") });
        send(link.as_mut(), Command::EnclaveNote, &request).expect("noted");
    }
    assert_ne!(target.0.get().records.get(&trustbox_core::Record::Log).cloned(), before);
    let channel = |channel| {
        let request = encode(&trustbox_api::message::LogRequest { channel });
        let mut link = context.connect().expect("a session");
        ask::<trustbox_api::log::LogReply>(link.as_mut(), Command::Log, &request).expect("a log").ring
    };
    assert_eq!(channel(trustbox_api::log::Channel::Enclaves).next(), 100);
    assert!(channel(trustbox_api::log::Channel::Authority).next() < 10);
}

#[test]
fn revocation_silences_what_runs() {
    let (target, parties) = blank();
    let mut context = installed(&target, &parties);
    context.with_revoker().expect("a revoker");
    let uuid = context.image.uuid;
    let ticket = launch(&target, uuid);
    let statement = context.revocation(&[Revoked::Enclave { uuid, floor: u32::MAX }]);
    send(context.connect().expect("a session").as_mut(), Command::Revoke, &statement).expect("revoked");
    let mut link = target.connect_as(uuid).expect("a session");
    assert_eq!(counter(link.as_mut(), ticket, 0, 1), Err(Error::Revoked.into()));
    let package = context.package(&context.image);
    let answer = install(context.connect().expect("a session").as_mut(), &package.0, &package.1);
    assert_eq!(answer, Err(Error::Revoked.into()));
}

/// Linux cannot keep enclaves from calling back by taking all sessions.
#[test]
fn enclaves_have_sessions_of_their_own() {
    let (target, parties) = blank();
    let context = installed(&target, &parties);
    let linux: Vec<_> = (0..MAX_SESSIONS).map(|_| context.connect().expect("a session")).collect();
    assert!(context.connect().is_err());
    let uuid = context.image.uuid;
    let enclaves: Vec<_> =
        (0..MAX_ENCLAVE_SESSIONS).map(|_| target.connect_as(uuid).expect("a session")).collect();
    assert!(matches!(target.connect_as(uuid).map(drop), Err(code) if code == Error::LimitReached.into()));
    drop((linux, enclaves));
}

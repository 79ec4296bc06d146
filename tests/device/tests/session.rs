//! A session on the fake where no case of the suite gets to: what it does between calls, and with calls that libteec cannot make.

mod support;

use support::{Fake, blank, context};
use trustbox_api::limits::{MAX_CHUNK, MAX_REQUEST};
use trustbox_api::message::{InstallChunkRequest, OpenRequest};
use trustbox_api::statement::Revoked;
use trustbox_api::{Command, Error};
use trustbox_core::fake::FakeTee;
use trustbox_core::{Session, Untrusted};
use trustbox_test::context::Context;
use trustbox_test::requests::{encode, send};

/// Memory that claims to be longer than anything.
struct Endless;

impl Untrusted for Endless {
    fn len(&self) -> usize {
        usize::MAX
    }

    fn copy_to(&self, _: &mut [u8]) -> Result<(), Error> {
        panic!("copied before its length was looked at")
    }
}

fn call(session: &mut Session<FakeTee>, command: Command, request: &[u8]) -> Result<usize, Error> {
    session.handle(command as u32, request, &&[][..], &mut [0; 4096])
}

/// A session with the suite's enclave open.
fn launched(target: &Fake, context: &mut Context<'_>) -> Session<FakeTee> {
    context.installed().expect("installed");
    let mut session = Session::open(target.0.tee()).expect("a session");
    let request = encode(&OpenRequest { uuid: context.image.uuid });
    call(&mut session, Command::OpenEnclave, &request).expect("launched");
    assert!(session.enclave().is_ok());
    session
}

#[test]
fn what_was_revoked_ends_at_its_next_call() {
    let (target, parties) = blank();
    let mut context = context(&target, &parties, 3);
    let mut session = launched(&target, &mut context);
    context.with_revoker().expect("a revoker");
    // Something else changed: the session looks, and goes on.
    assert!(session.enclave().is_ok());
    let statement = context.revocation(&[Revoked::Enclave { uuid: context.image.uuid, floor: u32::MAX }]);
    send(context.connect().expect("a session").as_mut(), Command::Revoke, &statement).expect("revoked");
    assert!(matches!(session.enclave().map(|_| ()), Err(Error::Revoked)));
    assert!(matches!(session.enclave().map(|_| ()), Err(Error::WrongSequence)));
    assert_eq!(call(&mut session, Command::CloseEnclave, &[]), Err(Error::WrongSequence));
}

#[test]
fn an_enclave_that_died_is_not_open() {
    let (target, parties) = blank();
    let mut context = context(&target, &parties, 3);
    let mut session = launched(&target, &mut context);
    session.enclave_died();
    assert!(matches!(session.enclave().map(|_| ()), Err(Error::WrongSequence)));
    let request = encode(&OpenRequest { uuid: context.image.uuid });
    assert_eq!(call(&mut session, Command::OpenEnclave, &request), Ok(0));
}

#[test]
fn lengths_are_looked_at_first() {
    let (target, parties) = blank();
    let mut context = context(&target, &parties, 3);
    context.keyed().expect("a key");
    let mut session = Session::open(target.0.tee()).expect("a session");
    assert_eq!(call(&mut session, Command::Info, &[0; MAX_REQUEST + 1]), Err(Error::TooLarge));
    let chunk = encode(&InstallChunkRequest { offset: 0 });
    assert_eq!(call(&mut session, Command::InstallChunk, &chunk), Err(Error::WrongSequence));
    let package = context.package(&context.image);
    call(&mut session, Command::InstallBegin, &package.0).expect("begun");
    let answer = session.handle(Command::InstallChunk as u32, &chunk, &Endless, &mut []);
    assert_eq!(answer, Err(Error::TooLarge));
    let longer = vec![0; MAX_CHUNK.min(package.1.len() + 1)];
    let answer = session.handle(Command::InstallChunk as u32, &chunk, &&longer[..], &mut []);
    assert_eq!(answer, Err(Error::ChunkOutOfOrder));
    assert!((&&longer[..] as &dyn Untrusted).len() == longer.len() && Untrusted::is_empty(&&[][..]));
}

#[test]
fn a_reply_that_does_not_fit_is_an_error() {
    let (target, parties) = blank();
    context(&target, &parties, 3).owned().expect("an owner");
    let mut session = Session::open(target.0.tee()).expect("a session");
    for command in [Command::Info, Command::DeviceKey, Command::List] {
        let answer = session.handle(command as u32, &[], &&[][..], &mut []);
        assert_eq!(answer, Err(Error::ShortBuffer), "{command:?}");
    }
}

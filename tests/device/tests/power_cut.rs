//! Power cuts on the fake: after each storage operation of each changing command (INV-6).
//!
//! After the cut the device starts again and must be as before the command or as after it, an
//! interrupted install must not launch, and the same command must go through.

mod support;

use support::{Fake, blank, context};
use trustbox_api::command::Lifecycle;
use trustbox_api::message::Purpose;
use trustbox_api::{Command, Error};
use trustbox_core::{Record, Slot, Tee};
use trustbox_test::case::Stop;
use trustbox_test::context::{Context, Image, challenge, encode, info, install, list, send};
use trustbox_test::forge::unsigned_image;
use trustbox_test::target::Code;

/// Storage operations that any one command may need at most.
const ENOUGH: usize = 10;

type Act = fn(&mut Context<'_>) -> Result<(), Stop>;

/// Everything that is stored.
fn stored(target: &Fake) -> (Vec<(Record, Vec<u8>)>, usize) {
    let world = target.0.get();
    (world.records.iter().map(|(record, bytes)| (*record, bytes.clone())).collect(), world.tadb.len())
}

/// Cuts the power after each storage operation of `act`, on a device that `prepare` made.
fn cut_everywhere(prepare: Act, act: Act) {
    for operations in 0..ENOUGH {
        let (target, parties) = blank();
        let mut context = context(&target, &parties, 3);
        prepare(&mut context).expect("prepared");
        let before = stored(&target);
        target.0.set(|world| world.operations_left = Some(operations));
        let cut = act(&mut context).is_err();
        target.0.set(|world| world.operations_left = None);
        if !cut {
            assert!(operations > 0, "the command stores nothing");
            assert_ne!(stored(&target), before);
            return;
        }
        check_consistent(&mut context, &target, &before);
        act(&mut context).unwrap_or_else(|stop| panic!("after a cut at {operations}: {stop:?}"));
    }
    panic!("the command needs more than {ENOUGH} storage operations");
}

/// Records are the old ones, but for the intent of an install, which keeps the enclave from launching.
fn check_consistent(context: &mut Context<'_>, target: &Fake, before: &(Vec<(Record, Vec<u8>)>, usize)) {
    let mut link = context.connect().expect("the TA answers");
    let pending = match list(link.as_mut()) {
        Ok(reply) => reply.enclaves.iter().any(|enclave| enclave.pending),
        Err(_) => false,
    };
    if pending {
        let open = encode(&trustbox_api::message::OpenRequest { uuid: context.image.uuid });
        let answer = send(link.as_mut(), Command::OpenEnclave, &open);
        assert_eq!(answer, Err(Code::from(Error::ChangePending)));
    } else {
        assert_eq!(stored(target), *before);
    }
}

fn nothing(_: &mut Context<'_>) -> Result<(), Stop> {
    Ok(())
}

fn provision(context: &mut Context<'_>) -> Result<(), Stop> {
    let mut link = context.connect()?;
    let challenge = challenge(link.as_mut(), Purpose::Provision)?;
    Ok(send(link.as_mut(), Command::Provision, &context.pin_root(&challenge))?)
}

#[test]
fn a_nonce() {
    let ask =
        |context: &mut Context<'_>| challenge(context.connect()?.as_mut(), Purpose::Provision).map(drop);
    cut_everywhere(nothing, ask);
}

/// The nonce of the second try is another one, so only the command itself is cut.
#[test]
fn provisioning() {
    for operations in 0..3 {
        let (target, parties) = blank();
        let mut context = context(&target, &parties, 3);
        let mut link = context.connect().expect("a session");
        let challenge = challenge(link.as_mut(), Purpose::Provision).expect("a nonce");
        let before = stored(&target);
        target.0.set(|world| world.operations_left = Some(operations));
        let answer = send(link.as_mut(), Command::Provision, &context.pin_root(&challenge));
        assert_eq!(answer, Err(Error::Storage.into()));
        target.0.set(|world| world.operations_left = None);
        assert_eq!(stored(&target).0.first(), before.0.first());
        assert_eq!(info(link.as_mut()).expect("info").lifecycle, Lifecycle::Blank);
        send(link.as_mut(), Command::Provision, &context.pin_root(&challenge)).expect("the same statement");
        context.owned().expect("an owner");
    }
}

#[test]
fn delegation() {
    let delegate = |context: &mut Context<'_>| {
        let statement = context.delegate_releaser(&["another"]);
        Ok(send(context.connect()?.as_mut(), Command::Authorise, &statement)?)
    };
    cut_everywhere(provision, delegate);
}

#[test]
fn key_import() {
    {
        let operations = 0;
        let (target, parties) = blank();
        let mut context = context(&target, &parties, 3);
        context.owned().expect("an owner");
        let mut link = context.connect().expect("a session");
        let challenge = challenge(link.as_mut(), Purpose::ImportKey).expect("a nonce");
        let wrapped = context.wrapped_class_key(link.as_mut()).expect("wrapped");
        let bundle = context.bundle(&challenge, &context.class_key_ref(), &wrapped);
        let before = stored(&target);
        target.0.set(|world| world.operations_left = Some(operations));
        assert_eq!(send(link.as_mut(), Command::ImportKey, &bundle), Err(Error::Storage.into()));
        target.0.set(|world| world.operations_left = None);
        assert_eq!(stored(&target), before);
        send(link.as_mut(), Command::ImportKey, &bundle).expect("the same bundle");
        context.keyed().expect("a key");
    }
}

#[test]
fn first_install() {
    cut_everywhere(|context| context.keyed().map(drop), put);
}

#[test]
fn upgrade() {
    let upgrade = |context: &mut Context<'_>| {
        let version = context.image.version + 1;
        let image = Image {
            bytes: unsigned_image(&context.image.uuid, version, &[9; 100]),
            version,
            ..context.image.clone()
        };
        let package = context.package(&image);
        Ok(install(context.connect()?.as_mut(), &package.0, &package.1)?)
    };
    cut_everywhere(|context| context.installed(), upgrade);
}

fn put(context: &mut Context<'_>) -> Result<(), Stop> {
    let package = context.package(&context.image);
    Ok(install(context.connect()?.as_mut(), &package.0, &package.1)?)
}

/// Deleting the one record that names the owner makes the device look blank; the next owner inherits nothing.
#[test]
fn a_lost_owner_leaves_no_keys() {
    let (target, parties) = blank();
    let mut context = context(&target, &parties, 3);
    context.installed().expect("installed");
    target.0.set(|world| world.records.remove(&Record::Device));
    provision(&mut context).expect("provisioned again");
    let mut link = context.connect().expect("a session");
    assert!(info(link.as_mut()).expect("info").class_keys.is_empty());
    assert!(list(link.as_mut()).expect("list").enclaves.is_empty());
}

/// A session that dies holding the writer slot blocks nobody.
#[test]
fn slots_come_back() {
    let (target, parties) = blank();
    let mut tee = target.0.tee();
    tee.acquire(Slot::Writer).expect("free");
    let mut context = context(&target, &parties, 3);
    let busy = challenge(context.connect().expect("a session").as_mut(), Purpose::Provision);
    assert!(matches!(busy, Err(Stop::Failed(why)) if why.contains("Busy")));
    drop(tee);
    provision(&mut context).expect("free again");
}

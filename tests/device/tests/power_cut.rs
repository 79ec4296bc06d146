//! Power cuts on the fake: after each storage operation of each changing command (INV-6).
//!
//! After the cut the device starts again and must be as before the command or as after it, nothing else; and the same
//! command must then lead to the state after it.

mod support;

use support::{Fake, blank, context};
use trustbox_api::key::Uuid;
use trustbox_api::message::{InfoReply, KeyReply, ListReply, OpenRequest, Purpose, UninstallRequest};
use trustbox_api::statement::{Decommission, Kind, Lock, Revoked, RotateRoot};
use trustbox_api::{Command, Error};
use trustbox_core::{Record, Slot, Tee};
use trustbox_test::case::Stop;
use trustbox_test::context::{Context, Image};
use trustbox_test::forge::{self, public, stranger, unsigned_image};
use trustbox_test::requests::{ask, challenge, encode, info, install, list, send};
use trustbox_test::target::Link;

/// Storage operations that any one command may need at most.
const ENOUGH: usize = 20;

/// Command, request, and data beside it.
type Request = (Command, Vec<u8>, Vec<u8>);

/// Prepares a device and returns the requests of the command, in order.
type Prepare = fn(&mut Context<'_>) -> Result<Vec<Request>, Stop>;

/// Everything that shows of a device, and what OP-TEE holds.
#[derive(PartialEq, Debug)]
struct View(InfoReply, Option<ListReply>, Vec<(Uuid, Vec<u8>)>, bool);

fn view(target: &Fake, context: &Context<'_>) -> View {
    let mut link = context.connect().expect("the TA answers");
    let list = list(link.as_mut()).ok();
    let info = info(link.as_mut()).expect("info");
    let world = target.0.get();
    View(info, list, world.tadb.iter().map(|(uuid, image)| (*uuid, image.clone())).collect(), world.keys)
}

fn run(context: &Context<'_>, requests: &[Request]) -> Result<(), Stop> {
    let mut link = context.connect()?;
    for (command, request, data) in requests {
        let data = (!data.is_empty()).then_some(data.as_slice());
        link.call(*command as u32, request, data, 4096)?;
    }
    Ok(())
}

/// Cuts the power after each storage operation of a command.
fn cut_everywhere(prepare: Prepare) {
    let after = {
        let (target, parties) = blank();
        let mut context = context(&target, &parties, 3);
        let requests = prepare(&mut context).expect("prepared");
        run(&context, &requests).expect("without a cut");
        view(&target, &context)
    };
    for operations in 0..ENOUGH {
        let (target, parties) = blank();
        let mut context = context(&target, &parties, 3);
        let requests = prepare(&mut context).expect("prepared");
        let before = view(&target, &context);
        assert_ne!(before, after, "the command changes nothing");
        target.0.set(|world| world.operations_left = Some(operations));
        let cut = run(&context, &requests).is_err();
        target.0.set(|world| {
            world.operations_left = None;
            world.boots += 1;
        });
        let now = view(&target, &context);
        if !cut {
            assert!(operations > 0, "the command stores nothing");
            assert_eq!(now, after);
            return;
        }
        assert!(now == before || now == after, "a cut at {operations} leaves {now:#?}");
        if now == before {
            run(&context, &requests).unwrap_or_else(|stop| panic!("after a cut at {operations}: {stop:?}"));
        }
        assert_eq!(view(&target, &context), after, "after a cut at {operations}");
    }
    panic!("the command needs more than {ENOUGH} storage operations");
}

fn plain(command: Command, request: Vec<u8>) -> Result<Vec<Request>, Stop> {
    Ok(vec![(command, request, vec![])])
}

fn installing(context: &mut Context<'_>, image: &Image) -> Result<Vec<Request>, Stop> {
    let (manifest, ciphertext) = context.package(image);
    let chunk = encode(&trustbox_api::message::InstallChunkRequest { offset: 0 });
    Ok(vec![
        (Command::InstallBegin, manifest, vec![]),
        (Command::InstallChunk, chunk, ciphertext),
        (Command::InstallFinish, vec![], vec![]),
    ])
}

fn changed(image: &Image, version: u32) -> Image {
    Image { bytes: unsigned_image(&image.uuid, version, &[9; 100]), version, ..image.clone() }
}

#[test]
fn provisioning() {
    cut_everywhere(|context| {
        let challenge = challenge(context.connect()?.as_mut(), Purpose::Provision)?;
        plain(Command::Provision, context.pin_root(&challenge))
    });
}

#[test]
fn lock() {
    cut_everywhere(|context| {
        context.owned()?;
        let challenge = challenge(context.connect()?.as_mut(), Purpose::Lock)?;
        let header = context.device_header(Kind::Lock, &challenge);
        let body = Lock { nonce: challenge.nonce };
        plain(Command::Lock, forge::statement(&header, &body, &context.parties.authority))
    });
}

#[test]
fn rotation() {
    cut_everywhere(|context| {
        context.owned()?;
        let challenge = challenge(context.connect()?.as_mut(), Purpose::RotateRoot)?;
        let header = context.device_header(Kind::RotateRoot, &challenge);
        let body = RotateRoot { nonce: challenge.nonce, root: public(&stranger(77)) };
        plain(Command::RotateRoot, forge::statement(&header, &body, &context.parties.root))
    });
}

#[test]
fn decommissioning() {
    cut_everywhere(|context| {
        context.installed()?;
        let challenge = challenge(context.connect()?.as_mut(), Purpose::Decommission)?;
        let header = context.device_header(Kind::Decommission, &challenge);
        let body = Decommission { nonce: challenge.nonce };
        plain(Command::Decommission, forge::statement(&header, &body, &context.parties.root))
    });
}

#[test]
fn policy() {
    cut_everywhere(|context| {
        context.owned()?;
        let header = context.owner_header(Kind::Policy);
        let body = trustbox_api::statement::Policy { max_enclaves: 3, ..Default::default() };
        plain(Command::Authorise, forge::statement(&header, &body, &context.parties.root))
    });
}

/// Three records have to do with it; it is one change all the same.
#[test]
fn revocation() {
    cut_everywhere(|context| {
        context.with_revoker()?;
        context.installed()?;
        let name = context.class_key_ref().name;
        let statement = context.revocation(&[
            Revoked::Enclave { uuid: context.image.uuid, floor: 9 },
            Revoked::ClassKey { name, floor: 9 },
        ]);
        plain(Command::Revoke, statement)
    });
}

#[test]
fn key_import() {
    cut_everywhere(|context| {
        context.owned()?;
        let mut link = context.connect()?;
        let challenge = challenge(link.as_mut(), Purpose::ImportKey)?;
        let wrapped = context.wrapped_class_key(link.as_mut())?;
        plain(Command::ImportKey, context.bundle(&challenge, &context.class_key_ref(), &wrapped))
    });
}

#[test]
fn first_install() {
    cut_everywhere(|context| {
        context.keyed()?;
        let image = context.image.clone();
        installing(context, &image)
    });
}

#[test]
fn upgrade() {
    cut_everywhere(|context| {
        context.installed()?;
        let image = changed(&context.image, context.image.version + 1);
        installing(context, &image)
    });
}

/// The same version with other contents: only the contents tell the two apart.
#[test]
fn reinstall() {
    cut_everywhere(|context| {
        context.installed()?;
        let image = changed(&context.image, context.image.version);
        installing(context, &image)
    });
}

#[test]
fn uninstall() {
    cut_everywhere(|context| {
        context.installed()?;
        let request = UninstallRequest { uuid: context.image.uuid, erase: true };
        plain(Command::Uninstall, encode(&request))
    });
}

/// A record that says more than the other store holds would launch the wrong thing; a launch settles it first.
#[test]
fn a_launch_settles_an_interrupted_install() {
    let (target, parties) = blank();
    let mut context = context(&target, &parties, 3);
    context.installed().expect("installed");
    let newer = changed(&context.image, context.image.version + 1);
    let package = context.package(&newer);
    // One operation for the log, one for the intent, one for OP-TEE; the final record is lost.
    target.0.set(|world| world.operations_left = Some(3));
    let answer = install(context.connect().expect("a session").as_mut(), &package.0, &package.1);
    assert_eq!(answer, Err(Error::Storage.into()));
    target.0.set(|world| world.operations_left = None);
    let open = encode(&OpenRequest { uuid: newer.uuid });
    let mut link = context.connect().expect("a session");
    send(link.as_mut(), Command::OpenEnclave, &open).expect("launched");
    let entry = list(link.as_mut()).expect("a list").enclaves.remove(0);
    assert_eq!((entry.version, entry.pending), (Some(newer.version), false));
}

/// An install between the old version and the interrupted one would be a step back once that one is settled.
#[test]
fn an_interrupted_install_raises_the_floor_first() {
    let (target, parties) = blank();
    let mut context = context(&target, &parties, 3);
    context.installed().expect("installed");
    let mut link = context.connect().expect("a session");
    let interrupted = changed(&context.image, context.image.version + 2);
    let package = context.package(&interrupted);
    target.0.set(|world| world.operations_left = Some(3));
    assert!(install(link.as_mut(), &package.0, &package.1).is_err());
    target.0.set(|world| world.operations_left = None);
    let between = context.package(&changed(&context.image, context.image.version + 1));
    let answer = install(link.as_mut(), &between.0, &between.1);
    assert_eq!(answer, Err(Error::VersionRollback.into()));
    let entry = list(link.as_mut()).expect("a list").enclaves.remove(0);
    assert_eq!((entry.version, entry.floor), (Some(interrupted.version), interrupted.version));
}

/// Deleting the one record that names the owner makes the device look blank; the next owner inherits nothing.
#[test]
fn a_lost_owner_leaves_no_keys() {
    let (target, parties) = blank();
    let mut context = context(&target, &parties, 3);
    context.installed().expect("installed");
    let disk_key =
        |link: &mut dyn Link| -> KeyReply { ask(link, Command::DiskKey, &[]).expect("a disk key") };
    let before = disk_key(context.connect().expect("a session").as_mut());
    target.0.set(|world| world.records.remove(&Record::Device));
    context.owned().expect("provisioned again");
    let mut link = context.connect().expect("a session");
    assert!(disk_key(link.as_mut()).key.expose() != before.key.expose());
    assert!(info(link.as_mut()).expect("info").class_keys.is_empty());
    assert!(list(link.as_mut()).expect("list").enclaves.is_empty());
}

/// A key that is missing on a device with an owner is damage: making a new one would hide it.
#[test]
fn a_lost_key_is_not_replaced() {
    let (target, parties) = blank();
    let mut context = context(&target, &parties, 3);
    context.owned().expect("an owner");
    target.0.set(|world| world.keys = false);
    let info = info(context.connect().expect("a session").as_mut());
    assert!(matches!(info, Err(Stop::Failed(why)) if why.contains("StorageCorrupt")));
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
    context.owned().expect("free again");
}

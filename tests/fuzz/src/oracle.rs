//! What holds for every call, whatever was asked: the panics here are a target's findings.

use trustbox_api::command::Command;
use trustbox_api::limits::MAX_REPLY;
use trustbox_api::log::{Channel, LogReply};
use trustbox_api::message::{InfoReply, ListReply, LogRequest};
use trustbox_api::{Error, wire};
use trustbox_core::Record;

use crate::world::{Link, Saved, Stage, World, ask, encode};

/// Bytes in front of and behind which nothing may be written.
const GUARD: u8 = 0xa5;

/// Calls, and holds what comes out against what must hold.
pub fn call(
    world: &World,
    link: &mut Link,
    command: u32,
    request: &[u8],
    data: &[u8],
) -> Result<Vec<u8>, Error> {
    let before = world.save();
    let mut reply = [GUARD; MAX_REPLY + 16];
    let result = link.handle(command, request, &data, &mut reply[..MAX_REPLY]);
    assert!(reply[MAX_REPLY..].iter().all(|byte| *byte == GUARD), "written behind the reply");
    match result {
        Ok(length) => {
            let reply = reply.get(..length).expect("a reply within its limit");
            no_secret(world, reply);
            Ok(reply.to_vec())
        }
        Err(error) => {
            unchanged(world, &before, command, error);
            Err(error)
        }
    }
}

/// No secret is in a reply, in whole or in half (INV-1).
fn no_secret(world: &World, reply: &[u8]) {
    for half in world.secrets.iter().flat_map(|secret| secret.chunks_exact(16)) {
        assert!(!reply.windows(16).any(|window| window == half), "a secret in a reply");
    }
}

/// Who is refused changes nothing but the log (INV-10), and that only by evidence against whoever asked.
///
/// Two commands may settle what was interrupted before they refuse; a launch is written down before it is tried.
fn unchanged(world: &World, before: &Saved, command: u32, error: Error) {
    let after = world.save();
    let settles = matches!(world.stage, Stage::Interrupted | Stage::Unfinished);
    let same = |record: Record| before.records.get(&record) == after.records.get(&record);
    assert!(same(Record::Device) && same(Record::Keys), "refused with {error:?}, and changed");
    if !settles {
        assert!(same(Record::Enclaves) && before.tadb == after.tadb, "refused with {error:?}, and changed");
        let writes = is_evidence(error) || command == Command::OpenEnclave as u32;
        assert!(writes || same(Record::Log), "refused with {error:?}, and logged");
    }
}

/// Refusals that a device remembers: a list of its own, to be compared with the TA's.
fn is_evidence(error: Error) -> bool {
    let number = error as u32;
    matches!(number, 7 | 15 | 20 | 21 | 23..=28 | 42 | 43 | 51 | 55..=58)
}

/// What anybody can see of a device.
pub struct Seen {
    info: InfoReply,
    list: Option<ListReply>,
    log: [u64; 3],
}

/// Looks at a device, which must answer.
pub fn look(world: &World) -> Seen {
    let mut link = world.open(None).expect("a session");
    let info: InfoReply = ask(&mut link, Command::Info, &[]).expect("info always answers");
    let list = ask(&mut link, Command::List, &[]).ok();
    let log = Channel::ALL.map(|channel| {
        let log: LogReply = ask(&mut link, Command::Log, &encode(&LogRequest { channel })).expect("a log");
        log.ring.head().expect("a chain");
        log.ring.next()
    });
    Seen { info, list, log }
}

/// What only moves forward does: lifecycle (INV-7), revocations and floors (INV-5), the log.
pub fn moved_forward(before: &Seen, after: &Seen) {
    assert!(before.info.lifecycle <= after.info.lifecycle, "lifecycle went back");
    assert!(before.info.device_id == after.info.device_id, "another device");
    let ended = after.list.is_none();
    assert!(ended || before.info.epoch <= after.info.epoch, "epoch went back");
    assert!(before.log.iter().zip(after.log).all(|(before, after)| *before <= after), "log was shortened");
    let (Some(before), Some(after)) = (&before.list, &after.list) else { return };
    for old in &before.enclaves {
        let new = after.enclaves.iter().find(|new| new.uuid == old.uuid);
        let kept = new.map_or(old.floor == 0, |new| new.floor >= old.floor);
        assert!(kept, "the floor of {} fell", old.uuid);
        let version = new.and_then(|new| new.version);
        assert!(version.is_none_or(|version| version >= old.floor), "{} runs below its floor", old.uuid);
    }
}

/// Bytes that decode are encoded to bytes that decode to the same.
pub fn round_trip<'a, M>(bytes: &'a [u8], again: &'a mut [u8])
where
    M: serde::Serialize + serde::Deserialize<'a> + PartialEq + std::fmt::Debug,
{
    let Ok(message) = wire::decode::<M>(bytes) else { return };
    let encoded: &'a [u8] = wire::encode(&message, again).expect("what was decoded fits");
    assert_eq!(wire::decode::<M>(encoded).expect("decodes again"), message);
}

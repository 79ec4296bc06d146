//! Storage of any content. OP-TEE authenticates it, so an attacker cannot write it; a bug of ours, or of an older version, can.

use trustbox_api::command::{Command, TABLE};
use trustbox_api::message::OpenRequest;
use trustbox_core::Record;

use crate::target::Target;
use crate::words::ENCLAVE;
use crate::world::{Stage, encode, on};

const RECORDS: [Record; 4] = [Record::Device, Record::Keys, Record::Enclaves, Record::Log];

/// The target.
pub fn targets() -> Vec<Target> {
    vec![Target::new("records", "a record of any content, then every command", seeds(), run)]
}

/// The first byte says which record, the rest is its content.
fn run(input: &[u8]) {
    let [which, content @ ..] = input else { return };
    on(Stage::Locked, |world| {
        let record = RECORDS[usize::from(*which) % RECORDS.len()];
        world.device.set(|world| world.records.insert(record, content.to_vec()));
        for rule in TABLE {
            let request = if rule.command == Command::OpenEnclave { encode(&OpenRequest { uuid: ENCLAVE }) } else { vec![] };
            let mut link = world.open(None).expect("a session");
            let _ = link.handle(rule.command as u32, &request, &&[][..], &mut [0; 4096]);
        }
    });
}

fn seeds() -> Vec<Vec<u8>> {
    let of = |stage| {
        let saved = on(stage, |world| world.save());
        let records = RECORDS.iter().enumerate();
        records.map(move |(which, record)| [&[which as u8], &saved.records[record][..]].concat()).collect::<Vec<_>>()
    };
    [of(Stage::Locked), of(Stage::Interrupted)].concat()
}

//! The activity log: replies of any content, and rings that any entries are put into.

use trustbox_api::log::{Entry, LogReply, Ring};
use trustbox_api::{limits, wire};

use crate::oracle::round_trip;
use crate::target::Target;
use crate::world::{Stage, on};

/// The target.
pub fn targets() -> Vec<Target> {
    vec![Target::new("log-reply", "replies of any content, rings with any entries", seeds(), run)]
}

fn run(input: &[u8]) {
    round_trip::<LogReply>(input, &mut [0; 8 * 1024]);
    let mut ring = Ring::default();
    let mut rest = input;
    while let Ok((entry, left)) = wire::decode_prefix::<Entry>(rest) {
        let (next, head) = (ring.next(), ring.head().expect("a head"));
        ring.append(entry).expect("a ring takes every entry");
        assert_eq!(ring.next(), next + 1);
        assert_ne!(ring.head().expect("a head"), head, "an entry that leaves no trace");
        assert!(ring.entries.len() <= limits::MAX_LOG_ENTRIES);
        rest = left;
    }
}

/// Logs of devices as they are, and their entries in a row.
fn seeds() -> Vec<Vec<u8>> {
    let logs = [Stage::Locked, Stage::Decommissioned].map(|stage| {
        on(stage, |world| {
            let mut link = world.open(None).expect("a session");
            let request = crate::world::encode(&trustbox_api::message::LogRequest {
                channel: trustbox_api::log::Channel::Authority,
            });
            let log: LogReply = crate::world::ask(&mut link, trustbox_api::Command::Log, &request).expect("a log");
            let entries = log.ring.entries.iter().flat_map(crate::world::encode).collect();
            [crate::world::encode(&log), entries]
        })
    });
    logs.concat()
}

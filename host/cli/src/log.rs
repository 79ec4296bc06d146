//! `trustbox log`: what happened to the device, as lines in the order of time; and whether it is what the device signed.

mod head;

use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use trustbox_api::Error as Refused;
use trustbox_api::key::KeyRef;
use trustbox_api::log::{Channel, Entry, Event, LogReply};
use trustbox_client::TrustBox;
use trustbox_package::words;

use crate::arguments::{self, Log};
use crate::failure::Failure;
use crate::nonce;
use crate::output::Output;

pub(crate) fn run(args: &Log, output: Output) -> Result<(), Failure> {
    let failure = |error| Failure::call("log", "device", &error);
    let mut trustbox = TrustBox::open().map_err(failure)?;
    // First, since what happens afterwards only adds to the log.
    let said = match args.head {
        true => Some(head::ask(&mut trustbox, nonce::or_random(args.nonce)?)?),
        false => None,
    };
    let [authority, activity, enclaves] = Channel::ALL.map(|channel| trustbox.log(channel));
    let logs = [authority.map_err(failure)?, activity.map_err(failure)?, enclaves.map_err(failure)?];
    let heads = said.map(|said| said.check(&logs)).transpose()?;
    let only = args.channel.map(Channel::from);
    let shown = shown(&logs, only);
    let value = json!({
        "entries": shown.iter().map(Line::to_json).collect::<Vec<_>>(),
        "dropped": dropped(&logs, only),
        "since_boot": since_boot(&logs, only),
        "head": heads.as_ref().map(head::Heads::to_json),
    });
    output.result(&value, &to_text(&shown, &value, heads.as_ref()))
}

/// An entry, and where it stands.
struct Line<'a> {
    channel: Channel,
    number: u64,
    entry: &'a Entry,
}

impl From<arguments::Channel> for Channel {
    fn from(channel: arguments::Channel) -> Self {
        match channel {
            arguments::Channel::Authority => Self::Authority,
            arguments::Channel::Activity => Self::Activity,
            arguments::Channel::Enclaves => Self::Enclaves,
        }
    }
}

impl Line<'_> {
    fn to_json(&self) -> Value {
        let Entry { boot, uptime, event } = self.entry;
        let front =
            json!({"boot": boot, "uptime": uptime, "channel": self.channel.name(), "number": self.number});
        merged(front, event_json(event))
    }

    fn to_text(&self) -> String {
        let Entry { boot, uptime, event } = self.entry;
        let (hours, minutes, seconds) = (uptime / 3600, uptime / 60 % 60, uptime % 60);
        let (channel, number) = (self.channel.name(), self.number);
        let event = event_text(event_json(event));
        format!("{boot:>4} {hours:>4}:{minutes:02}:{seconds:02}  {channel:<10}{number:>5}  {event}")
    }
}

/// The channels to show, each with its log.
fn chosen(logs: &[LogReply], only: Option<Channel>) -> impl Iterator<Item = (Channel, &LogReply)> {
    Channel::ALL.into_iter().zip(logs).filter(move |(channel, _)| only.is_none_or(|only| only == *channel))
}

/// Entries in the order of time; those of one channel stay in their order.
fn shown(logs: &[LogReply], only: Option<Channel>) -> Vec<Line<'_>> {
    let lines = chosen(logs, only).flat_map(|(channel, log)| {
        let entries = (log.ring.first..).zip(&log.ring.entries);
        entries.map(move |(number, entry)| Line { channel, number, entry })
    });
    let mut lines: Vec<Line<'_>> = lines.collect();
    lines.sort_by_key(|line| (line.entry.boot, line.entry.uptime));
    lines
}

/// How many entries of each channel are too old to be there.
fn dropped(logs: &[LogReply], only: Option<Channel>) -> Value {
    chosen(logs, only).map(|(channel, log)| (channel.name(), log.ring.first)).collect()
}

/// How often each event of Linux happened since boot.
fn since_boot(logs: &[LogReply], only: Option<Channel>) -> Value {
    let observations = chosen(logs, only).flat_map(|(_, log)| &log.observations);
    observations.map(|seen| merged(json!({"count": seen.count}), event_json(&seen.event))).collect()
}

fn to_text(lines: &[Line<'_>], value: &Value, heads: Option<&head::Heads>) -> String {
    let mut text = format!("{:>4} {:>10}  {:<10}{:>5}  event\n", "boot", "uptime", "channel", "no");
    let entries = lines.iter().map(Line::to_text);
    let dropped = value["dropped"].as_object().into_iter().flatten().filter(|(_, count)| **count != 0);
    let dropped = dropped.map(|(channel, count)| format!("{channel}: {count} older entries are gone"));
    let counted = value["since_boot"].as_array().into_iter().flatten().cloned().map(|mut seen| {
        let count = seen.as_object_mut().and_then(|seen| seen.shift_remove("count"));
        format!("since boot: {} times {}", count.unwrap_or_default(), event_text(seen))
    });
    let heads = heads.into_iter().flat_map(head::Heads::to_lines);
    // Writing to a String cannot fail.
    entries.chain(dropped).chain(counted).chain(heads).for_each(|line| {
        let _ = writeln!(text, "{line}");
    });
    text
}

fn event_json(event: &Event) -> Value {
    let (name, details) = match event {
        Event::Provisioned(root) => ("provisioned", json!({"owner_root": root.to_string()})),
        Event::Accepted { kind, sequence, key } => ("accepted", accepted(words::kind(*kind), *sequence, key)),
        Event::Revoked(item) => ("revoked", words::revoked(item)),
        Event::RootRotated { root, .. } => ("root-rotated", json!({"owner_root": root.to_string()})),
        Event::Locked => ("locked", json!({})),
        Event::Decommissioned => ("decommissioned", json!({})),
        Event::KeyImported { key, .. } => ("key-imported", class_key(key)),
        Event::KeyDestroyed(key) => ("key-destroyed", class_key(key)),
        Event::Installed { uuid, version, digest } => {
            ("installed", json!({"uuid": uuid.to_string(), "version": version, "sha256": digest.to_string()}))
        }
        Event::Reinstalled { uuid, version } => {
            ("reinstalled", json!({"uuid": uuid.to_string(), "version": version}))
        }
        Event::Uninstalled(uuid) => ("uninstalled", json!({"uuid": uuid.to_string()})),
        Event::Launched { uuid, version } => {
            ("launched", json!({"uuid": uuid.to_string(), "version": version}))
        }
        Event::Refused(number) => ("refused", refused(*number)),
        Event::Noted { uuid, text } => ("noted", json!({"uuid": uuid.to_string(), "text": text.as_str()})),
    };
    merged(json!({"event": name}), details)
}

/// The event's name, then its details.
fn event_text(mut event: Value) -> String {
    let name = event.as_object_mut().and_then(|fields| fields.shift_remove("event")).unwrap_or_default();
    format!("{} {}", words::text(&name), words::text(&event)).trim_end().to_owned()
}

fn accepted(kind: &str, sequence: u64, key: &trustbox_api::KeyId) -> Value {
    let statement = json!({"kind": kind, "sequence": sequence});
    if *key == Default::default() {
        return statement;
    }
    merged(statement, json!({"key": key.to_string()}))
}

fn class_key(key: &KeyRef) -> Value {
    json!({"class_key": key.name.as_str(), "version": key.version})
}

fn refused(number: u8) -> Value {
    let error = Refused::ALL.iter().find(|error| **error as u32 == u32::from(number));
    json!({"error": number, "name": error.map(|error| error.name())})
}

/// The fields of both objects.
fn merged(front: Value, back: Value) -> Value {
    let fields = [front, back].into_iter().filter_map(|value| match value {
        Value::Object(fields) => Some(fields),
        _ => None,
    });
    Value::Object(fields.flatten().collect::<Map<String, Value>>())
}

#[cfg(test)]
mod tests;

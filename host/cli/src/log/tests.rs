//! Tests of the log: merged, readable, and held against its signed head.

use p256::ecdsa::signature::hazmat::PrehashSigner;
use p256::ecdsa::{Signature, SigningKey};
use trustbox_api::command::Lifecycle;
use trustbox_api::log::{Note, Observation, Ring};
use trustbox_api::message::{Huk, InfoReply, Nonce, Profile, RollbackProtection, Version};
use trustbox_api::statement::{Kind, Revoked};
use trustbox_api::token::{self, Claims};
use trustbox_api::{Bytes, Uuid};
use trustbox_package::sign::public_key;

use super::head::Said;
use super::*;
use crate::failure::Status;

const UUID: Uuid = Uuid(Bytes([7; 16]));
const NONCE: Nonce = Bytes([9; 32]);
const DEVICE: Bytes<32> = Bytes([1; 32]);

fn log(events: &[(u32, u32, Event)]) -> LogReply {
    let mut ring = Ring::default();
    for &(boot, uptime, event) in events {
        ring.append(Entry { boot, uptime, event }).unwrap();
    }
    LogReply { ring, observations: Default::default() }
}

fn sample() -> [LogReply; 3] {
    let text = Note::from("total \x1b[2J").unwrap();
    let key = Bytes([0xab; 32]);
    let mut logs = [
        log(&[
            (1, 10, Event::Provisioned(Bytes([2; 32]))),
            (2, 5, Event::Accepted { kind: Kind::Revoker, sequence: 3, key }),
        ]),
        log(&[(1, 3700, Event::Launched { uuid: UUID, version: 4 }), (2, 4, Event::Refused(21))]),
        log(&[(2, 5, Event::Noted { uuid: UUID, text })]),
    ];
    logs[1].observations.try_push(Observation { event: Event::Refused(21), count: 12 }).unwrap();
    logs
}

fn text(logs: &[LogReply], only: Option<Channel>) -> String {
    let shown = shown(logs, only);
    let value = json!({"dropped": dropped(logs, only), "since_boot": since_boot(logs, only)});
    to_text(&shown, &value, None)
}

#[test]
fn channels_are_merged_in_the_order_of_time() {
    let text = text(&sample(), None);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[1].ends_with(&format!("provisioned owner root {}", "02".repeat(32))), "{text}");
    assert_eq!(lines[2], format!("   1    1:01:40  activity      0  launched uuid {UUID} version 4"));
    assert_eq!(lines[3], "   2    0:00:04  activity      1  refused error 21 name NotAuthorised");
    assert!(lines[4].contains("accepted kind revoker sequence 3 key abab"), "{text}");
    assert_eq!(
        lines[5],
        format!("   2    0:00:05  enclaves      0  noted uuid {UUID} text total \u{fffd}[2J")
    );
    assert_eq!(lines[6], "since boot: 12 times refused error 21 name NotAuthorised");
    assert_eq!(lines.len(), 7);
}

#[test]
fn one_channel_shows_nothing_of_the_others() {
    let text = text(&sample(), Some(Channel::Enclaves));
    assert_eq!(text.lines().count(), 2);
    assert!(text.contains("noted"));
}

#[test]
fn entries_keep_their_numbers_when_older_ones_are_gone() {
    let events: Vec<(u32, u32, Event)> = (0..30).map(|uptime| (1, uptime, Event::Locked)).collect();
    let mut logs = sample();
    logs[0] = log(&events);
    let only = Some(Channel::Authority);
    let lines = shown(&logs, only);
    assert_eq!((lines[0].number, lines[0].entry.uptime), (6, 6));
    assert_eq!(dropped(&logs, only), json!({"authority": 6}));
    assert!(text(&logs, None).contains("authority: 6 older entries are gone"));
}

#[test]
fn json_has_an_object_for_each_entry() {
    let logs = sample();
    let entries: Vec<Value> = shown(&logs, None).iter().map(Line::to_json).collect();
    let expected = json!({"boot": 2, "uptime": 4, "channel": "activity", "number": 1,
        "event": "refused", "error": 21, "name": "NotAuthorised"});
    assert_eq!(entries[2], expected);
    assert_eq!(since_boot(&logs, None)[0]["count"], 12);
}

#[test]
fn every_event_has_a_name_of_its_own() {
    let (id, key) = (Bytes([1; 32]), KeyRef::new("class", 2).unwrap());
    let (uuid, version, digest) = (UUID, 3, Bytes([4; 32]));
    let events = [
        Event::Provisioned(id),
        Event::Accepted { kind: Kind::Policy, sequence: 1, key: Bytes([0; 32]) },
        Event::Revoked(Revoked::Enclave { uuid, floor: 5 }),
        Event::RootRotated { root: id, nonce: Default::default() },
        Event::Locked,
        Event::Decommissioned,
        Event::KeyImported { key, nonce: Default::default() },
        Event::Installed { uuid, version, digest },
        Event::Reinstalled { uuid, version },
        Event::Uninstalled(uuid),
        Event::KeyDestroyed(key),
        Event::Launched { uuid, version },
        Event::Refused(255),
        Event::Noted { uuid, text: Note::new() },
    ];
    let texts: Vec<String> = events.iter().map(|event| event_text(event_json(event))).collect();
    let mut names: Vec<&str> = texts.iter().map(|text| text.split(' ').next().unwrap()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), events.len());
    assert_eq!(texts[1], "accepted kind policy sequence 1");
    assert_eq!(texts[4], "locked");
    assert_eq!(texts[6], "key-imported class key class version 2");
    assert_eq!(texts[12], "refused error 255 name none");
}

fn info(key: &SigningKey) -> InfoReply {
    InfoReply {
        device_id: DEVICE,
        lifecycle: Lifecycle::Provisioned,
        huk: Huk::Stub,
        rollback_protection: RollbackProtection::None,
        profile: Profile::Dev,
        ta_version: Version(0, 1, 0),
        optee_version: Version(4, 10, 0),
        device_key: None,
        attestation_key: Some(public_key(key.verifying_key())),
        owner_root: None,
        provisioning_authority: Bytes([2; 32]),
        policy: Default::default(),
        epoch: 0,
        class_keys: Default::default(),
        max_image: 0,
    }
}

/// A token of a device with these logs.
fn token(logs: &[LogReply; 3], key: &SigningKey) -> Vec<u8> {
    let heads = logs.each_ref().map(|log| log.ring.head().unwrap());
    let claims = Claims {
        nonce: &NONCE.0,
        attestation_key: public_key(key.verifying_key()).id(),
        boot: Bytes([0; 16]),
        lifecycle: 0x2000,
        board: "board",
        firmware: [(Bytes([1; 32]), Version(4, 10, 0)), (Bytes([2; 32]), Version(0, 1, 0))],
        enclaves: &[],
        wrapping_key: Bytes([3; 32]),
        rollback_protection: RollbackProtection::None,
        hardware_key: Huk::Stub,
        epoch: 0,
        log: (logs.each_ref().map(|log| log.ring.next()), token::log_head(&heads)),
        owner_root: None,
        report: None,
    };
    let mut token = vec![0; 1024];
    let sign = |digest: &[u8; 32]| {
        let signature: Signature = key.sign_prehash(digest).unwrap();
        Ok(Bytes(signature.to_bytes().into()))
    };
    let length = claims.sign(&mut token, sign).unwrap();
    token.truncate(length);
    token
}

fn generate() -> SigningKey {
    SigningKey::from_slice(trustbox_package::ClassKey::generate().unwrap().expose()).unwrap()
}

#[test]
fn the_log_leads_to_the_heads_that_the_device_signed() {
    let (key, mut logs) = (generate(), sample());
    let said = Said::new(token(&logs, &key), &info(&key), NONCE).unwrap();
    logs[1].ring.append(Entry { boot: 2, uptime: 9, event: Event::Refused(22) }).unwrap();
    let heads = said.check(&logs).unwrap();
    assert_eq!(heads.to_json()["channels"]["activity"]["number"], 2);
    let lines = heads.to_lines().join("\n");
    assert!(
        lines.contains("authority: its chain leads to the signed head ")
            && lines.contains(&NONCE.to_string())
    );
}

#[test]
fn changed_logs_and_forged_heads_are_found() {
    let (key, mut logs) = (generate(), sample());
    let token = token(&logs, &key);
    let refused = |token: &[u8], info: &InfoReply, nonce| {
        let failure = Said::new(token.to_vec(), info, nonce).err().unwrap();
        assert_eq!(failure.status, Status::Refused);
        failure.name
    };
    assert_eq!(refused(&token, &info(&generate()), NONCE), "BadEvidence");
    assert_eq!(refused(&token, &info(&key), Bytes([8; 32])), "BadEvidence");
    assert_eq!(refused(&token[1..], &info(&key), NONCE), "BadEvidence");
    let dead = InfoReply { attestation_key: None, ..info(&key) };
    assert_eq!(refused(&token, &dead, NONCE), "WrongLifecycle");
    let said = Said::new(token, &info(&key), NONCE).unwrap();
    logs[2].ring.entries[0].uptime = 6;
    let failure = said.check(&logs).err().unwrap();
    assert!(failure.text.starts_with("log: head: log leads to "), "{}", failure.text);
}

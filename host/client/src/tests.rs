//! Tests of the client against a script: which command carries what, and what becomes of refusals.

use std::time::Duration;

use serde::Serialize;
use trustbox_api::command::{Caller, Lifecycle, TABLE};
use trustbox_api::log::Ring;
use trustbox_api::message::{Huk, Profile, RollbackProtection, Version};
use trustbox_api::{Bytes, Error as Refused};

use super::*;
use crate::link::Link;

const UUID: Uuid = Uuid(Bytes([7; 16]));
const NONCE: Nonce = Bytes([9; 32]);

fn trustbox(answers: impl IntoIterator<Item = Result<Vec<u8>>>) -> TrustBox {
    let answers = answers.into_iter().collect();
    TrustBox { session: Session(Link { answers, ..Link::default() }) }
}

fn reply<M: Serialize>(message: &M) -> Result<Vec<u8>> {
    encoded(message)
}

fn refused(error: Refused) -> Result<Vec<u8>> {
    Err(Error::Refused(error))
}

fn commands(trustbox: &TrustBox) -> Vec<Command> {
    trustbox.session.0.asked.iter().map(|asked| asked.0).collect()
}

fn info(max_image: u32) -> InfoReply {
    InfoReply {
        device_id: Bytes([1; 32]),
        lifecycle: Lifecycle::Provisioned,
        huk: Huk::Stub,
        rollback_protection: RollbackProtection::None,
        profile: Profile::Dev,
        ta_version: Version(0, 1, 0),
        optee_version: Version(4, 10, 0),
        device_key: None,
        attestation_key: None,
        owner_root: None,
        provisioning_authority: Bytes([2; 32]),
        policy: Default::default(),
        epoch: 0,
        class_keys: Default::default(),
        max_image,
    }
}

fn legacy() -> LegacyRequest {
    LegacyRequest {
        uuid: UUID,
        name: Default::default(),
        version: 1,
        size: 3,
        plaintext_sha256: Default::default(),
        nonce: Default::default(),
        tag: Default::default(),
        class_key: KeyRef::new("class", 1).unwrap(),
    }
}

#[test]
fn statements_go_out_as_they_are() {
    let mut trustbox = trustbox([]);
    trustbox.provision(b"1").unwrap();
    trustbox.authorise(b"2").unwrap();
    trustbox.lock(b"3").unwrap();
    trustbox.revoke(b"4").unwrap();
    trustbox.rotate_root(b"5").unwrap();
    trustbox.decommission(b"6").unwrap();
    trustbox.import_key(b"7").unwrap();
    use Command::*;
    let expected = [Provision, Authorise, Lock, Revoke, RotateRoot, Decommission, ImportKey];
    assert_eq!(commands(&trustbox), expected);
    let requests: Vec<&[u8]> = trustbox.session.0.asked.iter().map(|asked| &asked.2[..]).collect();
    assert_eq!(requests.concat(), b"1234567");
}

#[test]
fn requests_are_those_of_the_interface() {
    let key = KeyRef::new("class", 2).unwrap();
    let log = LogReply { ring: Ring::default(), observations: Default::default() };
    let mut trustbox = trustbox([Ok(vec![]), Ok(vec![]), reply(&log), Ok(b"csr".into())]);
    trustbox.uninstall(UUID, true).unwrap();
    trustbox.destroy_key(key).unwrap();
    assert_eq!(trustbox.log(Channel::Enclaves).unwrap(), log);
    assert_eq!(trustbox.csr(NONCE).unwrap(), b"csr");
    let expected = [
        (Command::Uninstall, encoded(&UninstallRequest { uuid: UUID, erase: true })),
        (Command::DestroyKey, encoded(&DestroyKeyRequest { key })),
        (Command::Log, encoded(&LogRequest { channel: Channel::Enclaves })),
        (Command::Csr, encoded(&CsrRequest { nonce: NONCE })),
    ];
    for (asked, (command, request)) in trustbox.session.0.asked.iter().zip(expected) {
        assert_eq!((asked.0, &asked.2), (command, &request.unwrap()));
    }
}

#[test]
fn calls_carry_their_limit_and_the_session_closes() {
    let mut trustbox = trustbox([Ok(vec![]), Ok(b"a".into()), Ok(b"b".into())]);
    let mut enclave = trustbox.open_enclave(UUID).unwrap();
    assert_eq!(enclave.invoke(4, b"x", 10).unwrap(), b"a");
    assert_eq!(enclave.invoke_within(5, b"y", 10, Duration::from_millis(250)).unwrap(), b"b");
    drop(enclave);
    let asked = &trustbox.session.0.asked;
    assert_eq!((asked[1].1, asked[2].1), ((4, 0), (5, 250)));
    assert_eq!(asked[3].0, Command::CloseEnclave);
}

#[test]
fn image_without_room_names_both_sizes() {
    use Command::{Info, InstallFinish, InstallLegacy};
    for error in [Refused::OutOfMemory, Refused::TooLarge] {
        let mut at_begin = trustbox([refused(error), reply(&info(2))]);
        let found = at_begin.install_legacy(&legacy(), b"abc", |_, _| {}).unwrap_err();
        assert!(matches!(found, Error::ImageTooLarge { size: 3, available: 2 }), "{found}");
        assert_eq!(commands(&at_begin), [InstallLegacy, Info]);
        let mut at_finish = trustbox([Ok(vec![]), Ok(vec![]), refused(error), reply(&info(2))]);
        let found = at_finish.install_legacy(&legacy(), b"abc", |_, _| {}).unwrap_err();
        assert_eq!(found.to_string(), "image has 3 bytes, the device has secure memory for 2");
        assert_eq!(commands(&at_finish)[2..], [InstallFinish, Info]);
    }
}

#[test]
fn other_refusals_of_an_install_stay_what_they_are() {
    let mut enough = trustbox([refused(Refused::OutOfMemory), reply(&info(3))]);
    let found = enough.install_legacy(&legacy(), b"abc", |_, _| {}).unwrap_err();
    assert!(matches!(found, Error::Refused(Refused::OutOfMemory)));
    let mut unknown = trustbox([refused(Refused::OutOfMemory), refused(Refused::Busy)]);
    let found = unknown.install_legacy(&legacy(), b"abc", |_, _| {}).unwrap_err();
    assert!(matches!(found, Error::Refused(Refused::OutOfMemory)));
    let mut other = trustbox([Ok(vec![]), refused(Refused::Busy)]);
    let found = other.install_legacy(&legacy(), b"abc", |_, _| {}).unwrap_err();
    assert!(matches!(found, Error::Refused(Refused::Busy)));
    use Command::{InstallAbort, InstallChunk, InstallLegacy};
    assert_eq!(commands(&other), [InstallLegacy, InstallChunk, InstallAbort]);
}

#[test]
fn installs_send_all_of_it_in_order() {
    let done = InstallReply { uuid: UUID, version: 1 };
    let mut trustbox = trustbox([Ok(vec![]), Ok(vec![]), Ok(vec![]), reply(&done)]);
    let ciphertext: Vec<u8> = (0..300 << 10).map(|at| at as u8).collect();
    let mut seen = Vec::new();
    let installed = trustbox.install_legacy(&legacy(), &ciphertext, |sent, total| seen.push((sent, total)));
    assert_eq!(installed.unwrap(), done);
    assert_eq!(seen, [(256 << 10, 300 << 10), (300 << 10, 300 << 10)]);
    let data: Vec<&[u8]> = trustbox.session.0.asked.iter().map(|asked| &asked.3[..]).collect();
    assert!(data.concat() == ciphertext);
}

/// Every command of Linux has its method: a new one in the table must be added here and to the client.
#[test]
fn every_command_has_a_method() {
    let mut trustbox = trustbox([]);
    let (key, uuid) = (KeyRef::new("class", 2).unwrap(), UUID);
    let _ = (trustbox.info(), trustbox.challenge(Purpose::Lock), trustbox.device_key(), trustbox.list());
    let _ = (trustbox.provision(b""), trustbox.authorise(b""), trustbox.lock(b""), trustbox.revoke(b""));
    let _ = (trustbox.rotate_root(b""), trustbox.decommission(b""), trustbox.import_key(b""));
    let _ = (trustbox.uninstall(uuid, false), trustbox.destroy_key(key));
    let _ = (trustbox.log(Channel::Activity), trustbox.csr(NONCE));
    let _ = (trustbox.attest(&NONCE.0), trustbox.disk_key());
    let _ = trustbox.install_legacy(&legacy(), b"abc", |_, _| {});
    let _ = install::install(&mut trustbox.session, (Command::InstallBegin, b""), b"", |_, _| {});
    trustbox.session.0.answers = [Ok(vec![]), refused(Refused::Busy)].into();
    let _ = trustbox.install_legacy(&legacy(), b"abc", |_, _| {});
    let _ = trustbox.open_enclave(uuid).map(|mut enclave| enclave.invoke(1, b"", 0));
    let asked = commands(&trustbox);
    for rule in TABLE.iter().filter(|rule| rule.caller.contains(&Caller::NormalWorld)) {
        assert!(asked.contains(&rule.command), "{}", rule.name);
    }
}

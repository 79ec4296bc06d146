//! `trustbox-keys seal`: to whom it seals, and to whom not.

use std::fs;
use std::process::{Command, Output};

use p256::ecdsa::SigningKey;
use p256::ecdsa::signature::hazmat::PrehashSigner;
use p256::pkcs8::EncodePublicKey;
use tempfile::TempDir;
use trustbox_api::command::Lifecycle;
use trustbox_api::evidence::{self, Evidence, Report, SignedEvidence};
use trustbox_api::key::{DeviceId, KeyId, Uuid};
use trustbox_api::launch::Identity;
use trustbox_api::message::Profile;
use trustbox_api::{Bytes, PublicKey, wire};
use trustbox_transport::Key;

const UUID: &str = "b24f7d83-0e6a-4c59-8a1b-f9d2e3c7650e";
const WEIGHTS: &[u8] = b"what only the enclave may see";

/// A folder with a device's key, a report and something to seal.
struct World(TempDir);

impl World {
    fn new(report: &Report) -> Self {
        let world = Self(tempfile::tempdir().unwrap());
        let signer = SigningKey::from_slice(&[11; 32]).unwrap();
        let key = signer.verifying_key();
        let pem = key.to_public_key_pem(Default::default()).unwrap();
        world.write("key.pem", pem.as_bytes());
        let mut payload = [0; 512];
        let payload = wire::encode(&Evidence::Report(report.clone()), &mut payload).unwrap();
        let signature: p256::ecdsa::Signature = signer.sign_prehash(&evidence::digest(payload)).unwrap();
        let point = key.to_sec1_point(false);
        let signed = SignedEvidence {
            payload,
            signer: PublicKey(Bytes::from_slice(&point.as_bytes()[1..]).unwrap()),
            signature: Bytes(signature.to_bytes().into()),
        };
        let mut encoded = [0; 1024];
        world.write("report", wire::encode(&signed, &mut encoded).unwrap());
        world.write("weights", WEIGHTS);
        world
    }

    fn write(&self, name: &str, content: &[u8]) {
        fs::write(self.0.path().join(name), content).unwrap();
    }

    fn seal(&self, nonce: &str, more: &[&str]) -> Output {
        let words = ["seal", "weights", "--report", "report", "--key", "key.pem", "--out", "sealed"];
        let mut command = Command::new(env!("CARGO_BIN_EXE_trustbox-keys"));
        let command = command.args(words).args(["--nonce", nonce]).args(more);
        command.current_dir(self.0.path()).output().unwrap()
    }

    fn refused(&self, nonce: &str, more: &[&str], reason: &str) {
        let output = self.seal(nonce, more);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(reason), "{stderr}");
        assert!(!self.0.path().join("sealed").exists());
    }
}

fn key() -> Key {
    Key::derive(&[9; 32])
}

fn report() -> Report {
    Report {
        device_id: DeviceId::from(Bytes([7; 32])),
        lifecycle: Lifecycle::Locked,
        profile: Profile::Dev,
        enclave: Identity {
            uuid: UUID.parse::<Uuid>().unwrap(),
            digest: Bytes([2; 32]),
            version: 3,
            publisher: KeyId::from(Bytes([4; 32])),
            generation: Bytes([5; 8]),
            epoch: 6,
        },
        nonce: Bytes([0x4e; 32]),
        data: key().offer(),
    }
}

fn nonce() -> String {
    "4e".repeat(32)
}

#[test]
fn the_enclave_opens_what_was_sealed_to_it() {
    let world = World::new(&report());
    let digest = "02".repeat(32);
    let output = world.seal(&nonce(), &["--uuid", UUID, "--digest", &digest, "--min-version", "3", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let shown: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&shown["enclave"], &shown["version"]), (&UUID.into(), &3.into()));
    let sealed = fs::read(world.0.path().join("sealed")).unwrap();
    assert_eq!(shown["sealed_bytes"], sealed.len());
    assert_eq!(key().open(&report().enclave, &sealed).unwrap(), WEIGHTS);
}

#[test]
fn nothing_is_sealed_to_another_enclave_or_an_old_report() {
    let world = World::new(&report());
    let other = "00000000-0e6a-4c59-8a1b-f9d2e3c7650e";
    world.refused(&nonce(), &["--uuid", other], "not 00000000");
    world.refused(&nonce(), &["--uuid", UUID, "--digest", &"03".repeat(32)], "of an image with digest 0202");
    world.refused(&nonce(), &["--uuid", UUID, "--digest", "03"], "--digest: not 64 hexadecimal digits");
    world.refused(&nonce(), &["--uuid", UUID, "--min-version", "4"], "of version 3, at least 4");
    world.refused(&"4f".repeat(32), &["--uuid", UUID], "over nonce 4e4e");
    let signed = fs::read(world.0.path().join("report")).unwrap();
    let mut changed = signed.clone();
    changed[40] ^= 1;
    world.write("report", &changed);
    world.refused(&nonce(), &["--uuid", UUID], "report");
    world.write("report", &signed[..signed.len() - 1]);
    world.refused(&nonce(), &["--uuid", UUID], "does not decode");
}

#[test]
fn nothing_is_sealed_to_a_device_that_is_not_locked_unless_that_is_wanted() {
    let world = World::new(&Report { lifecycle: Lifecycle::Provisioned, ..report() });
    world.refused(&nonce(), &["--uuid", UUID], "not locked");
    assert!(world.seal(&nonce(), &["--uuid", UUID, "--not-locked"]).status.success());
}

#[test]
fn a_report_of_something_else_gets_nothing() {
    let mut report = report();
    report.data = b"total=3"[..].try_into().unwrap();
    World::new(&report).refused(&nonce(), &["--uuid", UUID], "offers no transport key");
}

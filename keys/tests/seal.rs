//! `trustbox-keys seal`: to whom it seals, and to whom not.

use std::fs;
use std::process::{Command, Output};

use p256::ecdsa::SigningKey;
use p256::ecdsa::signature::hazmat::PrehashSigner;
use p256::pkcs8::EncodePublicKey;
use tempfile::TempDir;
use trustbox_api::Bytes;
use trustbox_api::launch::Enclave;
use trustbox_api::message::{Huk, ReportData, RollbackProtection, Version};
use trustbox_api::token::{Claims, log_head};
use trustbox_package::sign::public_key;
use trustbox_transport::Key;

const UUID: &str = "b24f7d83-0e6a-4c59-8a1b-f9d2e3c7650e";
const WEIGHTS: &[u8] = b"what only the enclave may see";

/// A folder with a device's key, a report and something to seal.
struct World(TempDir);

impl World {
    fn new(lifecycle: u16, data: &ReportData) -> Self {
        let world = Self(tempfile::tempdir().unwrap());
        let signer = SigningKey::from_slice(&[11; 32]).unwrap();
        let pem = signer.verifying_key().to_public_key_pem(Default::default()).unwrap();
        world.write("key.pem", pem.as_bytes());
        world.write("report", &report(&signer, lifecycle, data));
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

fn enclave() -> Enclave {
    Enclave { uuid: UUID.parse().unwrap(), digest: Bytes([2; 32]), version: 3, publisher: Bytes([4; 32]) }
}

fn offer() -> ReportData {
    ReportData { transport_key: Some(key().public()), ..Default::default() }
}

fn report(signer: &SigningKey, lifecycle: u16, data: &ReportData) -> Vec<u8> {
    let claims = Claims {
        nonce: &[0x4e; 32],
        attestation_key: public_key(signer.verifying_key()).id(),
        boot: Bytes([5; 16]),
        lifecycle,
        board: "board",
        firmware: [(Bytes([6; 32]), Version(4, 10, 0)), (Bytes([7; 32]), Version(0, 1, 0))],
        enclaves: &[enclave()],
        wrapping_key: Bytes([8; 32]),
        rollback_protection: RollbackProtection::Rpmb,
        hardware_key: Huk::Unique,
        epoch: 0,
        log: ([0; 3], log_head(&Default::default())),
        owner_root: None,
        report: Some(data),
    };
    let mut token = vec![0; 1024];
    let sign = |digest: &[u8; 32]| {
        let signature: p256::ecdsa::Signature = signer.sign_prehash(digest).unwrap();
        Ok(Bytes(signature.to_bytes().into()))
    };
    let length = claims.sign(&mut token, sign).unwrap();
    token.truncate(length);
    token
}

fn nonce() -> String {
    "4e".repeat(32)
}

#[test]
fn the_enclave_opens_what_was_sealed_to_it() {
    let world = World::new(0x3000, &offer());
    let digest = "02".repeat(32);
    let output = world.seal(&nonce(), &["--uuid", UUID, "--digest", &digest, "--min-version", "3", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let shown: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&shown["enclave"], &shown["version"]), (&UUID.into(), &3.into()));
    let sealed = fs::read(world.0.path().join("sealed")).unwrap();
    assert_eq!(shown["sealed_bytes"], sealed.len());
    assert_eq!(key().open(&enclave(), &sealed).unwrap(), WEIGHTS);
}

#[test]
fn nothing_is_sealed_to_another_enclave_or_an_old_report() {
    let world = World::new(0x3000, &offer());
    let other = "00000000-0e6a-4c59-8a1b-f9d2e3c7650e";
    world.refused(&nonce(), &["--uuid", other], "not 00000000");
    world.refused(&nonce(), &["--uuid", UUID, "--digest", &"03".repeat(32)], "of an image with digest 0202");
    world.refused(&nonce(), &["--uuid", UUID, "--digest", "03"], "--digest: not 64 hexadecimal digits");
    world.refused(&nonce(), &["--uuid", UUID, "--min-version", "4"], "of version 3, at least 4");
    world.refused(&"4f".repeat(32), &["--uuid", UUID], "claim nonce: another one");
    let signed = fs::read(world.0.path().join("report")).unwrap();
    let mut changed = signed.clone();
    changed[40] ^= 1;
    world.write("report", &changed);
    world.refused(&nonce(), &["--uuid", UUID], "report");
    world.write("report", &signed[..signed.len() - 1]);
    world.refused(&nonce(), &["--uuid", UUID], "not an attestation token");
}

#[test]
fn nothing_is_sealed_to_a_device_that_is_not_secured_unless_that_is_wanted() {
    let world = World::new(0x2000, &offer());
    world.refused(&nonce(), &["--uuid", UUID], "not secured");
    assert!(world.seal(&nonce(), &["--uuid", UUID, "--not-secured"]).status.success());
}

#[test]
fn a_report_of_something_else_gets_nothing() {
    let data = ReportData { bytes: b"total=3"[..].try_into().unwrap(), transport_key: None };
    World::new(0x3000, &data).refused(&nonce(), &["--uuid", UUID], "has no transport key");
    let mut no_point = offer();
    no_point.transport_key.as_mut().unwrap().0.0[63] ^= 1;
    World::new(0x3000, &no_point).refused(&nonce(), &["--uuid", UUID], "no point of P-256");
}

//! `trustbox-keys verify` on the verifier's test vector.

use std::fs;
use std::process::{Command, Output};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use tempfile::TempDir;
use trustbox_api::{Bytes, PublicKey};

const VECTOR: &str = include_str!("../verifier/vectors/blank-device.txt");
const REPORT: &str = include_str!("../verifier/vectors/enclave-report.txt");

/// A folder with a vector's token and key.
struct World(TempDir);

fn field(name: &str) -> Vec<u8> {
    field_of(VECTOR, name)
}

fn field_of(vector: &str, name: &str) -> Vec<u8> {
    let digits = vector.lines().find_map(|line| line.strip_prefix(&format!("{name} = "))).unwrap();
    let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

impl World {
    fn new() -> Self {
        Self::of(VECTOR)
    }

    fn of(vector: &str) -> Self {
        let world = Self(tempfile::tempdir().unwrap());
        let key = PublicKey(Bytes::from_slice(&field_of(vector, "key")).unwrap());
        let pem = BASE64_STANDARD.encode(key.spki());
        let (first, second) = pem.split_at(64);
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{first}\n{second}\n-----END PUBLIC KEY-----\n");
        world.write("key.pem", pem.as_bytes());
        world.write("token.cbor", &field_of(vector, "token"));
        world
    }

    fn write(&self, name: &str, content: &[u8]) {
        fs::write(self.0.path().join(name), content).unwrap();
    }

    fn verify(&self, nonce: &str, more: &[&str]) -> Output {
        let words = ["verify", "token.cbor", "--key", "key.pem", "--nonce", nonce];
        let program = env!("CARGO_BIN_EXE_trustbox-keys");
        Command::new(program).args(words).args(more).current_dir(self.0.path()).output().unwrap()
    }

    fn refused(&self, nonce: &str, more: &[&str], reason: &str) {
        let output = self.verify(nonce, more);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(reason), "{stderr}");
    }
}

fn nonce() -> String {
    "4e".repeat(32)
}

#[test]
fn a_good_token_is_shown_claim_by_claim() {
    let output = World::new().verify(&nonce(), &["--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["appraisal"]["status"], "warning");
    let findings = value["appraisal"]["findings"].as_array().unwrap();
    let lifecycle = findings.iter().find(|finding| finding["claim"] == "lifecycle").unwrap();
    assert_eq!(lifecycle["reason"], "assembly-and-test (0x1000), and no reference value");
}

#[test]
fn a_report_says_which_enclave_vouches_for_what() {
    let world = World::of(REPORT);
    let output = world.verify(&nonce(), &["--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    let enclave = &value["enclave"];
    assert_eq!((&enclave["version"], &enclave["data"]), (&7.into(), &"746f74616c3d31373530".into()));
    assert_eq!(enclave["transport_key_sha256"].as_str().map(str::len), Some(64));
    let text = String::from_utf8(world.verify(&nonce(), &[]).stdout).unwrap();
    assert!(text.contains("report of enclave 01010101-0101-0101-0101-010101010101 version 7"), "{text}");
    // What is expected of the enclave is a reference value as of any component.
    let expected = |digest: &str| {
        let text = format!(
            "[[components]]\ntype = \"01010101-0101-0101-0101-010101010101\"\nmeasurements = [\"{digest}\"]\n"
        );
        world.write("enclave.toml", text.as_bytes());
    };
    expected(&"01".repeat(32));
    assert!(world.verify(&nonce(), &["--reference", "enclave.toml"]).status.success());
    expected(&"02".repeat(32));
    world.refused(&nonce(), &["--reference", "enclave.toml"], "as it should be: 01010101-0101");
}

#[test]
fn a_replay_and_a_forgery_are_refused() {
    let world = World::new();
    world.refused(&"4f".repeat(32), &[], "claim nonce");
    world.refused("4", &[], "--nonce");
    let mut token = field("token");
    *token.last_mut().unwrap() ^= 1;
    world.write("token.cbor", &token);
    world.refused(&nonce(), &[], "signature does not verify");
    world.write("token.cbor", b"");
    world.refused(&nonce(), &[], "not an attestation token");
}

#[test]
fn reference_values_decide() {
    let world = World::new();
    let reference = |text: &str| world.write("reference.toml", text.as_bytes());
    let more = ["--reference", "reference.toml"];
    let optee = "[[components]]\ntype = \"optee\"\n";
    reference(&format!("lifecycles = [4096]\n{optee}measurements = [\"{}\"]\n", "c0".repeat(32)));
    let output = world.verify(&nonce(), &more);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    reference("lifecycles = [12288]\n");
    world.refused(&nonce(), &more, "the device is not as it should be: lifecycle");
    reference(&format!("lifecycles = [12288]\n{optee}measurements = [\"{}\"]\n", "00".repeat(32)));
    world.refused(&nonce(), &more, "the device is not as it should be: lifecycle, optee");
    reference("lifecycle = [12288]\n");
    world.refused(&nonce(), &more, "unknown field `lifecycle`");
}

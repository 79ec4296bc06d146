//! A device of the TA's fake gets the factory's certificates by the program itself, and is believed because of them.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;
use trustbox_api::Bytes;
use trustbox_api::message::{AttestRequest, CsrRequest};
use trustbox_core::Session;
use trustbox_core::fake::Device;
use trustbox_keys::factory::{Requested, verify_certificate};
use trustbox_keys::{files, tls};
use trustbox_test::forge::{public, stranger};
use trustbox_test::requests::encode;

const NONCE: [u8; 32] = [0x4e; 32];

fn call(device: &Device, command: trustbox_api::Command, request: &[u8]) -> Vec<u8> {
    let mut session = Session::open(device.tee()).unwrap();
    let mut reply = vec![0; 4096];
    let length = session.handle(command as u32, request, &&[][..], &mut reply).unwrap();
    reply.truncate(length);
    reply
}

fn device(number: u8) -> Device {
    Device::new(number, &public(&stranger(1)))
}

fn csr(device: &Device) -> Vec<u8> {
    call(device, trustbox_api::Command::Csr, &encode(&CsrRequest { nonce: Bytes(NONCE) }))
}

fn token(device: &Device) -> Vec<u8> {
    let request = AttestRequest { nonce: NONCE.iter().copied().collect() };
    call(device, trustbox_api::Command::Attest, &encode(&request))
}

/// A folder with development keys, the factory CA among them.
struct World(TempDir);

impl World {
    fn new() -> Self {
        let world = Self(tempfile::tempdir().unwrap());
        assert!(world.run("dev-init .").status.success());
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, line: &str) -> Output {
        let mut program = Command::new(env!("CARGO_BIN_EXE_trustbox-keys"));
        program.args(line.split(' ')).current_dir(self.0.path()).output().unwrap()
    }

    fn certify(&self, csr: &[u8], token: &[u8], more: &str) -> Output {
        fs::write(self.path("csr"), csr).unwrap();
        fs::write(self.path("token"), token).unwrap();
        let nonce = Bytes(NONCE);
        self.run(&format!(
            "certify --csr csr --token token --nonce {nonce} --ca-key factory-ca.key.pem --ca factory-ca.pem{more}"
        ))
    }

    fn refused(&self, line: &str, words: &str) {
        let output = self.run(line);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && stderr.contains(words), "{line}: {stderr}");
    }
}

#[test]
fn both_keys_are_certified_and_the_certificate_is_enough_to_believe_a_token() {
    let (world, device) = (World::new(), device(1));
    let (csr, token) = (csr(&device), token(&device));
    let output = world.certify(&csr, &token, " --out device.pem --json");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let entry: Value = serde_json::from_slice(&output.stdout).unwrap();
    let (factory, chain) = (
        tls::certificates(&world.path("factory-ca.pem")).unwrap(),
        tls::certificates(&world.path("device.pem")).unwrap(),
    );
    assert_eq!((chain.len(), &chain[2]), (3, &factory[0]));
    let requested = Requested::read(&csr).unwrap();
    let holder = verify_certificate(&chain[0], &factory, 1_800_000_000).unwrap();
    assert_eq!(
        (holder.device_id, holder.spki),
        (requested.device_id, requested.attestation_key.spki().to_vec())
    );
    let of_device_key = openssl_key(&world, &chain[1]);
    assert_eq!(trustbox_keys::roles::fingerprint(&of_device_key).unwrap(), requested.device_key_id());
    let verify =
        format!("verify token --nonce {} --certificate device.pem --factory-ca factory-ca.pem", Bytes(NONCE));
    let shown = world.run(&format!("{verify} --json"));
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(
        (&shown["device_id"], &entry["device_id"]),
        (&requested.device_id.to_string().into(), &shown["device_id"])
    );
    // With what is expected of it, signed by whom it must be.
    let reference = "lifecycles = [4096]\n[[components]]\ntype = \"optee\"\nmeasurements = [\"00\"]\n";
    fs::write(world.path("reference.toml"), reference).unwrap();
    world.refused(&format!("{verify} --reference reference.toml"), "not as it should be");
    world.refused(
        &format!("{verify} --reference reference.toml --reference-key publisher.pub.pem"),
        "reference.toml.sig",
    );
    world.refused(&verify.replace("4e4e", "4e4f"), "nonce");
    // A certificate of another CA, and of another device.
    let other = World::new();
    fs::copy(other.path("factory-ca.pem"), world.path("other-ca.pem")).unwrap();
    world.refused(&verify.replace("factory-ca.pem", "other-ca.pem"), "does not verify");
    world.refused(&verify.replace("device.pem", "factory-ca.pem"), "does not verify");
}

/// What openssl, which is not ours, makes of a certificate that the factory CA signed.
fn openssl_key(world: &World, der: &[u8]) -> PathBuf {
    fs::write(world.path("certificate.der"), der).unwrap();
    let openssl = |arguments: &str| {
        let output =
            Command::new("openssl").args(arguments.split(' ')).current_dir(world.0.path()).output().unwrap();
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    openssl("x509 -inform der -in certificate.der -out certificate.pem");
    openssl("verify -x509_strict -CAfile factory-ca.pem certificate.pem");
    fs::write(world.path("key.pem"), openssl("x509 -in certificate.pem -noout -pubkey")).unwrap();
    world.path("key.pem")
}

#[test]
fn who_does_not_prove_both_keys_gets_nothing() {
    let world = World::new();
    let (one, other) = (device(1), device(2));
    let refused = |csr: &[u8], token: &[u8], more: &str, words: &str| {
        let output = world.certify(csr, token, &format!(" --out refused.pem{more}"));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && stderr.contains(words), "{stderr}");
        assert!(!world.path("refused.pem").exists());
    };
    refused(&csr(&one), &token(&other), "", "token: ");
    refused(b"no request", &token(&one), "", "not a PKCS#10 request");
    fs::write(world.path("secured.toml"), "lifecycles = [12288]\n").unwrap();
    refused(&csr(&one), &token(&one), " --reference secured.toml", "not as it should be: lifecycle");
    let key = files::load_private(&world.path("publisher.key.pem")).unwrap();
    assert!(trustbox_keys::factory::Authority::open(&world.path("factory-ca.pem"), &key).is_err());
    // Every byte of a request counts.
    let good = csr(&one);
    for at in 0..good.len() {
        let mut changed = good.clone();
        changed[at] ^= 1;
        assert!(Requested::read(&changed).is_err(), "byte {at}");
    }
    assert!(Requested::read(&[&good[..], &[0]].concat()).is_err() && Requested::read(&good[1..]).is_err());
}

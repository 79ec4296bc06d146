//! The service, a ceremony and a station's line with their keys in a PKCS#11 token, also while it is pulled out.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use libtest_mimic::Failed;
use rsa::Pkcs1v15Encrypt;
use serde_json::{Value, json};

use crate::PULLED;
use crate::postgres::{Instance, keys_program};
use crate::support::package::{image, opened, pack};
use crate::support::{Device, Live, World, challenge, connect, plain, ready, release};
use crate::token::{FOLDER, MODULE};

fn uri(object: &str) -> String {
    uri_in("keys", object)
}

pub(crate) fn uri_in(token: &str, object: &str) -> String {
    let folder = env::var(FOLDER).unwrap();
    format!("pkcs11:token={token};object={object}?module-path={MODULE}&pin-source=file:{folder}/pin")
}

const COMPATIBILITY: &str =
    "[compatibility]\nlisten = \"127.0.0.1:0\"\npath = \"/key\"\ntls = false\nrequests-per-minute = 100\n";

/// The key through the original's endpoint.
async fn as_a_device_of_old(live: &Live, device: &Device) -> Vec<u8> {
    let client_public_key = BASE64_STANDARD.encode(device.device_key());
    let body = json!({"key_name": "meter", "client_public_key": client_public_key}).to_string();
    let (status, answer) = plain(live.running.addresses.compatibility.unwrap(), "POST", "/key", &body).await;
    assert_eq!(status, 200, "{answer}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let wrapped = BASE64_STANDARD.decode(answer["wrapped_key"].as_str().unwrap()).unwrap();
    device.key.decrypt(Pkcs1v15Encrypt, &wrapped).unwrap()
}

/// SoftHSM wraps with PKCS#1 v1.5, so that `C_WrapKey` of a key that never leaves is seen at work; and with OAEP of SHA-256
/// only keys that may leave, which are wrapped here then.
pub(crate) async fn the_token_wraps_and_never_shows() {
    let vault =
        format!("kind = \"pkcs11\"\nuri = \"{}\"\ndangerously-exportable = true\n", uri("exportable"));
    let world = World::with("sqlite:keys.db", &vault, COMPATIBILITY);
    let live = world.start().await;
    let (mut admin, mut factory, device) = ready(&live).await;
    admin.ok("PUT", "/v1/keys/meter", &json!({"policy": {"compatibility": true}})).await;
    let bundle = release(&mut factory, &device, "meter", 1).await;
    let new = device.open(bundle["bundle"].as_str().unwrap(), &world.keys).1;
    assert_eq!(as_a_device_of_old(&live, &device).await, new);
    live.running.stop().await;
}

pub(crate) async fn a_token_that_cannot_wrap_says_so() {
    let vault = format!("kind = \"pkcs11\"\nuri = \"{}\"\n", uri("strict"));
    let world = World::with("sqlite:keys.db", &vault, COMPATIBILITY);
    let live = world.start().await;
    let (mut admin, mut factory, device) = ready(&live).await;
    let question = device.asks("meter", &challenge(&mut factory).await, 1);
    let problem = factory.refused("POST", "/v1/releases", &question, 501, "mechanism").await;
    assert!(problem["help"].as_str().unwrap().contains("another module"), "{problem}");
    // The key that never leaves is wrapped inside, where the token can.
    admin.ok("PUT", "/v1/keys/meter", &json!({"policy": {"compatibility": true}})).await;
    assert_eq!(as_a_device_of_old(&live, &device).await.len(), 32);
    // So are content keys, under it.
    let packed = pack(&live, &world, "build-agent-builder").await.unwrap();
    assert_eq!(opened(&packed, &as_a_device_of_old(&live, &device).await), image());
    // Destroyed in the token, by two.
    admin.ok("POST", "/v1/keys/meter/versions/1/disable", &Value::Null).await;
    let destroy = "/v1/keys/meter/versions/1/destroy";
    assert_eq!(admin.send("POST", destroy, &Value::Null).await.status, 202);
    live.client("admin-bob").await.ok("POST", destroy, &Value::Null).await;
    let session = trustbox_pkcs11::KeySession::open(&uri("strict").parse().unwrap()).unwrap();
    assert!(!session.has("strict:meter").unwrap());
    let (_, records) = admin.audit().await;
    assert!(
        records.iter().any(|record| record["outcome"] == "failed"
            && record["reason"].as_str().unwrap().starts_with("mechanism"))
    );
    live.running.stop().await;
}

pub(crate) async fn a_releaser_in_a_token_signs() {
    let place: trustbox_pkcs11::Uri = uri("night-releaser").parse().unwrap();
    let session = trustbox_pkcs11::KeySession::open(&place).unwrap();
    let public = session.generate_p256(&place, "night-releaser").unwrap();
    let world = World::new();
    let config = fs::read_to_string(world.path("service.toml")).unwrap();
    let config = config.replace("dev/releaser.key.pem", &uri("night-releaser"));
    fs::write(world.path("service.toml"), config).unwrap();
    let live = world.start().await;
    let (_, mut factory, device) = ready(&live).await;
    let answer = release(&mut factory, &device, "meter", 1).await;
    let bundle = BASE64_STANDARD.decode(answer["bundle"].as_str().unwrap()).unwrap();
    let envelope: trustbox_api::statement::Envelope = trustbox_api::wire::decode(&bundle).unwrap();
    assert!(envelope.signer == public && trustbox_package::verify::statement(&envelope));
    live.running.stop().await;
}

/// The folder in which SoftHSM keeps a token.
pub(crate) fn folder_of(token: &str) -> PathBuf {
    let tokens = Path::new(&env::var(FOLDER).unwrap()).join("tokens");
    let holds = |folder: &PathBuf| {
        let object = fs::read(folder.join("token.object")).unwrap();
        object.windows(token.len()).any(|window| window == token.as_bytes())
    };
    fs::read_dir(tokens).unwrap().map(|entry| entry.unwrap().path()).find(holds).unwrap()
}

/// Its files are moved away while requests are on their way, and come back: as with a module on a cable.
pub(crate) async fn a_token_that_is_pulled_out() {
    let uri = uri_in(PULLED, "pulled");
    let vault = format!("kind = \"pkcs11\"\nuri = \"{uri}\"\ndangerously-exportable = true\n");
    let world = World::with("sqlite:keys.db", &format!("{vault}[limits]\nburst = 10000\n"), "");
    let live = world.start().await;
    let (mut admin, _, device) = ready(&live).await;
    let (here, away) = (folder_of(PULLED), world.path("away"));
    let mut other = live.client("admin-bob").await;
    let asking = tokio::spawn({
        let device = device.clone();
        async move {
            let mut statuses = Vec::new();
            for nonce in 0..60 {
                let question = device.asks("meter", &challenge(&mut other).await, nonce);
                statuses.push(other.send("POST", "/v1/releases", &question).await.status);
            }
            statuses
        }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    fs::rename(&here, &away).unwrap();
    let statuses = asking.await.unwrap();
    let count = |status| statuses.iter().filter(|found| **found == status).count();
    assert!(count(200) > 0 && count(503) > 0 && count(200) + count(503) == 60, "{statuses:?}");
    let (status, text) = live.operations("/readyz").await;
    assert_eq!(status, 503, "{text}");
    fs::rename(&away, &here).unwrap();
    // SoftHSM finds it again after a restart only.
    let mut restarted = Instance::start(&world, 0);
    let mut factory = connect(&restarted.url().await, &world.path("tls/factory-line-1")).await;
    release(&mut factory, &device, "meter", 99).await;
    restarted.stop();
    let (_, records) = admin.audit().await;
    let released = |outcome: &str| {
        let fits = |record: &&Value| record["action"] == "release" && record["outcome"] == outcome;
        records.iter().filter(fits).count()
    };
    assert_eq!((released("allowed"), released("failed")), (count(200) + 1, count(503)));
    live.running.stop().await;
}

/// The key alone is gone from the token.
pub(crate) async fn a_lost_token_shows() {
    let vault = format!("kind = \"pkcs11\"\nuri = \"{}\"\ndangerously-exportable = true\n", uri("lost"));
    let world = World::with("sqlite:keys.db", &vault, "");
    let live = world.start().await;
    let (mut admin, mut factory, device) = ready(&live).await;
    release(&mut factory, &device, "meter", 1).await;
    let session = trustbox_pkcs11::KeySession::open(&uri("lost").parse().unwrap()).unwrap();
    session.destroy("lost:meter").unwrap();
    let question = device.asks("meter", &challenge(&mut factory).await, 2);
    factory.refused("POST", "/v1/releases", &question, 503, "vault").await;
    let (_, records) = admin.audit().await;
    let releases: Vec<_> = records.iter().filter(|record| record["action"] == "release").collect();
    assert_eq!((releases.len(), &releases[1]["outcome"]), (2, &"failed".into()));
    live.running.stop().await;
}

pub(crate) fn a_ceremony_in_a_token() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    for (name, text) in [
        ("alice", "the first passphrase"),
        ("bob", "the second passphrase"),
        ("everyday", "the third passphrase"),
    ] {
        trustbox_keys::files::write_private(&folder.path().join(name), text.as_bytes())
            .map_err(|error| error.to_string())?;
    }
    let mut command = Command::new(keys_program());
    let arguments = [
        "init",
        "owner",
        "--custodian",
        "alice=alice",
        "--custodian",
        "bob=bob",
        "--everyday",
        "everyday",
        "--class-key",
        "meter",
    ];
    command.args(arguments).args(["--token", &uri("owner")]).current_dir(folder.path());
    if rustix::process::geteuid().is_root() {
        command.arg("--dangerously-as-root");
    }
    let output = command.output()?;
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stderr}");
    assert!(stdout.contains("pkcs11:token=keys;object=owner") && !stdout.contains("passphrase"), "{stdout}");
    let session = trustbox_pkcs11::KeySession::open(&uri("owner").parse().unwrap()).unwrap();
    assert!(session.has("releaser").unwrap() && session.has("owner:meter").unwrap());
    assert!(session.export("owner:meter").is_err());
    let status =
        Command::new(keys_program()).args(["status", "owner"]).current_dir(folder.path()).output()?;
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stdout));
    Ok(())
}

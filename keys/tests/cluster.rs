//! The key service on real PostgreSQL, and on a real PKCS#11 token: SoftHSM, set up in a folder of its own.

#[path = "support/postgres.rs"]
mod postgres;
mod support;
#[path = "../../host/pkcs11/tests/token/mod.rs"]
mod token;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use libtest_mimic::{Arguments, Failed, Trial};
use postgres::{Cluster, Instance, keys_program};
use rsa::Pkcs1v15Encrypt;
use serde_json::{Value, json};
use support::package::{image, opened, pack};
use support::{Device, Live, World, challenge, connect, plain, ready, release};
use token::{FOLDER, MODULE, again_with};
use trustbox_keys::service::store::Store;

/// The token that is pulled out.
const PULLED: &str = "pulled";
const SEALED: &str = "kind = \"sealed\"\nkey = \"store.key\"\n";

fn main() -> ExitCode {
    match env::var_os(FOLDER) {
        Some(_) => {
            libtest_mimic::run(&Arguments { test_threads: Some(2), ..Arguments::from_args() }, trials())
                .exit_code()
        }
        None => again_with("keys", |folder| token::add(folder, PULLED)),
    }
}

fn trials() -> Vec<Trial> {
    let trial = |name: &str, test: fn() -> Result<(), Failed>| Trial::test(name, test);
    vec![
        trial("postgresql_does_what_sqlite_does", || block_on(postgresql_does_what_sqlite_does())),
        trial("a_database_that_goes_and_comes_back", || block_on(a_database_that_goes_and_comes_back())),
        trial("instances_share_a_log_and_lose_none_when_one_is_killed", || block_on(instances_share_a_log())),
        trial("a_disk_that_is_full", || block_on(a_disk_that_is_full())),
        trial("a_backup_moves_from_sqlite_to_postgresql", || block_on(a_backup_moves())),
        trial("the_token_wraps_and_never_shows", || block_on(the_token_wraps_and_never_shows())),
        trial("a_token_that_cannot_wrap_says_so", || block_on(a_token_that_cannot_wrap_says_so())),
        trial("a_releaser_in_a_token_signs", || block_on(a_releaser_in_a_token_signs())),
        trial("a_lost_token_shows", || block_on(a_lost_token_shows())),
        trial("a_token_that_is_pulled_out_under_load", || block_on(a_token_that_is_pulled_out())),
        trial("a_ceremony_in_a_token", a_ceremony_in_a_token),
    ]
}

fn block_on(test: impl Future<Output = ()>) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(test);
    Ok(())
}

async fn postgresql_does_what_sqlite_does() {
    let cluster = Cluster::start();
    let world = World::with(&cluster.database("keys"), SEALED, "");
    let live = world.start().await;
    let (mut admin, mut factory, device) = ready(&live).await;
    let nonce = challenge(&mut factory).await;
    let question = device.asks("meter", &nonce, 1);
    let first = factory.ok("POST", "/v1/releases", &question).await;
    assert_eq!(factory.ok("POST", "/v1/releases", &question).await, first);
    factory.refused("POST", "/v1/releases", &device.asks("meter", &nonce, 2), 409, "challenge-used").await;
    admin.ok("POST", "/v1/keys/meter/versions", &json!({"overlap": 100})).await;
    assert_eq!(release(&mut factory, &device, "meter", 3).await["version"], 2);
    admin.ok("PUT", "/v1/keys/meter", &json!({"policy": {"quota": {"releases": 2, "seconds": 60}}})).await;
    let again = device.asks("meter", &challenge(&mut factory).await, 4);
    factory.refused("POST", "/v1/releases", &again, 429, "quota").await;
    let change = json!({"state": "suspended", "reason": "a test"});
    admin.ok("POST", &format!("{}/state", device.path()), &change).await;
    factory.refused("POST", "/v1/releases", &again, 403, "device-state").await;
    let (head, records) = admin.audit().await;
    assert!(head.sequence as usize == records.len() && records.len() >= 9);
    sqlx::any::install_default_drivers();
    let pool = sqlx::AnyPool::connect(&world.config().database).await.unwrap();
    for sql in ["UPDATE audit SET body = ''", "DELETE FROM audit", "TRUNCATE audit"] {
        let error = sqlx::raw_sql(sql).execute(&pool).await.unwrap_err().to_string();
        assert!(error.contains("append-only"), "{error}");
    }
    pool.close().await;
    live.running.stop().await;
}

async fn a_database_that_goes_and_comes_back() {
    let cluster = Cluster::start();
    let world = World::with(&cluster.database("keys"), SEALED, "");
    let live = world.start().await;
    let (mut admin, mut factory, device) = ready(&live).await;
    let question = device.asks("meter", &challenge(&mut factory).await, 1);
    cluster.down();
    factory.refused("POST", "/v1/releases", &question, 503, "database").await;
    factory.refused("POST", "/v1/releases", &json!({}), 503, "database").await;
    let (status, text) = live.operations("/readyz").await;
    assert!(status == 503 && text.contains("does not answer"), "{text}");
    assert_eq!(live.operations("/healthz").await.0, 200);
    cluster.up();
    factory.ok("POST", "/v1/releases", &question).await;
    assert_eq!(live.operations("/readyz").await.0, 200);
    let (_, records) = admin.audit().await;
    let releases: Vec<_> = records.iter().filter(|record| record["action"] == "release").collect();
    assert_eq!(releases.len(), 1);
    live.running.stop().await;
}

async fn instances_share_a_log() {
    let cluster = Cluster::start();
    let world = World::with(&cluster.database("keys"), SEALED, "");
    let mut instances: Vec<Instance> = (0..3).map(|number| Instance::start(&world, number)).collect();
    let mut urls = Vec::new();
    for instance in &instances {
        urls.push(instance.url().await);
    }
    let folder = world.path("tls/factory-line-1");
    let mut admin = connect(&urls[0], &world.path("tls/admin-alice")).await;
    admin.ok("PUT", "/v1/keys/meter", &json!({"policy": {}})).await;
    let device = Device::new(0xd1);
    let mut factory = connect(&urls[1], &folder).await;
    factory.ok("PUT", &device.path(), &device.entry("edge")).await;
    // A challenge of one instance, a token for another, the answer again from the third.
    let question = device.asks("meter", &challenge(&mut factory).await, 1);
    let answer = admin.ok("POST", "/v1/releases", &question).await;
    let mut third = connect(&urls[2], &folder).await;
    assert_eq!(third.ok("POST", "/v1/releases", &question).await, answer);
    let asking = urls.iter().map(|url| {
        let (url, folder, device) = (url.clone(), folder.clone(), device.clone());
        tokio::spawn(async move { ask_until_it_ends(&url, &folder, &device).await })
    });
    let asking: Vec<_> = asking.collect();
    tokio::time::sleep(Duration::from_millis(800)).await;
    instances[2].child.kill().unwrap();
    let mut answered = vec![answer["release"].as_str().unwrap().to_owned()];
    for asked in asking {
        answered.extend(asked.await.unwrap());
    }
    assert!(answered.len() > 10, "{} releases", answered.len());
    let (_, records) = admin.audit().await;
    let log = serde_json::to_string(&records).unwrap();
    for release in &answered {
        assert!(
            log.contains(&format!("release {release}")),
            "release {release} was answered and is not in the log"
        );
    }
    instances.iter_mut().take(2).for_each(Instance::stop);
    refuses_root(&world);
}

fn refuses_root(world: &World) {
    if rustix::process::geteuid().is_root() {
        let mut serve = Command::new(keys_program());
        let output = serve.args(["serve", "--config"]).arg(world.path("service.toml")).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && text.contains("does not run as root"), "{text}");
    }
}

async fn ask_until_it_ends(url: &str, folder: &Path, device: &Device) -> Vec<String> {
    let (mut client, mut answered) = (connect(url, folder).await, Vec::new());
    for _ in 0..25 {
        let Ok(challenge) = client.0.send("POST", Some("/v1/challenges"), b"{}".to_vec(), &[]).await else {
            break;
        };
        let challenge = challenge.json().unwrap();
        let body = device.asks("meter", challenge["nonce"].as_str().unwrap(), 1).to_string().into_bytes();
        let Ok(answer) = client.0.send("POST", Some("/v1/releases"), body, &[]).await else { break };
        answered.push(answer.json().unwrap()["release"].as_str().unwrap().to_owned());
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    answered
}

/// SQLite, until no file may grow any more: what was answered is in the log, and what was not has left nothing.
async fn a_disk_that_is_full() {
    let world = World::with(
        "sqlite:keys.db",
        "kind = \"sealed\"\nkey = \"store.key\"\n[limits]\nburst = 10000\n",
        "",
    );
    let mut small = Instance::with_small_disk(&world, 1024);
    let (url, folder) = (small.url().await, world.path("tls/factory-line-1"));
    let mut factory = connect(&url, &folder).await;
    let (mut enrolled, mut refused) = (0, 0);
    for number in 0..200_u8 {
        let device = Device { id: trustbox_api::Bytes([number; 32]), ..Device::new(0) };
        let answer = factory.send("PUT", &device.path(), &device.entry("edge")).await;
        match answer.status {
            200 => enrolled += 1,
            503 => refused += 1,
            status => panic!("{status}: {}", String::from_utf8_lossy(&answer.body)),
        }
        if refused == 3 {
            break;
        }
    }
    assert!(enrolled > 3 && refused == 3, "{enrolled} enrolled, {refused} refused");
    small.child.kill().unwrap();
    small.child.wait().unwrap();
    let live = world.start().await;
    let mut admin = live.client("admin-alice").await;
    let (_, records) = admin.audit().await;
    // A refusal is smaller than what was refused, and may still have been written down.
    let allowed = |record: &&Value| record["action"] == "enrol-device" && record["outcome"] == "allowed";
    assert_eq!(records.iter().filter(allowed).count(), enrolled);
    let listed = admin.ok("GET", "/v1/devices", &Value::Null).await;
    assert_eq!(listed["devices"].as_array().unwrap().len(), enrolled);
    live.running.stop().await;
}

async fn a_backup_moves() {
    let world = World::new();
    let live = world.start().await;
    let (mut admin, mut factory, device) = ready(&live).await;
    let first = release(&mut factory, &device, "meter", 1).await;
    let (head, _) = admin.audit().await;
    live.running.stop().await;
    let program = |arguments: &[&str]| {
        let output =
            Command::new(keys_program()).args(arguments).current_dir(world.dir.path()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let noted = format!("{}:{}", head.sequence, head.hash);
    assert_eq!(program(&["backup", "--config", "./service.toml", "backup"]).trim(), noted);
    let cluster = Cluster::start();
    world.configure(&cluster.database("keys"), SEALED, "");
    assert_eq!(program(&["restore", "--config", "./service.toml", "backup"]).trim(), noted);
    program(&["audit", "export", "--config", "./service.toml", "audit.jsonl"]);
    assert!(program(&["audit", "verify", "audit.jsonl", "--head", &noted]).contains("records verified"));
    let live = world.start().await;
    let mut factory = live.client("factory-line-1").await;
    let again = release(&mut factory, &device, "meter", 2).await;
    let open = |answer: &Value| device.open(answer["bundle"].as_str().unwrap(), &world.keys);
    assert_eq!(open(&again), open(&first));
    live.running.stop().await;
    let store = Store::open(&world.config().database, 1).await.unwrap();
    assert!(store.restore(&b""[..]).await.is_err());
}

fn uri(object: &str) -> String {
    uri_in("keys", object)
}

fn uri_in(token: &str, object: &str) -> String {
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
async fn the_token_wraps_and_never_shows() {
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

async fn a_token_that_cannot_wrap_says_so() {
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

async fn a_releaser_in_a_token_signs() {
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
fn folder_of(token: &str) -> PathBuf {
    let tokens = Path::new(&env::var(FOLDER).unwrap()).join("tokens");
    let holds = |folder: &PathBuf| {
        let object = fs::read(folder.join("token.object")).unwrap();
        object.windows(token.len()).any(|window| window == token.as_bytes())
    };
    fs::read_dir(tokens).unwrap().map(|entry| entry.unwrap().path()).find(holds).unwrap()
}

/// Its files are moved away while requests are on their way, and come back: as with a module on a cable.
async fn a_token_that_is_pulled_out() {
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
async fn a_lost_token_shows() {
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

fn a_ceremony_in_a_token() -> Result<(), Failed> {
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

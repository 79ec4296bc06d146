//! The service on a PostgreSQL cluster, and on a disk that is full.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use trustbox_keys::service::store::Store;

use crate::SEALED;
use crate::postgres::{Cluster, Instance, keys_program};
use crate::support::{Device, World, challenge, connect, ready, release};

pub(crate) async fn postgresql_does_what_sqlite_does() {
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

pub(crate) async fn a_database_that_goes_and_comes_back() {
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

pub(crate) async fn instances_share_a_log() {
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
pub(crate) async fn a_disk_that_is_full() {
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

pub(crate) async fn a_backup_moves() {
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

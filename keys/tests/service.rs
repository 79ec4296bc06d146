//! The key service over real TLS, with SQLite: what it releases, what it refuses, and what it writes down.

mod support;

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rsa::Pkcs1v15Encrypt;
use serde_json::{Value, json};
use support::{Device, Live, World, challenge, plain, ready, release};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use trustbox_api::Bytes;
use trustbox_api::statement::Revoked;
use trustbox_keys::ceremony::certificates;
use trustbox_keys::issue;
use trustbox_keys::service::routes::ROUTES;
use trustbox_keys::service::store::Store;
use trustbox_package::sign::public_key;

fn denied<'a>(records: &'a [Value], words: &str) -> Vec<&'a Value> {
    let fits =
        |record: &&Value| record["outcome"] == "denied" && record["reason"].as_str().unwrap().contains(words);
    records.iter().filter(fits).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_goes_to_the_device_that_proves_itself_and_to_no_other() {
    let world = World::new();
    let live = world.start().await;
    let (mut admin, mut factory, device) = ready(&live).await;
    let nonce = challenge(&mut factory).await;
    let question = device.asks("meter", &nonce, 1);
    let answer = factory.ok("POST", "/v1/releases", &question).await;
    let (version, key) = device.open(answer["bundle"].as_str().unwrap(), &world.keys);
    assert_eq!((version, key.len()), (1, 32));
    // The same request gets the same answer, another one with the same challenge none.
    assert_eq!(factory.ok("POST", "/v1/releases", &question).await, answer);
    let other = device.asks("meter", &nonce, 2);
    factory.refused("POST", "/v1/releases", &other, 409, "challenge-used").await;
    // Another device cannot come with the token, nor with a key of its own.
    let (thief, bundle) = (Device::new(0xd2), &answer["bundle"]);
    factory.ok("PUT", &thief.path(), &thief.entry("edge")).await;
    let mut stolen = device.asks("meter", &challenge(&mut factory).await, 3);
    stolen["request"]["device_id"] = thief.id.to_string().into();
    let problem = factory.refused("POST", "/v1/releases", &stolen, 403, "evidence").await;
    assert_eq!(problem["rule"], "evidence");
    let (head, records) = admin.audit().await;
    assert_eq!(admin.ok("GET", "/v1/audit/head", &Value::Null).await["hash"], head.hash.to_string());
    let released: Vec<_> = records
        .iter()
        .filter(|record| record["action"] == "release" && record["outcome"] == "allowed")
        .collect();
    assert_eq!(released.len(), 2);
    assert!(released[0]["actor"].as_str().unwrap().starts_with("factory:line-1:"));
    assert_eq!(denied(&records, "challenge-used").len(), 1);
    // Neither key nor bundle is in what was written down.
    let log = serde_json::to_string(&records).unwrap();
    assert!(!log.contains(&BASE64_STANDARD.encode(&key)) && !log.contains(bundle.as_str().unwrap()));
    let stored = std::fs::read(world.path("keys.db")).unwrap();
    assert!(!stored.windows(32).any(|window| window == key));
    live.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rule_refuses_by_its_name_and_is_written_down() {
    let world = World::new();
    let live = world.start().await;
    let (mut admin, mut factory, device) = ready(&live).await;
    let refuse =
        async |client: &mut support::Client, device: &Device, status: u16, kind: &str, rule: &str| {
            let question = device.asks("meter", &challenge(client).await, 9);
            let problem = client.refused("POST", "/v1/releases", &question, status, kind).await;
            assert_eq!(problem["rule"].as_str().unwrap_or_default(), rule, "{problem}");
        };
    refuse(&mut factory, &Device::new(0xee), 403, "device-unknown", "").await;
    let debug = Device { lifecycle: 0x5000, ..device.clone() };
    refuse(&mut factory, &debug, 403, "policy", "evidence:lifecycle").await;
    let bound = Device { bound: Some(Bytes([1; 32])), ..device.clone() };
    refuse(&mut factory, &bound, 403, "evidence", "device-key").await;
    let impostor = Device { attestation: trustbox_keys::files::generate().unwrap(), ..device.clone() };
    refuse(&mut factory, &impostor, 403, "evidence", "evidence").await;
    // Challenges of nobody, of another service and of yesterday.
    for nonce in ["00".repeat(64), "00".repeat(32)] {
        let problem =
            factory.refused("POST", "/v1/releases", &device.asks("meter", &nonce, 1), 403, "challenge").await;
        assert_eq!(problem["rule"], "challenge");
    }
    let expired = factory.ok("POST", "/v1/challenges", &json!({"lifetime": 0})).await;
    let question = device.asks("meter", expired["nonce"].as_str().unwrap(), 1);
    factory.refused("POST", "/v1/releases", &question, 403, "challenge").await;
    let policies = [
        (json!({"classes": ["other"]}), "class"),
        (json!({"not-after": 1000}), "time"),
        (json!({"not-before": 9_000_000_000_u64}), "time"),
        (json!({"certificate": true}), "certificate"),
        (json!({"min-versions": {"trustbox": "0.2.0"}}), "min-version:trustbox"),
        (json!({"evidence": {"min-security-epoch": 4}}), "evidence:security-epoch"),
        (json!({"evidence": {"components": [{"type": "optee", "measurements": ["00"]}]}}), "evidence:optee"),
    ];
    for (policy, rule) in policies {
        admin.ok("PUT", "/v1/keys/meter", &json!({"policy": policy})).await;
        refuse(&mut factory, &device, 403, "policy", rule).await;
        let token = BASE64_STANDARD.encode(device.token(&[0; 32]));
        let asked = json!({"device_id": device.id.to_string(), "key": "meter", "token": token});
        let explained = admin.ok("POST", "/v1/explain", &asked).await;
        assert_eq!((&explained["allowed"], &explained["denied_by"]), (&false.into(), &rule.into()));
        let rules = explained["rules"].as_array().unwrap();
        assert!(
            rules.iter().any(|found| found["rule"] == rule && found["verdict"] == "denied"),
            "{explained}"
        );
    }
    admin.ok("PUT", "/v1/keys/meter", &json!({"policy": {"quota": {"releases": 2, "seconds": 3600}}})).await;
    release(&mut factory, &device, "meter", 1).await;
    release(&mut factory, &device, "meter", 2).await;
    refuse(&mut factory, &device, 429, "quota", "quota").await;
    admin.ok("PUT", "/v1/keys/meter", &json!({"policy": {}})).await;
    for (state, kind) in [("suspended", "device-state"), ("enrolled", ""), ("revoked", "device-state")] {
        let change = json!({"state": state, "reason": "a test"});
        admin.ok("POST", &format!("{}/state", device.path()), &change).await;
        match kind {
            "" => drop(release(&mut factory, &device, "meter", 3).await),
            kind => refuse(&mut factory, &device, 403, kind, "device-state").await,
        }
    }
    let back = json!({"state": "enrolled", "reason": "no"});
    admin.refused("POST", &format!("{}/state", device.path()), &back, 409, "conflict").await;
    let (_, records) = admin.audit().await;
    for words in [
        "device-unknown",
        "rule evidence:lifecycle",
        "rule challenge",
        "rule class",
        "quota",
        "rule device-state",
    ] {
        assert!(!denied(&records, words).is_empty(), "{words}");
    }
    live.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_may_what_the_table_says_and_nothing_else() {
    let world =
        World::with("sqlite:keys.db", "kind = \"sealed\"\nkey = \"store.key\"\n[limits]\nburst = 1000\n", "");
    let live = world.start().await;
    for (role, name) in support::CLIENTS {
        let mut client = live.client(&format!("{}-{name}", role.name())).await;
        for route in ROUTES {
            let path = route
                .path
                .replace("{id}", &"00".repeat(32))
                .replace("{name}", "none")
                .replace("{version}", "1");
            let path = path.replace("{fingerprint}", "none");
            let answer = client.send(route.method, &path, &json!({"nothing": 1})).await;
            let refused = String::from_utf8_lossy(&answer.body).contains("urn:trustbox:problem:role");
            assert_eq!(refused, !route.roles.contains(&role), "{} {path}: {}", role.name(), answer.status);
        }
        client.refused("GET", "/v2", &Value::Null, 404, "not-found").await;
        client.refused("DELETE", "/v1/keys", &Value::Null, 405, "method").await;
    }
    // A device asks for itself only.
    let (mut admin, _, device) = ready(&live).await;
    let mut gateway = live.client("device-gateway").await;
    let question = device.asks("meter", &challenge(&mut gateway).await, 1);
    gateway.refused("POST", "/v1/releases", &question, 403, "role").await;
    gateway.refused("POST", "/v1/challenges", &json!({"lifetime": 5}), 403, "role").await;
    let own = (trustbox_keys::service::identity::Role::Device, device.id.to_string());
    certificates::ensure_all(&world.path("tls"), &[], &[own]).unwrap();
    let mut itself = live.client(&format!("device-{}", device.id)).await;
    release(&mut itself, &device, "meter", 1).await;
    // A certificate that is revoked, and one of another CA.
    let pem =
        trustbox_keys::service::tls::certificates(&world.path("tls/factory-line-1/client.pem")).unwrap();
    let fingerprint = support::sha256(&pem[0]).to_string();
    admin.ok("POST", &format!("/v1/clients/{fingerprint}/revoke"), &Value::Null).await;
    let mut factory = live.client("factory-line-1").await;
    factory.refused("GET", "/v1/devices", &Value::Null, 403, "client-revoked").await;
    let foreign = World::new();
    let folder = foreign.path("tls/admin-alice");
    std::fs::copy(world.path("tls/ca.pem"), folder.join("ca.pem")).unwrap();
    let tls = trustbox_keys::client::identity(
        &folder.join("ca.pem"),
        &folder.join("client.pem"),
        &folder.join("client.key.pem"),
    );
    let answered = match trustbox_keys::client::Connection::open(&live.url, tls.unwrap()).await {
        Ok(mut connection) => connection.send("GET", Some("/v1/keys"), Vec::new(), &[]).await.is_ok(),
        Err(_) => false,
    };
    assert!(!answered);
    let foreign = |record: &&Value| record["action"] == "tls" && record["outcome"] == "denied";
    // The handshake's end is written down after the client has it.
    let mut records = Vec::new();
    for _ in 0..50 {
        records = admin.audit().await.1;
        if records.iter().any(|record| foreign(&record)) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(!denied(&records, "client-revoked").is_empty() && !denied(&records, "role: ").is_empty());
    assert!(records.iter().any(|record| foreign(&record)), "no record of the foreign certificate");
    live.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_rotated_with_overlap_and_destroyed_by_two() {
    let world = World::new();
    let live = world.start().await;
    let (mut admin, mut factory, device) = ready(&live).await;
    let version = |answer: &Value| answer["version"].as_u64().unwrap();
    assert_eq!(version(&release(&mut factory, &device, "meter", 1).await), 1);
    admin.ok("POST", "/v1/keys/meter/versions", &json!({"overlap": 1000})).await;
    let newest = release(&mut factory, &device, "meter", 2).await;
    assert_eq!(version(&newest), 2);
    let old = |nonce: String, device: &Device| {
        let mut question = device.asks("meter", &nonce, 3);
        question["version"] = 1.into();
        question
    };
    let question = old(challenge(&mut factory).await, &device);
    let overlapping = factory.ok("POST", "/v1/releases", &question).await;
    let open = |answer: &Value| device.open(answer["bundle"].as_str().unwrap(), &world.keys).1;
    assert_ne!(open(&newest), open(&overlapping));
    admin.ok("POST", "/v1/keys/meter/versions", &json!({})).await;
    let question = old(challenge(&mut factory).await, &device);
    let problem = factory.refused("POST", "/v1/releases", &question, 403, "policy").await;
    assert_eq!(problem["detail"], "version 1 is retired");
    // Destroying takes a disabled version and two people.
    let destroy = "/v1/keys/meter/versions/1/destroy";
    admin.refused("POST", destroy, &Value::Null, 409, "conflict").await;
    admin.ok("POST", "/v1/keys/meter/versions/1/disable", &Value::Null).await;
    assert_eq!(admin.send("POST", destroy, &Value::Null).await.status, 202);
    admin.refused("POST", destroy, &Value::Null, 409, "second-person").await;
    let mut second = live.client("admin-bob").await;
    let shown = second.ok("POST", destroy, &Value::Null).await;
    assert_eq!(shown["versions"][2]["state"], "destroyed");
    assert_eq!(second.ok("POST", destroy, &Value::Null).await, shown);
    second.refused("POST", "/v1/keys/meter/versions/1/enable", &Value::Null, 409, "conflict").await;
    let question = old(challenge(&mut factory).await, &device);
    factory.refused("POST", "/v1/releases", &question, 410, "destroyed").await;
    admin.ok("POST", "/v1/keys/meter/versions/3/disable", &Value::Null).await;
    admin.ok("POST", "/v1/keys/meter/versions/3/enable", &Value::Null).await;
    assert_eq!(version(&release(&mut factory, &device, "meter", 4).await), 3);
    let question = device.asks("none", &challenge(&mut factory).await, 1);
    factory.refused("POST", "/v1/releases", &question, 404, "not-found").await;
    let mut builder = live.client("build-agent-builder").await;
    let keys = builder.ok("GET", "/v1/keys", &Value::Null).await;
    assert_eq!(keys["keys"][0]["versions"].as_array().unwrap().len(), 3);
    live.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_gets_its_status_and_leaves_no_mark() {
    let world = World::with(
        "sqlite:keys.db",
        "kind = \"sealed\"\nkey = \"store.key\"\n[limits]\nrequest-seconds = 1\n",
        "",
    );
    let live = world.start().await;
    let (mut admin, mut factory, device) = ready(&live).await;
    let good = device.asks("meter", &challenge(&mut factory).await, 1);
    let change = |path: &[&str], value: Value| {
        let mut changed = good.clone();
        *path.iter().fold(&mut changed, |at, name| &mut at[*name]) = value;
        changed
    };
    let malformed = [
        Value::Null,
        json!([]),
        json!({}),
        change(&["extra"], 1.into()),
        change(&["token"], "%".into()),
        change(&["version"], (-1).into()),
        change(&["request", "type"], "lock".into()),
        change(&["request", "nonce"], "00".into()),
        change(&["request", "device_key"], "_".into()),
    ];
    for body in malformed {
        let problem = factory.refused("POST", "/v1/releases", &body, 400, "malformed").await;
        assert!(!problem["detail"].as_str().unwrap().contains(&device.id.to_string()));
    }
    for key in [vec![], vec![0x30], device.device_key()[1..].to_vec(), spki_of(1024), spki_of(8192)] {
        let body = change(&["request", "device_key"], BASE64_STANDARD.encode(key).into());
        factory.refused("POST", "/v1/releases", &body, 400, "device-key").await;
    }
    let token = BASE64_STANDARD.encode([0; 300]);
    factory.refused("POST", "/v1/releases", &change(&["token"], token.into()), 403, "evidence").await;
    let huge = json!({"key": "x".repeat(40_000)});
    factory.refused("POST", "/v1/releases", &huge, 413, "too-large").await;
    let mut factory = live.client("factory-line-1").await;
    factory.refused("PUT", "/v1/devices/xy", &device.entry("edge"), 400, "malformed").await;
    factory.refused("PUT", &device.path(), &device.entry("other"), 409, "conflict").await;
    assert_eq!(factory.ok("PUT", &device.path(), &device.entry("edge")).await["state"], "enrolled");
    admin.refused("PUT", "/v1/keys/a%20b", &json!({"policy": {}}), 400, "malformed").await;
    admin.refused("GET", "/v1/audit?after=x", &Value::Null, 400, "malformed").await;
    slow_client(&live, &world).await;
    release(&mut factory, &device, "meter", 1).await;
    let (_, records) = admin.audit().await;
    assert!(denied(&records, "malformed").len() >= 9 && denied(&records, "device-key").len() == 5);
    assert!(denied(&records, "too-large").len() == 1);
    live.running.stop().await;
}

/// Half a body, and then nothing.
async fn slow_client(live: &Live, world: &World) {
    let folder = world.path("tls/factory-line-1");
    let tls = trustbox_keys::client::identity(
        &folder.join("ca.pem"),
        &folder.join("client.pem"),
        &folder.join("client.key.pem"),
    );
    let stream = tokio::net::TcpStream::connect(live.running.addresses.main).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let mut stream = tokio_rustls::TlsConnector::from(tls.unwrap()).connect(name, stream).await.unwrap();
    let head = "POST /v1/releases HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let read = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut answer)).await.unwrap().unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

/// DER of an RSA key that nobody has the private half of.
fn spki_of(bits: u32) -> Vec<u8> {
    use rsa::pkcs8::EncodePublicKey;
    let modulus = vec![0xff; bits as usize / 8];
    let modulus = rsa::BoxedUint::from_be_slice(&modulus, bits).unwrap();
    let key = rsa::RsaPublicKey::new_unchecked(modulus, rsa::BoxedUint::from(65_537_u64));
    key.to_public_key_der().unwrap().as_bytes().to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_of_old_get_what_they_know_where_the_owner_says_so() {
    let more = "[compatibility]\nlisten = \"127.0.0.1:0\"\npath = \"/any/url\"\ntls = false\nrequests-per-minute = 12\n";
    let world = World::with("sqlite:keys.db", "kind = \"sealed\"\nkey = \"store.key\"\n", more);
    let live = world.start().await;
    let (mut admin, mut factory, device) = ready(&live).await;
    let address = live.running.addresses.compatibility.unwrap();
    let key = BASE64_STANDARD.encode(device.device_key());
    let question = json!({"key_name": "meter", "client_public_key": key}).to_string();
    let refused = async |body: &str, status: u16| {
        let (found, answer) = plain(address, "POST", "/any/url", body).await;
        assert_eq!(found, status, "{answer}");
        assert!(!answer.contains("wrapped_key"));
    };
    refused(&question, 404).await;
    admin.ok("PUT", "/v1/keys/meter", &json!({"policy": {"compatibility": true}})).await;
    let (status, answer) = plain(address, "POST", "/any/url", &question).await;
    assert_eq!(status, 200);
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let wrapped = BASE64_STANDARD.decode(answer["wrapped_key"].as_str().unwrap()).unwrap();
    let old = device.key.decrypt(Pkcs1v15Encrypt, &wrapped).unwrap();
    let new = release(&mut factory, &device, "meter", 1).await;
    assert_eq!(device.open(new["bundle"].as_str().unwrap(), &world.keys).1, old);
    let with = |key: &str| json!({"key_name": "meter", "client_public_key": key}).to_string();
    for bad in [
        "",
        "{",
        "[]",
        &with(""),
        &with(&key[1..]),
        &with(&BASE64_STANDARD.encode(spki_of(3072))),
        &with(&key.replace('+', "-")),
    ] {
        refused(bad, 400).await;
    }
    refused(&question.replace("meter", "wrapped_key"), 404).await;
    for _ in 0..3 {
        plain(address, "POST", "/any/url", &question).await;
    }
    refused(&question, 429).await;
    let (_, records) = admin.audit().await;
    assert!(
        records
            .iter()
            .any(|record| record["action"] == "compatibility-release" && record["outcome"] == "allowed")
    );
    live.running.stop().await;
    assert!(World::new().start().await.running.addresses.compatibility.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn revocations_are_published_and_told() {
    let receiver = World::new();
    let (port, told) = webhook(&receiver).await;
    let more = format!(
        "[[webhooks]]\nurl = \"https://localhost:{port}/hook\"\nca = \"hook-ca.pem\"\nsecret = \"hook-secret\"\n"
    );
    let world = World::with("sqlite:keys.db", "kind = \"sealed\"\nkey = \"store.key\"\n", &more);
    std::fs::copy(receiver.path("tls/ca.pem"), world.path("hook-ca.pem")).unwrap();
    trustbox_keys::files::write_private(&world.path("hook-secret"), b"secret").unwrap();
    let live = world.start().await;
    let mut admin = live.client("admin-alice").await;
    let root = public_key(world.keys.owner_root.verifying_key()).id();
    let items = [Revoked::Key(Bytes([1; 32]))];
    let statement = |key, root, sequence| json!({"statement": BASE64_STANDARD.encode(issue::revoke(key, root, &items, sequence).unwrap())});
    let good = statement(&world.keys.revoker, root, 5);
    admin.ok("POST", "/v1/revocations", &good).await;
    admin.ok("POST", "/v1/revocations", &good).await;
    for bad in [
        statement(&world.keys.publisher, root, 6),
        statement(&world.keys.revoker, Bytes([0; 32]), 6),
        json!({"statement": BASE64_STANDARD.encode(b"none")}),
        json!({"statement": "!"}),
    ] {
        admin.refused("POST", "/v1/revocations", &bad, 400, "malformed").await;
    }
    admin.refused("POST", "/v1/revocations", &statement(&world.keys.revoker, root, 4), 409, "conflict").await;
    let call = tokio::time::timeout(Duration::from_secs(20), told)
        .await
        .expect("the webhook was not called")
        .unwrap();
    admin.ok("POST", "/v1/revocations", &statement(&world.keys.owner_root, root, 7)).await;
    let mut device = live.client("device-gateway").await;
    let listed = device.ok("GET", "/v1/revocations?after=4", &Value::Null).await;
    assert_eq!(listed["revocations"][0]["statement"], good["statement"]);
    assert_eq!(listed["revocations"].as_array().unwrap().len(), 2);
    let (head, body) = call.split_once("\r\n\r\n").unwrap();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"secret");
    let mac: Bytes<32> = Bytes::from_slice(ring::hmac::sign(&key, body.as_bytes()).as_ref()).unwrap();
    assert!(head.contains(&format!("trustbox-signature: {mac}")), "{head}");
    assert!(body.contains(good["statement"].as_str().unwrap()));
    live.running.stop().await;
}

/// Fails the first call, and hands over what the second one says.
async fn webhook(world: &World) -> (u16, tokio::sync::oneshot::Receiver<String>) {
    let tls = trustbox_keys::service::tls::one_sided(&world.config().tls).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(tls);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let mut tell = Some(tell);
        for status in ["500 no", "200 ok", "200 ok"] {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = acceptor.accept(stream).await.unwrap();
            let mut call = vec![0; 8192];
            let mut size = 0;
            while !String::from_utf8_lossy(&call[..size]).contains("\"}") {
                size += stream.read(&mut call[size..]).await.unwrap();
            }
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
            if status.starts_with("200")
                && let Some(tell) = tell.take()
            {
                let _ = tell.send(String::from_utf8_lossy(&call[..size]).into_owned());
            }
        }
    });
    (port, told)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_does_too_often_waits() {
    let world = World::with(
        "sqlite:keys.db",
        "kind = \"sealed\"\nkey = \"store.key\"\n[limits]\nrequests-per-second = 1\nburst = 3\n",
        "",
    );
    let live = world.start().await;
    let mut auditor = live.client("auditor-carol").await;
    for _ in 0..3 {
        auditor.ok("GET", "/v1/keys", &Value::Null).await;
    }
    auditor.refused("GET", "/v1/keys", &Value::Null, 429, "rate-limit").await;
    // Others are not concerned.
    live.client("admin-alice").await.ok("GET", "/v1/keys", &Value::Null).await;
    live.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_takes_nothing_gives_nothing() {
    let world = World::new();
    let live = world.start().await;
    let (mut admin, mut factory, device) = ready(&live).await;
    let url = format!("sqlite:{}", world.path("keys.db").display());
    sqlx::any::install_default_drivers();
    let pool = sqlx::AnyPool::connect(&url).await.unwrap();
    let run = async |sql: &'static str| assert!(sqlx::raw_sql(sql).execute(&pool).await.is_ok(), "{sql}");
    run("CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END").await;
    let question = device.asks("meter", &challenge(&mut factory).await, 1);
    factory.refused("POST", "/v1/releases", &question, 503, "database").await;
    // A refusal that cannot be written down is not told either.
    factory.refused("POST", "/v1/releases", &json!({}), 503, "database").await;
    admin.refused("PUT", "/v1/keys/other", &json!({"policy": {}}), 503, "database").await;
    run("DROP TRIGGER full").await;
    assert_eq!(admin.ok("GET", "/v1/keys", &Value::Null).await["keys"].as_array().unwrap().len(), 1);
    factory.ok("POST", "/v1/releases", &question).await;
    // The log cannot be changed through the database's door either.
    for sql in ["UPDATE audit SET body = '' WHERE sequence = 1", "DELETE FROM audit"] {
        assert!(sqlx::raw_sql(sql).execute(&pool).await.is_err());
    }
    // A clock that is behind what was written down.
    run("UPDATE audit_head SET time = time + 100000").await;
    let later = device.asks("meter", &challenge(&mut factory).await, 2);
    factory.refused("POST", "/v1/releases", &later, 503, "clock").await;
    run("UPDATE audit_head SET time = time - 100000").await;
    let (_, records) = admin.audit().await;
    assert_eq!(records.iter().filter(|record| record["action"] == "release").count(), 1);
    let (status, text) = live.operations("/readyz").await;
    assert_eq!(status, 200, "{text}");
    run("ALTER TABLE audit RENAME TO gone").await;
    factory.refused("POST", "/v1/releases", &json!({}), 503, "database").await;
    live.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_fills_another_database() {
    let world = World::new();
    let live = world.start().await;
    let (mut admin, mut factory, device) = ready(&live).await;
    let first = release(&mut factory, &device, "meter", 1).await;
    let (head, _) = admin.audit().await;
    let store = Store::open(&world.config().database, 1).await.unwrap();
    let mut backup = Vec::new();
    assert_eq!(store.backup(&mut backup).await.unwrap(), head);
    assert!(store.restore(&backup[..]).await.unwrap_err().to_string().contains("not empty"));
    store.close().await;
    live.running.stop().await;
    world.configure("sqlite:restored.db", "kind = \"sealed\"\nkey = \"store.key\"\n", "");
    let store = Store::open(&world.config().database, 1).await.unwrap();
    let text = String::from_utf8(backup.clone()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let cut = lines[..lines.len() - 1].join("\n");
    let lost = text.lines().filter(|line| !line.contains("\"sequence\":3,")).collect::<Vec<_>>().join("\n");
    for bad in [cut.as_str(), &lost, &text.replace("set-key", "set-kez"), "{"] {
        assert!(store.restore(bad.as_bytes()).await.is_err());
    }
    assert_eq!(store.restore(&backup[..]).await.unwrap(), head);
    store.close().await;
    let live = world.start().await;
    let mut factory = live.client("factory-line-1").await;
    let again = release(&mut factory, &device, "meter", 2).await;
    let open = |answer: &Value| device.open(answer["bundle"].as_str().unwrap(), &world.keys);
    assert_eq!(open(&again), open(&first));
    let (grown, _) = live.client("auditor-carol").await.audit().await;
    assert!(grown.sequence > head.sequence);
    live.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_factory_certifies_attestation_keys() {
    let world = World::with(
        "sqlite:keys.db",
        "kind = \"sealed\"\nkey = \"store.key\"\n",
        "factory-ca = \"factory/ca.pem\"\n",
    );
    let (factory_ca, other_ca) = (world.path("factory"), world.path("other"));
    for dir in [&factory_ca, &other_ca] {
        certificates::ensure_all(dir, &[], &[]).unwrap();
    }
    let live = world.start().await;
    let (mut admin, mut factory, uncertified) = ready(&live).await;
    admin.ok("PUT", "/v1/keys/meter", &json!({"policy": {"certificate": true}})).await;
    let certified = |dir: &std::path::Path, device: &Device, name: &str| {
        let der = certificates::certify(dir, name, &public_key(device.attestation.verifying_key())).unwrap();
        let mut entry = device.entry("edge");
        entry["certificate"] = BASE64_STANDARD.encode(der).into();
        entry
    };
    let device = Device::new(0xd5);
    let name = device.id.to_string();
    factory.refused("PUT", &device.path(), &certified(&other_ca, &device, &name), 400, "malformed").await;
    factory.refused("PUT", &device.path(), &certified(&factory_ca, &device, "other"), 400, "malformed").await;
    factory.ok("PUT", &device.path(), &certified(&factory_ca, &device, &name)).await;
    release(&mut factory, &device, "meter", 1).await;
    let question = uncertified.asks("meter", &challenge(&mut factory).await, 1);
    assert_eq!(
        factory.refused("POST", "/v1/releases", &question, 403, "policy").await["rule"],
        "certificate"
    );
    live.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_and_health_are_there_and_a_stop_lets_requests_finish() {
    let world = World::new();
    let live = world.start().await;
    let (_, mut factory, device) = ready(&live).await;
    release(&mut factory, &device, "meter", 1).await;
    assert_eq!(live.operations("/healthz").await, (200, "ok\n".to_owned()));
    let (status, text) = live.operations("/metrics").await;
    assert_eq!(status, 200);
    for line in [
        "trustbox_keys_releases_total{key=\"meter\",protocol=\"trustbox\"} 1",
        "trustbox_keys_database_up 1",
        "trustbox_keys_vault_up 1",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    let document = factory.ok("GET", "/openapi.json", &Value::Null).await;
    assert_eq!(document["openapi"], "3.1.0");
    let question = device.asks("meter", &challenge(&mut factory).await, 2);
    let (address, running) = (live.running.addresses.main, live.running);
    let last = tokio::spawn(async move { factory.ok("POST", "/v1/releases", &question).await });
    tokio::time::sleep(Duration::from_millis(1)).await;
    running.stop().await;
    assert!(last.await.is_ok());
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

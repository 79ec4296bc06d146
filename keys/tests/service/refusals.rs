//! What clients may not, and what comes in wrong.

use crate::support::{Live, World, challenge, ready, release};
use crate::{denied, spki_of};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use trustbox_keys::ceremony::certificates;
use trustbox_keys::service::routes::ROUTES;
use trustbox_package::sign::public_key;

#[tokio::test(flavor = "multi_thread")]
async fn roles_may_what_the_table_says_and_nothing_else() {
    let world =
        World::with("sqlite:keys.db", "kind = \"sealed\"\nkey = \"store.key\"\n[limits]\nburst = 1000\n", "");
    let live = world.start().await;
    for (role, name) in crate::support::CLIENTS {
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
    // A certificate that is revoked, one that is no longer valid, and one of another CA.
    let pem = trustbox_keys::tls::certificates(&world.path("tls/factory-line-1/client.pem")).unwrap();
    let fingerprint = crate::support::sha256(&pem[0]).to_string();
    admin.ok("POST", &format!("/v1/clients/{fingerprint}/revoke"), &Value::Null).await;
    let mut factory = live.client("factory-line-1").await;
    factory.refused("GET", "/v1/devices", &Value::Null, 403, "client-revoked").await;
    let foreign = World::new();
    let folder = foreign.path("tls/admin-alice");
    std::fs::copy(world.path("tls/ca.pem"), folder.join("ca.pem")).unwrap();
    for folder in [folder, expired(&world)] {
        assert!(!answered(&live, &folder).await, "{}", folder.display());
    }
    let foreign = |record: &&Value| record["action"] == "tls" && record["outcome"] == "denied";
    // The handshake's end is written down after the client has it.
    let mut records = Vec::new();
    for _ in 0..50 {
        records = admin.audit().await.1;
        if records.iter().filter(foreign).count() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(!denied(&records, "client-revoked").is_empty() && !denied(&records, "role: ").is_empty());
    assert_eq!(
        records.iter().filter(foreign).count(),
        2,
        "no record of the foreign or the expired certificate"
    );
    live.running.stop().await;
}

async fn answered(live: &Live, folder: &Path) -> bool {
    let tls = trustbox_keys::client::identity(folder).unwrap();
    match trustbox_keys::client::Connection::open(&live.url, tls).await {
        Ok(mut connection) => connection.send("GET", Some("/v1/keys"), Vec::new(), &[]).await.is_ok(),
        Err(_) => false,
    }
}

/// A client with a certificate of the right CA that was valid until 2001.
fn expired(world: &World) -> PathBuf {
    let folder = world.path("tls/expired");
    let (key, ca) = (rcgen::KeyPair::generate().unwrap(), world.path("tls/ca.pem"));
    let pem = std::fs::read_to_string(world.path("tls/ca.key.pem")).unwrap();
    let pem = rcgen::KeyPair::from_pem(&pem).unwrap();
    let issuer = trustbox_keys::ceremony::certificates::issuer(pem);
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::OrganizationalUnitName, "admin");
    params.distinguished_name.push(rcgen::DnType::CommonName, "alice");
    params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    std::fs::create_dir(&folder).unwrap();
    std::fs::copy(ca, folder.join("ca.pem")).unwrap();
    std::fs::write(folder.join("client.pem"), params.signed_by(&key, &issuer).unwrap().pem()).unwrap();
    trustbox_keys::files::write_private(&folder.join("client.key.pem"), key.serialize_pem().as_bytes())
        .unwrap();
    folder
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
    let elliptic = public_key(device.attestation.verifying_key()).spki().to_vec();
    for key in [vec![], vec![0x30], device.device_key()[1..].to_vec(), spki_of(1024), spki_of(8192), elliptic]
    {
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
    assert!(denied(&records, "malformed").len() >= 9 && denied(&records, "device-key").len() == 6);
    assert!(denied(&records, "too-large").len() == 1);
    live.running.stop().await;
}

/// Half a body, and then nothing.
async fn slow_client(live: &Live, world: &World) {
    let folder = world.path("tls/factory-line-1");
    let tls = trustbox_keys::client::identity(&folder);
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

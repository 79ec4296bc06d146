//! Devices of old, and revocations: what others than the release are there for.

use crate::spki_of;
use crate::support::{World, plain, ready, release};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rsa::Pkcs1v15Encrypt;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use trustbox_api::Bytes;
use trustbox_api::statement::Revoked;
use trustbox_keys::issue;
use trustbox_package::sign::public_key;

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

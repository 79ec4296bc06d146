//! Who gets a key, and who does not.

use crate::denied;
use crate::support::{Device, World, challenge, from_hex, ready, release};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use trustbox_api::launch::Enclave;
use trustbox_api::message::ReportData;
use trustbox_api::{Bytes, Uuid};

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
    // An enclave's report over the challenge is no token of the device.
    let nonce = challenge(&mut factory).await;
    let mut reported = device.asks("meter", &nonce, 4);
    let enclave =
        Enclave { uuid: Uuid(Bytes([1; 16])), digest: Bytes([2; 32]), version: 3, publisher: Bytes([4; 32]) };
    let report = device.report(&from_hex(&nonce), enclave, &ReportData::default());
    reported["token"] = BASE64_STANDARD.encode(report).into();
    let problem = factory.refused("POST", "/v1/releases", &reported, 403, "evidence").await;
    assert!(problem["detail"].as_str().unwrap().contains("claim client-id"), "{problem}");
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
        async |client: &mut crate::support::Client, device: &Device, status: u16, kind: &str, rule: &str| {
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

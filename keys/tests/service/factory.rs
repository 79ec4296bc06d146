//! What the factory certifies, and who believes it.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use trustbox_api::Bytes;
use trustbox_api::launch::Enclave;
use trustbox_api::message::ReportData;

use crate::support::{Device, World, challenge, ready, release, sha256};

const SEALED: &str = "kind = \"sealed\"\nkey = \"store.key\"\n[limits]\nburst = 1000\n";
const FACTORY: &str = "factory-ca = \"factory-ca.pem\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_key_may_need_the_factorys_certificate() {
    let world = World::with("sqlite:keys.db", SEALED, FACTORY);
    let (own, other) = (world.factory(), World::new().factory());
    let live = world.start().await;
    let (mut admin, mut factory, uncertified) = ready(&live).await;
    admin.ok("PUT", "/v1/keys/meter", &json!({"policy": {"certificate": true}})).await;
    let (device, stranger) = (Device::new(0xd5), Device::new(0xd6));
    let entry = device.certified("edge", &own);
    let with = |field: &str, value: &Value| {
        let mut changed = entry.clone();
        changed[field] = value.clone();
        changed
    };
    let (foreign, others) = (device.certified("edge", &other), stranger.certified("edge", &own));
    for wrong in [
        with("certificate", &foreign["certificate"]),
        with("certificate", &others["certificate"]),
        with("certificate", &entry["device_key_certificate"]),
        with("device_key_certificate", &foreign["device_key_certificate"]),
        with("device_key_certificate", &entry["certificate"]),
        with("certificate", &"AAAA".into()),
    ] {
        factory.refused("PUT", &device.path(), &wrong, 400, "malformed").await;
    }
    let enrolled = factory.ok("PUT", &device.path(), &entry).await;
    assert_eq!(enrolled["device_key_certificate"], entry["device_key_certificate"]);
    assert_eq!(factory.ok("GET", &device.path(), &Value::Null).await, enrolled);
    release(&mut factory, &device, "meter", 1).await;
    let question = uncertified.asks("meter", &challenge(&mut factory).await, 1);
    let problem = factory.refused("POST", "/v1/releases", &question, 403, "policy").await;
    assert_eq!(problem["rule"], "certificate");
    live.running.stop().await;
}

fn asked(device: &Device, nonce: &[u8; 32], more: Value) -> Value {
    let token = BASE64_STANDARD.encode(device.token(nonce));
    let mut question = json!({"token": token, "nonce": Bytes(*nonce).to_string()});
    question.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    question
}

fn result(answer: &Value) -> (String, Vec<(String, String)>) {
    let result = &answer["submods"]["trustbox"];
    let finding = |found: &Value| {
        let text = |name: &str| found[name].as_str().unwrap().to_owned();
        (text("claim"), text("tier"))
    };
    let findings = result["findings"].as_array().unwrap().iter().map(finding).collect();
    (result["ear.status"].as_str().unwrap().to_owned(), findings)
}

#[tokio::test(flavor = "multi_thread")]
async fn anybody_with_a_role_may_have_a_token_verified() {
    let world = World::with("sqlite:keys.db", SEALED, FACTORY);
    let (own, other) = (world.factory(), World::new().factory());
    let live = world.start().await;
    let mut admin = live.client("admin-alice").await;
    let mut auditor = live.client("auditor-carol").await;
    let (device, nonce) = (Device::new(0xd7), [7; 32]);
    let entry = device.certified("edge", &own);
    let certificate = json!({"certificate": entry["certificate"]});
    let question = asked(&device, &nonce, certificate.clone());
    let tier = |answer: &Value, claim: &str| {
        let found = result(answer).1.into_iter().find(|(name, _)| name == claim);
        found.map(|(_, tier)| tier).unwrap_or_default()
    };
    // The certificate alone will do; the registry knows nothing of the device, and says so.
    let answer = auditor.ok("POST", "/v1/verify", &question).await;
    assert_eq!(result(&answer).0, "warning", "{answer}");
    assert_eq!(
        (tier(&answer, "certificate"), tier(&answer, "token")),
        ("affirming".into(), "affirming".into())
    );
    assert_eq!(tier(&answer, "device-state"), "warning");
    admin.ok("PUT", &device.path(), &entry).await;
    let implementation = sha256(b"TrustBox implementation\0board").to_string();
    let measured = |kind: &str| json!({"type": kind, "measurements": ["08".repeat(32)], "required": true});
    let reference = json!({"implementation-ids": [implementation], "lifecycles": [0x3000], "rollback-protection": true,
        "unique-hardware-key": true, "min-security-epoch": 3, "components": [measured("optee"), measured("trustbox")]});
    let mut strict = question.clone();
    strict["reference"] = reference.clone();
    let answer = auditor.ok("POST", "/v1/verify", &strict).await;
    assert_eq!(
        (tier(&answer, "device-state"), tier(&answer, "optee")),
        ("affirming".into(), "affirming".into())
    );
    let mut byte = strict.clone();
    byte["reference"]["components"][1]["measurements"] = json!(["09".repeat(32)]);
    let answer = auditor.ok("POST", "/v1/verify", &byte).await;
    assert_eq!(
        (result(&answer).0.as_str(), tier(&answer, "trustbox")),
        ("contraindicated", "contraindicated".into())
    );
    // An enclave's report is verified by the same question, and says which enclave vouches for what.
    let uuid = trustbox_api::Uuid(Bytes([1; 16]));
    let enclave = Enclave { uuid, digest: Bytes([2; 32]), version: 3, publisher: Bytes([4; 32]) };
    let data = ReportData { bytes: b"total=3".iter().copied().collect(), transport_key: None };
    let mut report = strict.clone();
    report["token"] = BASE64_STANDARD.encode(device.report(&nonce, enclave, &data)).into();
    report["reference"]["components"].as_array_mut().unwrap().push(
        json!({"type": uuid.to_string(), "measurements": ["02".repeat(32)], "signer": "04".repeat(32), "required": true}),
    );
    let answer = auditor.ok("POST", "/v1/verify", &report).await;
    assert_eq!(
        (tier(&answer, "token"), tier(&answer, &uuid.to_string())),
        ("affirming".into(), "affirming".into())
    );
    assert_eq!(
        (&answer["enclave"]["version"], &answer["enclave"]["data"]),
        (&json!(3), &json!("746f74616c3d33"))
    );
    // By the registry, without a certificate.
    let id = json!({"device_id": device.id.to_string()});
    let answer = auditor.ok("POST", "/v1/verify", &asked(&device, &nonce, id.clone())).await;
    assert_eq!(
        (tier(&answer, "certificate"), tier(&answer, "token")),
        ("affirming".into(), "affirming".into())
    );
    assert_eq!(answer["device_id"], device.id.to_string());
    // Everything that is wrong with it is a result.
    let impostor = Device { attestation: trustbox_keys::files::generate().unwrap(), ..device.clone() };
    let foreign = device.certified("edge", &other);
    let mut replayed = question.clone();
    replayed["nonce"] = "08".repeat(32).into();
    let unknown = json!({"device_id": "ee".repeat(32)});
    for (question, claim) in [
        (asked(&impostor, &nonce, certificate.clone()), "token"),
        (asked(&impostor, &nonce, id.clone()), "token"),
        (replayed, "token"),
        (asked(&device, &nonce, json!({"certificate": foreign["certificate"]})), "certificate"),
        (
            asked(
                &device,
                &nonce,
                json!({"certificate": entry["certificate"], "device_id": "ee".repeat(32)}),
            ),
            "certificate",
        ),
        (asked(&device, &nonce, unknown), "certificate"),
    ] {
        let answer = auditor.ok("POST", "/v1/verify", &question).await;
        assert_eq!(
            (result(&answer).0.as_str(), tier(&answer, claim)),
            ("contraindicated", "contraindicated".into())
        );
    }
    let change = json!({"state": "revoked", "reason": "a test"});
    admin.ok("POST", &format!("{}/state", device.path()), &change).await;
    let answer = auditor.ok("POST", "/v1/verify", &question).await;
    assert_eq!(tier(&answer, "device-state"), "contraindicated");
    assert_eq!((result(&answer).0.as_str(), tier(&answer, "token")), ("contraindicated", "affirming".into()));
    for bad in
        [json!({"token": "%"}), json!({"nonce": "0"}), json!({"certificate": "%"}), json!({"reference": 1})]
    {
        let mut changed = question.clone();
        changed.as_object_mut().unwrap().extend(bad.as_object().unwrap().clone());
        auditor.refused("POST", "/v1/verify", &changed, 400, "malformed").await;
    }
    let nobody = json!({"token": "", "nonce": ""});
    auditor.refused("POST", "/v1/verify", &nobody, 400, "malformed").await;
    live.running.stop().await;
}

//! Content keys of packages, wrapped under a class key that stays in the service.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use trustbox_api::key::{KeyId, KeyRef, Name};
use trustbox_api::manifest::Terms;
use trustbox_api::message::Version;
use trustbox_api::statement::{Audience, FORMAT, Header, Kind};
use trustbox_api::{Bytes, wire};
use trustbox_package::Package;

use crate::denied;
use crate::support::package::{image, opened, pack, root};
use crate::support::{World, ready, release};

const LIMITS: &str = "kind = \"sealed\"\nkey = \"store.key\"\n[limits]\nburst = 1000\n";
const PATH: &str = "/v1/keys/meter/content-keys";

/// Header and terms of a package under an owner root, for a class key.
fn manifest(root: KeyId, key: &str, version: u32) -> Vec<u8> {
    let terms = Terms {
        publisher: Bytes([4; 32]),
        uuid: "01010101-0101-0101-0101-010101010101".parse().unwrap(),
        name: Name::try_from("meter").unwrap(),
        version: 7,
        min_optee: Version(4, 10, 0),
        min_ta: Version(0, 1, 0),
        size: 1,
        ciphertext_sha256: Bytes([1; 32]),
        plaintext_sha256: Bytes([2; 32]),
        nonce: Bytes([3; 12]),
        tag: Bytes([5; 16]),
        class_key: KeyRef::new(key, version).unwrap(),
    };
    let header =
        Header { kind: Kind::Manifest, format: FORMAT, root, audience: Audience::Fleet, sequence: 7 };
    [encode(&header), encode(&terms)].concat()
}

fn encode(message: &impl serde::Serialize) -> Vec<u8> {
    let mut buffer = [0; 1024];
    wire::encode(message, &mut buffer).unwrap().to_vec()
}

fn question(manifest: &[u8]) -> Value {
    json!({"manifest": BASE64_STANDARD.encode(manifest), "content_key": BASE64_STANDARD.encode([9; 32])})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_is_made_without_its_class_key_and_a_device_opens_it() {
    let world = World::with("sqlite:keys.db", LIMITS, "");
    let live = world.start().await;
    let (mut admin, mut factory, device) = ready(&live).await;
    let packed = pack(&live, &world, "build-agent-builder").await.unwrap();
    // What a device gets opens what was packed: the same class key, which was in no other hands.
    let bundle = release(&mut factory, &device, "meter", 1).await;
    let (_, key) = device.open(bundle["bundle"].as_str().unwrap(), &world.keys);
    assert_eq!(opened(&packed, &key), image());
    let package = Package::read(&packed).unwrap();
    let terms = package.trusted().unwrap().terms().clone();
    let refused = pack(&live, &world, "factory-line-1").await.unwrap_err().to_string();
    assert!(refused.contains("refused, number 4: "), "{refused}");
    let (_, records) = admin.audit().await;
    let wrapped: Vec<_> = records.iter().filter(|record| record["action"] == "wrap-content-key").collect();
    assert_eq!(wrapped.len(), 2);
    assert_eq!((&wrapped[0]["outcome"], &wrapped[1]["outcome"]), (&"allowed".into(), &"denied".into()));
    assert_eq!(wrapped[0]["object"], format!("key meter application {} version 3", terms.uuid));
    assert_eq!(wrapped[0]["reason"], format!("image {}", terms.plaintext_sha256));
    assert!(wrapped[0]["actor"].as_str().unwrap().starts_with("build-agent:builder:"));
    live.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rule_for_packages_refuses_by_its_name() {
    let world = World::with("sqlite:keys.db", LIMITS, "");
    let live = world.start().await;
    let (mut admin, ..) = ready(&live).await;
    let mut agent = live.client("build-agent-builder").await;
    let good = question(&manifest(root(&world), "meter", 1));
    let first = agent.ok("POST", PATH, &good).await;
    // The nonce is the service's own, and never the same.
    let second = agent.ok("POST", PATH, &good).await;
    assert!(first["wrapped"] != second["wrapped"] && first["version"] == 1);
    let foreign = question(&manifest(Bytes([1; 32]), "meter", 1));
    let problem = agent.refused("POST", PATH, &foreign, 403, "policy").await;
    assert_eq!(problem["rule"], "owner-root");
    for (policy, rule) in [
        (json!({"packages": {"agents": ["other"]}}), "package:agent"),
        (json!({"packages": {"publishers": ["00"]}}), "package:publisher"),
        (json!({"packages": {"applications": ["00"]}}), "package:application"),
        (json!({"not-after": 1000}), "time"),
    ] {
        admin.ok("PUT", "/v1/keys/meter", &json!({"policy": policy})).await;
        assert_eq!(agent.refused("POST", PATH, &good, 403, "policy").await["rule"], rule);
    }
    let (id, uuid) = ("04".repeat(32), "01010101-0101-0101-0101-010101010101");
    let packages = json!({"agents": ["builder"], "publishers": [id], "applications": [uuid]});
    admin.ok("PUT", "/v1/keys/meter", &json!({"policy": {"packages": packages}})).await;
    agent.ok("POST", PATH, &good).await;
    admin.ok("POST", "/v1/keys/meter/versions", &json!({})).await;
    assert_eq!(agent.refused("POST", PATH, &good, 403, "policy").await["detail"], "version 1 is retired");
    let newest = question(&manifest(root(&world), "meter", 2));
    assert_eq!(agent.ok("POST", PATH, &newest).await["version"], 2);
    let none = question(&manifest(root(&world), "none", 1));
    agent.refused("POST", "/v1/keys/none/content-keys", &none, 404, "not-found").await;
    let (_, records) = admin.audit().await;
    for rule in ["rule owner-root", "rule package:agent", "rule package:application", "rule version"] {
        assert_eq!(denied(&records, rule).len(), 1, "{rule}");
    }
    // The content key is in nothing that was written.
    assert!(!serde_json::to_string(&records).unwrap().contains(&BASE64_STANDARD.encode([9; 32])));
    live.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_manifest_is_wrapped_for_nobody() {
    let world = World::with("sqlite:keys.db", LIMITS, "");
    let live = world.start().await;
    let (mut admin, ..) = ready(&live).await;
    let mut agent = live.client("build-agent-builder").await;
    let front = manifest(root(&world), "meter", 1);
    let mut bodies = vec![json!({}), question(&[]), question(&[&front[..], b"more"].concat())];
    bodies.extend((1..front.len()).step_by(11).map(|cut| question(&front[..cut])));
    bodies.push(question(&manifest(root(&world), "other", 1)));
    let header = Header {
        kind: Kind::Policy,
        format: FORMAT,
        root: root(&world),
        audience: Audience::Fleet,
        sequence: 7,
    };
    let (own, header) = (encode(&Header { kind: Kind::Manifest, ..header }), encode(&header));
    bodies.push(question(&[&header, &front[own.len()..]].concat()));
    let mut short = question(&front);
    short["content_key"] = BASE64_STANDARD.encode([9; 31]).into();
    bodies.push(short);
    for body in &bodies {
        let problem = agent.refused("POST", PATH, body, 400, "malformed").await;
        assert!(!problem["detail"].as_str().unwrap().contains("CQkJ"), "{problem}");
    }
    let (_, records) = admin.audit().await;
    assert_eq!(denied(&records, "malformed").len(), bodies.len());
    live.running.stop().await;
}

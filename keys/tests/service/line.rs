//! What stations report, and who has a device in hand.

use serde_json::json;
use trustbox_keys::files;
use trustbox_keys::service::now;
use trustbox_keys::station::report::Report;

use crate::support::line::{report, signed};
use crate::support::{Device, World};

const SEALED: &str = "kind = \"sealed\"\nkey = \"store.key\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_taken_once_and_only_from_the_factory() {
    let world = World::with("sqlite:keys.db", SEALED, "factory-ca = \"factory-ca.pem\"\n");
    world.factory();
    let live = world.start().await;
    let (mut factory, mut admin) = (live.client("factory-line-1").await, live.client("admin-alice").await);
    let device = Device::new(1);
    let passed = report(&world, &device, "line 1", None, now() - 100);
    let first = factory.ok("POST", "/v1/reports", &signed(&world, &passed)).await;
    assert_eq!(first["new"], true);
    // ES256 signs anew each time: the same report is the same, whatever its signature.
    for _ in 0..2 {
        let again = factory.ok("POST", "/v1/reports", &signed(&world, &passed)).await;
        assert_eq!((&again["new"], &again["report"]), (&json!(false), &first["report"]));
    }
    let stranger = files::generate().unwrap();
    let foreign = json!({"report": String::from_utf8(passed.sign(&stranger).unwrap()).unwrap()});
    factory.refused("POST", "/v1/reports", &foreign, 400, "malformed").await;
    let other = Report { device_id: Device::new(2).id.to_string(), ..passed.clone() };
    factory.refused("POST", "/v1/reports", &signed(&world, &other), 400, "malformed").await;
    let neither =
        Report { failure: report(&world, &device, "x", Some("link"), 100).failure, ..passed.clone() };
    factory.refused("POST", "/v1/reports", &signed(&world, &neither), 400, "malformed").await;
    factory.refused("POST", "/v1/reports", &json!({"report": "{}"}), 400, "malformed").await;
    live.client("auditor-carol").await.refused("POST", "/v1/reports", &foreign, 403, "role").await;
    let (_, records) = admin.audit().await;
    let taken =
        records.iter().filter(|record| record["action"] == "report" && record["outcome"] == "allowed");
    assert_eq!(taken.count(), 1);
    live.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_in_the_hand_of_one_station() {
    let world = World::with("sqlite:keys.db", SEALED, "factory-ca = \"factory-ca.pem\"\n");
    world.factory();
    let live = world.start().await;
    let mut factory = live.client("factory-line-1").await;
    let device = Device::new(3);
    let path = format!("{}/claim", device.path());
    let claim = |station: &str, step: &str| json!({"station": station, "sku": "edge", "step": step});
    factory.ok("POST", &path, &claim("one@a", "identify")).await;
    factory.ok("POST", &path, &claim("one@a", "certify")).await;
    let problem = factory.refused("POST", &path, &claim("two@b", "identify"), 409, "conflict").await;
    assert!(problem["detail"].as_str().unwrap().starts_with("one@a has the device"), "{problem}");
    factory.refused("POST", &path, &claim("", "identify"), 400, "malformed").await;
    live.client("auditor-carol").await.refused("POST", &path, &claim("x", "y"), 403, "role").await;
    // What became of it ends the claim; a report of before does not.
    let old = report(&world, &device, "one", Some("link"), now() - 1000);
    factory.ok("POST", "/v1/reports", &signed(&world, &old)).await;
    factory.refused("POST", &path, &claim("two@b", "identify"), 409, "conflict").await;
    let done = report(&world, &device, "one", None, now());
    factory.ok("POST", "/v1/reports", &signed(&world, &done)).await;
    factory.ok("POST", &path, &claim("two@b", "identify")).await;
    live.running.stop().await;
}

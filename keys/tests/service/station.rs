//! The station against everything that goes wrong on a line, with the real service and the TA's own code: each failure has a name and
//! says what to do next, and once it is mended the same device passes.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use trustbox_api::message::Huk;
use trustbox_core::fake::Device as Fake;
use trustbox_keys::dev::Role;
use trustbox_keys::files;
use trustbox_keys::service::now;
use trustbox_keys::station::journal::{self, Journal, State};
use trustbox_keys::station::returned::Order;
use trustbox_keys::station::signed::{RECEIPT, RETURN, VOUCHER};
use trustbox_keys::station::{How, Progress};
use trustbox_package::sign::public_key;

use crate::support::bench::{Bench, WHOLE};
use crate::support::factory_line::Line;

fn as_it_is(_: &Fake) {}

#[tokio::test(flavor = "multi_thread")]
async fn a_cable_that_is_pulled_at_any_point_costs_a_second_run_and_nothing_else() {
    let line = Line::new().await;
    let whole = Bench::new(&line.world, 1, as_it_is);
    line.passes(&whole).await;
    let commands = whole.asked.load(std::sync::atomic::Ordering::Relaxed);
    assert!(commands > 20, "{commands}");
    let points: Vec<usize> = (0..commands - 1).collect();
    for after in points.iter().copied() {
        let bench = Bench::new(&line.world, 10 + u8::try_from(after).unwrap(), as_it_is);
        bench.pull_after(after);
        let failed = line.run("station.toml", &bench).await;
        // The last commands give the lease back: nobody waits for them.
        if let Err(failure) = failed {
            assert!(
                !failure.help.is_empty() && failure.what.contains("the device is gone"),
                "{after}: {failure}"
            );
        }
        bench.pull_after(WHOLE);
        line.passes(&bench).await;
    }
    let entries = journal::entries(&line.world.path("journal")).unwrap();
    assert!(entries.len() == points.len() + 1 && entries.iter().all(|entry| entry.state == State::Passed));
    // Every run is in the outbox, and the registry takes each of them once.
    let sent = line.sync("station.toml").await;
    assert!(sent.refused.is_empty() && sent.taken > points.len(), "{sent:?}");
    assert_eq!(line.sync("station.toml").await, trustbox_keys::station::outbox::Sent::default());
    line.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_that_are_not_for_this_line_are_named() {
    let line = Line::new().await;
    let bench = |number, change: fn(&Fake)| Bench::new(&line.world, number, change);
    for huk in [Huk::Stub, Huk::TestKey] {
        let number = 1 + huk as u8;
        let stub =
            Bench::new(&line.world, number, move |device| device.set(|world| world.platform.huk = huk));
        line.fails(&stub, "identify", "hardware-key").await;
    }
    let firmware = bench(20, |device| {
        device.set(|world| world.platform.provisioning_authority = trustbox_api::Bytes([7; 32]))
    });
    line.fails(&firmware, "identify", "firmware").await;
    // Firmware that measures otherwise than the reference values say.
    let other = bench(21, as_it_is);
    let expected = "lifecycles = [0x3000]\n[[components]]\ntype = \"trustbox\"\nmeasurements = [\"0000000000000000000000000000000000000000000000000000000000000000\"]\nrequired = true\n";
    let good = fs::read(line.world.path("expected.toml")).unwrap();
    fs::write(line.world.path("expected.toml"), expected).unwrap();
    assert!(line.fails(&other, "certify", "certificate").await.what.contains("trustbox"));
    fs::write(line.world.path("expected.toml"), good).unwrap();
    line.passes(&other).await;
    // Another owner's line, and a journal that was lost.
    let root = files::generate().unwrap();
    files::store_public(&line.world.path("other-root.pub.pem"), &root).unwrap();
    let text = fs::read_to_string(line.world.path("station.toml")).unwrap();
    let own = format!("{:?}", line.world.keys.public_path(Role::OwnerRoot));
    fs::write(line.world.path("foreign.toml"), text.replace(&own, "\"other-root.pub.pem\"")).unwrap();
    assert_eq!(line.run("foreign.toml", &other).await.unwrap_err().name, "foreign-owner");
    line.configure("lost.toml", "line 1", "lost", "");
    let failure = line.run("lost.toml", &other).await.unwrap_err();
    assert_eq!((failure.step, failure.name), ("identify", "already-provisioned"));
    line.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_serial_number_is_of_one_device() {
    let line = Line::new().await;
    let (bench, other) = (Bench::new(&line.world, 1, as_it_is), crate::support::Device::new(9));
    bench.pull_after(8);
    line.run("station.toml", &bench).await.unwrap_err();
    bench.pull_after(WHOLE);
    let id = line.entry(0).device_id;
    // Somebody else is in the registry under the same id.
    let mut factory = line.live.as_ref().unwrap().client("factory-line-1").await;
    factory.ok("PUT", &format!("/v1/devices/{id}"), &other.entry("edge")).await;
    line.fails(&bench, "enrol", "duplicate-serial").await;
    // What such a device reports is refused by the registry, and stays where somebody sees it.
    let sent = line.sync("station.toml").await;
    assert!(!sent.refused.is_empty() && sent.refused.iter().all(|(path, _)| path.exists()), "{sent:?}");
    // The device has other keys than the journal knows.
    let wiped = Bench::new(&line.world, 2, as_it_is);
    line.passes(&wiped).await;
    let entries = journal::entries(&line.world.path("journal")).unwrap();
    let passed = entries.iter().find(|entry| entry.state == State::Passed).unwrap().device_id.clone();
    let path = line.world.path(&format!("journal/{passed}.json"));
    let mut entry: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    entry["entry"]["attestation_key"] = other.entry("edge")["attestation_key"].clone();
    fs::write(&path, entry.to_string()).unwrap();
    assert!(line.fails(&wiped, "certify", "certificate").await.what.contains("wiped"));
    line.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_a_vault_or_a_disk_that_is_gone_is_named_and_comes_back() {
    let mut line = Line::new().await;
    let bench = Bench::new(&line.world, 1, as_it_is);
    // The key may not go to a device that is not locked yet: the policy's word, through the station.
    let mut admin = line.live.as_ref().unwrap().client("admin-alice").await;
    admin.ok("PUT", "/v1/keys/meter", &json!({"policy": {}})).await;
    assert!(line.fails(&bench, "keys", "class-keys").await.what.contains("evidence"));
    let mut admin = line.live.as_ref().unwrap().client("admin-alice").await;
    let policy = json!({"policy": {"evidence": {"lifecycles": [0x2000]}}});
    admin.ok("PUT", "/v1/keys/meter", &policy).await;
    drop(admin);
    // The service is gone, before a device and in its middle: at the challenge, at the release, once the device is locked.
    line.live.take().unwrap().running.stop().await;
    let failure = line.fails(&bench, "identify", "registry").await;
    assert!(failure.what.contains("cannot connect") && failure.help.contains("key service"), "{failure}");
    for (words, step) in [
        ("trustbox provision", "provision"),
        ("trustbox key import --request", "keys"),
        ("trustbox lock --request", "lock"),
    ] {
        line.again().await;
        bench.when(words, line.service_goes());
        line.fails(&bench, step, "registry").await;
    }
    line.again().await;
    line.passes(&bench).await;
    // A journal that takes nothing: here a file is where its folder belongs, so that root notices too.
    fs::write(line.world.path("full"), "").unwrap();
    line.configure("full.toml", "line 1", "full", "");
    let failure = line.run("full.toml", &Bench::new(&line.world, 2, as_it_is)).await.unwrap_err();
    assert_eq!((failure.name, failure.help.contains("space")), ("journal", true), "{failure}");
    line.stop().await;
}

/// A station's own clock is set wrong in `build/tb test --only station`.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_wrong_is_named() {
    let line = Line::new().await;
    line.configure("offline.toml", "line 3", "journal", "offline = true");
    let bench = Bench::new(&line.world, 1, as_it_is);
    line.run("offline.toml", &bench).await.unwrap();
    // Without a service, a journal of tomorrow says that it is not today.
    let path = line.world.path(&format!("journal/{}.json", line.entry(0).device_id));
    let good = fs::read(&path).unwrap();
    let mut entry: Value = serde_json::from_slice(&good).unwrap();
    entry["time"] = (now() + 86_400).into();
    fs::write(&path, entry.to_string()).unwrap();
    for _ in 0..2 {
        let failure = line.run("offline.toml", &bench).await.unwrap_err();
        assert_eq!((failure.step, failure.name), ("identify", "clock"), "{failure}");
    }
    // With one, that is asked: the clock is right. A locked device gets no class keys any more, but that is another failure.
    line.fails(&bench, "keys", "class-keys").await;
    fs::write(&path, good).unwrap();
    line.run("offline.toml", &bench).await.unwrap();
    // The service's clock is behind its audit log.
    sqlx::any::install_default_drivers();
    let pool = sqlx::AnyPool::connect(&line.world.config().database).await.unwrap();
    let later = i64::try_from(now()).unwrap() + 86_400;
    sqlx::query("UPDATE audit_head SET time = $1").bind(later).execute(&pool).await.unwrap();
    pool.close().await;
    let other = Bench::new(&line.world, 2, as_it_is);
    let failure = line.fails(&other, "enrol", "clock").await;
    assert!(failure.help.contains("key service"), "{failure}");
    line.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_stations_one_has_the_device() {
    let line = Line::new().await;
    line.configure("second.toml", "line 2", "second", "");
    let bench = Bench::new(&line.world, 1, as_it_is);
    // The first one is gone, but not for long: its lease on device and registry stands.
    bench.pull_after(12);
    line.run("station.toml", &bench).await.unwrap_err();
    bench.pull_after(WHOLE);
    let failure = line.run("second.toml", &bench).await.unwrap_err();
    assert_eq!(failure.name, "claimed");
    assert!(failure.what.contains("line-1@") && failure.help.contains("lease"), "{failure}");
    assert_eq!(line.station("second.toml").sync().map(|sent| sent.taken).unwrap_or_default(), 0);
    // On one machine, the journal's lock says so.
    let id = line.entry(0).device_id;
    let held = Journal::claim(&line.world.path("journal"), &id, "line 1").unwrap().unwrap();
    line.fails(&bench, "identify", "claimed").await;
    drop(held);
    line.passes(&bench).await;
    line.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_without_its_service_passes_and_reports_later() {
    let line = Line::new().await;
    line.configure("offline.toml", "line 3", "journal", "offline = true");
    let bench = Bench::new(&line.world, 1, as_it_is);
    line.run("offline.toml", &bench).await.unwrap();
    let id = line.entry(0).device_id;
    let mut admin = line.live.as_ref().unwrap().client("admin-alice").await;
    let path = format!("/v1/devices/{id}");
    admin.refused("GET", &path, &Value::Null, 404, "not-found").await;
    // Somebody changes what is carried: it is not taken.
    let outbox = line.world.path("journal/outbox");
    let file = fs::read_dir(&outbox).unwrap().next().unwrap().unwrap().path();
    let good = fs::read_to_string(&file).unwrap();
    fs::write(&file, good.replace("line 3", "line 4")).unwrap();
    let sent = line.sync("offline.toml").await;
    assert!(sent.taken == 0 && sent.refused[0].1.contains("does not verify"), "{sent:?}");
    fs::write(&file, good).unwrap();
    assert_eq!(line.sync("offline.toml").await.taken, 1);
    let mut admin = line.live.as_ref().unwrap().client("admin-alice").await;
    assert_eq!(admin.ok("GET", &path, &Value::Null).await["state"], "enrolled");
    assert!(fs::read_dir(Path::new(&outbox)).unwrap().next().is_none());
    drop(admin);
    line.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_comes_back_is_erased_first_and_made_anew_with_a_trace() {
    let line = Line::new().await;
    let (bench, root) = (Bench::new(&line.world, 1, as_it_is), &line.world.keys.owner_root);
    line.passes(&bench).await;
    line.sync("station.toml").await;
    let id = line.entry(0).device_id;
    let voucher = line.world.path(&format!("journal/{id}.voucher.json"));
    let first = VOUCHER.fingerprint(&fs::read(&voucher).unwrap()).unwrap().to_string();
    let order =
        Order { device_id: id.clone(), voucher: first.clone(), reason: "no power".to_owned(), time: 1 };
    let (good, other) = (order.sign(root).unwrap(), Order { voucher: "00".repeat(32), ..order.clone() });
    let take_back = async |file: &[u8]| {
        let (station, place, file) = (line.station("station.toml"), bench.place.clone(), file.to_vec());
        let root = root.clone();
        tokio::task::spawn_blocking(move || station.take_back(&place, &file, &root)).await.unwrap()
    };
    // Neither another signature nor another voucher opens a device.
    for wrong in [order.sign(&files::generate().unwrap()).unwrap(), other.sign(root).unwrap()] {
        assert_eq!(take_back(&wrong).await.unwrap_err().name, "return");
    }
    assert!(!line.world.path(&format!("journal/{id}.returned.json")).exists());
    take_back(&good).await.unwrap();
    take_back(&good).await.unwrap();
    let receipt = fs::read(line.world.path(&format!("journal/{id}.returned.json"))).unwrap();
    let receipt = RECEIPT.verify(&receipt, &public_key(line.world.keys.factory_ca.verifying_key())).unwrap();
    assert_eq!((&receipt["lifecycle"], &receipt["device_id"]), (&json!("decommissioned"), &json!(id)));
    line.fails(&bench, "identify", "decommissioned").await;
    // Repaired: the same chip with a blank storage. Its new keys are shown by a journal that knows other ones.
    fs::rename(line.world.path("bench-1"), line.world.path("bench-before")).unwrap();
    let repaired = Bench::new(&line.world, 1, as_it_is);
    let path = line.world.path(&format!("journal/{id}.json"));
    let mut entry: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    entry["entry"]["attestation_key"] =
        crate::support::Device::new(9).entry("edge")["attestation_key"].clone();
    fs::write(&path, entry.to_string()).unwrap();
    line.fails(&repaired, "certify", "certificate").await;
    // The registry lets it in again on the owner's word alone, and only after its end.
    let mut admin = line.live.as_ref().unwrap().client("admin-alice").await;
    let (at, text) = (format!("/v1/devices/{id}"), String::from_utf8(good.clone()).unwrap());
    let asked = json!({"order": text});
    admin.refused("POST", &format!("{at}/return"), &asked, 409, "conflict").await;
    let change = json!({"state": "decommissioned", "reason": "came back"});
    admin.ok("POST", &format!("{at}/state"), &change).await;
    let foreign =
        json!({"order": String::from_utf8(order.sign(&files::generate().unwrap()).unwrap()).unwrap()});
    admin.refused("POST", &format!("{at}/return"), &foreign, 400, "malformed").await;
    admin.ok("POST", &format!("{at}/return"), &asked).await;
    let (mut station, place) = (line.station("station.toml"), repaired.place.clone());
    station.take_returned(&good).unwrap();
    let again =
        move || station.run(&[("bench".to_owned(), place)], &Progress::new(How::Json)).pop().unwrap().result;
    tokio::task::spawn_blocking(again).await.unwrap().unwrap();
    let says =
        VOUCHER.verify(&fs::read(&voucher).unwrap(), &public_key(line.world.keys.factory_ca.verifying_key()));
    let says = says.unwrap();
    assert_eq!(says["previous"], first);
    assert_eq!(says["returned"], json!([RETURN.fingerprint(&good).unwrap().to_string()]));
    // An order is good for one return.
    line.sync("station.toml").await;
    // A connection that is idle for long is closed: under load that was long.
    let mut admin = line.live.as_ref().unwrap().client("admin-alice").await;
    admin.ok("POST", &format!("{at}/state"), &change).await;
    admin.refused("POST", &format!("{at}/return"), &asked, 409, "conflict").await;
    drop(admin);
    line.stop().await;
}

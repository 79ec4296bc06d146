//! The line's page: who may look, what is refused, what it shows.

use serde_json::json;
use sha2::{Digest, Sha256};
use trustbox_api::Bytes;
use trustbox_keys::service::identity::Role;
use trustbox_keys::service::now;
use trustbox_keys::service::page::users::Users;

use crate::support::browser::Browser;
use crate::support::line::{report, signed};
use crate::support::{Device, Live, World};

const SEALED: &str =
    "kind = \"sealed\"\nkey = \"store.key\"\n[page]\nlisten = \"127.0.0.1:0\"\nusers = \"users.json\"\n";
const PASSWORD: &str = "correct horse battery";

async fn world(limits: &str) -> (World, Live) {
    let tables = format!("{SEALED}{limits}");
    let world = World::with("sqlite:keys.db", &tables, "factory-ca = \"factory-ca.pem\"\n");
    world.factory();
    let mut users = Users::default();
    users.add("carol", Role::Auditor, PASSWORD).unwrap();
    users.add("fred", Role::Factory, PASSWORD).unwrap();
    users.write(&world.path("users.json")).unwrap();
    let live = world.start().await;
    (world, live)
}

fn code(world: &World, name: &str, time: u64) -> String {
    Users::read(&world.path("users.json")).unwrap().find(name).unwrap().code(time).unwrap()
}

async fn browser(world: &World, live: &Live, client: Option<&str>) -> Browser {
    Browser::open(live.running.addresses.page.unwrap().port(), &world.path("tls"), client).await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_logged_in_sees_nothing() {
    let (world, live) = world("").await;
    let mut anybody = browser(&world, &live, None).await;
    for path in ["/", "/devices", "/failures", "/yields", "/vouchers", "/audit", "/vouchers/00/label.svg"] {
        let page = anybody.get(path).await;
        assert_eq!((page.status, page.header("location")), (303, "/login"), "{path}");
    }
    let page = anybody.get("/login").await;
    let policy = page.header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'")
            && !policy.contains("unsafe")
            && !page.text.contains("<script")
    );
    for (name, value) in
        [("x-content-type-options", "nosniff"), ("cache-control", "no-store"), ("x-frame-options", "DENY")]
    {
        assert_eq!(page.header(name), value);
    }
    let cookie = page.header("set-cookie").to_owned();
    assert!(
        cookie.starts_with("__Host-visit=")
            && cookie.ends_with("Path=/; Max-Age=3600; Secure; HttpOnly; SameSite=Strict")
    );
    assert!(!page.text.contains("Continue as"));
    assert_eq!(anybody.get("/nothing").await.status, 404);
    assert_eq!(anybody.get("/style.css").await.header("content-type"), "text/css");
    // A device's certificate, or a build agent's, is none for looking.
    let mut agent = browser(&world, &live, Some("build-agent-builder")).await;
    assert!(!agent.get("/login").await.text.contains("Continue as"));
    assert_eq!(agent.by_certificate().await.status, 403);
    live.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_logs_in_and_its_session_takes_it() {
    let (world, live) = world("").await;
    let mut alice = browser(&world, &live, Some("admin-alice")).await;
    assert!(alice.get("/login").await.text.contains("Continue as alice"));
    let page = alice.by_certificate().await;
    assert_eq!((page.status, page.header("location")), (303, "/"));
    let page = alice.get("/").await;
    assert!(page.status == 200 && page.text.contains("alice, admin"));
    // The cookie alone is worth nothing, neither without a certificate nor with another.
    for client in [None, Some("admin-bob")] {
        let mut thief = browser(&world, &live, client).await;
        thief.cookies = alice.cookies.clone();
        assert_eq!(thief.get("/").await.status, 303);
    }
    // Out is out, also for who kept the cookie.
    let (form, kept) = (page.form(), alice.cookies.clone());
    assert_eq!(alice.post("/logout", "form=00").await.status, 403);
    assert_eq!(alice.get("/").await.status, 200);
    assert_eq!(alice.post("/logout", &format!("form={form}")).await.status, 303);
    alice.cookies = kept;
    assert_eq!(alice.get("/").await.status, 303);
    live.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_takes_a_code_that_is_good_once() {
    let (world, live) = world("").await;
    let mut carol = browser(&world, &live, None).await;
    let good = code(&world, "carol", now());
    for (name, password, code) in [
        ("carol", "wrong horse battery", good.as_str()),
        ("carol", PASSWORD, "000000x"),
        ("nobody", PASSWORD, &good),
    ] {
        let page = carol.by_password(name, password, code).await;
        assert_eq!(page.status, 403);
        assert!(page.text.contains("role=\"alert\"") && !page.text.contains(password));
    }
    // A form of another site is refused, whatever it has.
    let form = carol.get("/login").await.form();
    let typed = format!("form={form}&method=password&name=carol&password=correct+horse+battery&code={good}");
    for headers in [[("origin", "https://evil.example")], [("sec-fetch-site", "cross-site")]] {
        assert_eq!(carol.send("POST", "/login", &typed, &headers).await.status, 403);
    }
    // Without the cookie that came with a form there is no form, and not one that everybody could work out.
    let mut stranger = browser(&world, &live, None).await;
    let empty = Bytes::<32>(Sha256::digest(b"TrustBox page form\0").into());
    let typed = format!("form={empty}&method=password&name=carol&password=correct+horse+battery&code={good}");
    assert_eq!(stranger.send("POST", "/login", &typed, &[]).await.status, 403);
    assert_eq!(carol.by_password("carol", PASSWORD, &good).await.status, 303);
    assert!(carol.get("/audit").await.text.contains("carol, auditor"));
    let mut again = browser(&world, &live, None).await;
    assert_eq!(again.by_password("carol", PASSWORD, &good).await.status, 403);
    // Who is removed is out at once.
    let mut users = Users::read(&world.path("users.json")).unwrap();
    users.remove("carol");
    users.write(&world.path("users.json")).unwrap();
    assert_eq!(carol.get("/").await.status, 303);
    let (_, records) = live.client("admin-alice").await.audit().await;
    let of = |outcome: &str| {
        records.iter().filter(|one| one["action"] == "page-login" && one["outcome"] == outcome).count()
    };
    assert_eq!((of("allowed"), of("denied")), (1, 4));
    assert!(!records.iter().any(|record| record.to_string().contains("horse")));
    live.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tries_to_log_in_are_limited() {
    let (world, live) = world("logins-per-minute = 3\n").await;
    let mut mallory = browser(&world, &live, None).await;
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(mallory.by_password("carol", "guess guess guess", "000000").await.status);
    }
    assert_eq!(statuses, [403, 403, 403, 429, 429]);
    live.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stations_reported_is_shown() {
    let (world, live) = world("").await;
    let mut factory = live.client("factory-line-1").await;
    for number in 1..=120_u8 {
        let failure = (number % 4 == 0).then_some("hardware-key");
        let one = report(&world, &Device::new(number), "line 1", failure, now() - u64::from(number));
        factory.ok("POST", "/v1/reports", &signed(&world, &one)).await;
    }
    let claim = json!({"station": "line 2@b", "sku": "edge-201", "step": "certify"});
    factory.ok("POST", &format!("{}/claim", Device::new(200).path()), &claim).await;
    let mut bob = browser(&world, &live, Some("admin-bob")).await;
    bob.by_certificate().await;
    let page = bob.get("/").await.text;
    assert!(
        page.contains("<dd>90</dd>") && page.contains("30</a></dd>") && page.contains("line 2@b"),
        "{page}"
    );
    // Every device is on one page or another, once.
    let (mut seen, mut path) = (0, "/devices".to_owned());
    while !path.is_empty() {
        let page = bob.get(&path).await.text;
        seen += page.matches("aria-label=\"Device ").count();
        let next = page.split_once("rel=\"next\" href=\"");
        path =
            next.map(|(_, rest)| rest.split('"').next().unwrap().replace("&amp;", "&")).unwrap_or_default();
    }
    assert_eq!(seen, 120);
    let count = |text: &str| text.matches("aria-label=\"Device ").count();
    assert_eq!(count(&bob.get("/devices?q=0B0b&state=passed").await.text), 1);
    assert_eq!(count(&bob.get("/devices?q=0b0b&state=failed").await.text), 0);
    assert!(
        bob.get("/devices?q=%22%3E%3Cscript%3E").await.text.contains("value=\"&quot;&gt;&lt;script&gt;\"")
    );
    let failures = bob.get("/failures?kind=hardware-key").await.text;
    assert!(
        count(&failures) == 30
            && failures.contains("is &lt;not&gt; as this line")
            && failures.contains("put the device aside")
    );
    assert!(bob.get("/yields").await.text.contains("75.0 %"));
    let device = bob.get(&format!("/devices/{}", Device::new(1).id)).await.text;
    let fingerprint = device.split("href=\"/vouchers/").nth(1).unwrap()[..64].to_owned();
    let voucher = bob.get(&format!("/vouchers/{fingerprint}")).await.text;
    assert!(voucher.contains("The factory signed this voucher") && voucher.contains("edge-201"), "{voucher}");
    let label = bob.get(&format!("/vouchers/{fingerprint}/label.svg")).await;
    assert!(label.header("content-type") == "image/svg+xml" && label.text.contains("<svg"));
    assert_eq!(bob.get("/vouchers/00").await.status, 404);
    let found = bob.get(&format!("/vouchers?q={fingerprint}")).await;
    assert_eq!(found.header("location"), format!("/vouchers/{fingerprint}"));
    let form = bob.get("/audit").await.form();
    assert_eq!(bob.post("/audit/verify", "form=1").await.status, 403);
    bob.post("/audit/verify", &format!("form={form}")).await;
    let audit = bob.get("/audit").await.text;
    assert!(audit.contains("✓ whole"), "{audit}");
    // The factory's people do not read the audit log.
    let mut line = browser(&world, &live, Some("factory-line-1")).await;
    line.by_certificate().await;
    assert!(!line.get("/").await.text.contains("href=\"/audit\""));
    assert_eq!(line.get("/audit").await.status, 403);
    live.running.stop().await;
}

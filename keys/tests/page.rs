//! The line's page in a real browser: Chromium without a screen, with scripts and without. `build/tb test --only page` runs this;
//! with `TRUSTBOX_SCREENSHOTS` it also writes the pictures of the guide into that folder of the repository.

mod support;
#[path = "support/webdriver.rs"]
mod webdriver;

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::{Value, json};
use support::line::{report, signed};
use support::{Device, Live, World};
use trustbox_keys::service::identity::Role;
use trustbox_keys::service::now;
use trustbox_keys::service::page::users::Users;
use webdriver::{Chromium, ENTER, TAB};

const SEALED: &str = "kind = \"sealed\"\nkey = \"store.key\"\n[page]\nlisten = \"127.0.0.1:0\"\nusers = \"users.json\"\n[limits]\nburst = 1000\n";
const PASSWORD: &str = "correct horse battery";
/// What is wrong with a page for who does not see it, or sees it small.
const LOOK: &str = include_str!("support/accessible.js");
/// Names a file of axe-core, which looks for far more.
const AXE: &str = "TRUSTBOX_AXE";
/// The rules of WCAG 2.2 to level AA, and what axe-core takes for good practice.
const RULES: &str = "return axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']}) \
    .then((found) => ({passed: found.passes.length, wrong: found.violations.flatMap((rule) => rule.nodes.map((node) => rule.id + ': ' + node.html))}))";
const FAILURES: [&str; 3] = ["hardware-key", "foreign-owner", "evidence"];

fn main() -> ExitCode {
    // One browser at a time: two cores are few.
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    let trial = |name: &str, test: fn() -> Result<(), Failed>| Trial::test(name, test);
    let trials = vec![
        trial("everything_can_be_read_without_scripts", || block_on(without_scripts())),
        trial("pages_are_accessible_and_nothing_is_blocked", || block_on(accessible())),
        trial("axe_finds_nothing", || block_on(axe())).with_ignored_flag(env::var_os(AXE).is_none()),
        trial("the_keyboard_is_enough", || block_on(keyboard())),
        trial("a_certificate_of_the_browser_logs_in", || block_on(certificate())),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn block_on(test: impl Future<Output = ()>) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(test);
    Ok(())
}

struct Site {
    world: World,
    live: Live,
    base: String,
}

impl Site {
    /// A line with some weeks behind it.
    async fn new() -> Self {
        let world = World::with("sqlite:keys.db", SEALED, "factory-ca = \"factory-ca.pem\"\n");
        world.factory();
        let mut users = Users::default();
        users.add("carol", Role::Auditor, PASSWORD).unwrap();
        users.write(&world.path("users.json")).unwrap();
        let live = world.start().await;
        let mut factory = live.client("factory-line-1").await;
        for number in 1..=120_u64 {
            let failure = (number % 7 == 0).then(|| FAILURES[number as usize % 3]);
            let device = Device { id: support::sha256(&number.to_be_bytes()), ..Device::new(1) };
            let station = if number % 3 == 0 { "line 2" } else { "line 1" };
            let one = report(&world, &device, station, failure, now() - number * number * 100);
            factory.ok("POST", "/v1/reports", &signed(&world, &one)).await;
        }
        for (number, step) in [(201, "certify"), (202, "keys")] {
            let claim = json!({"station": "line-1@bench", "sku": "edge-201", "step": step});
            let device = Device { id: support::sha256(&[number]), ..Device::new(1) };
            factory.ok("POST", &format!("{}/claim", device.path()), &claim).await;
        }
        let base = format!("https://localhost:{}", live.running.addresses.page.unwrap().port());
        Self { world, live, base }
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Types name, password and code, as somebody with an authenticator does.
    async fn log_in(&self, chromium: &mut Chromium) {
        chromium.open(&self.at("/login")).await;
        self.type_in(chromium).await;
        chromium.click("form button").await;
        chromium.arrives(&self.at("/")).await;
    }

    /// Where the latest voucher is.
    async fn voucher(&self, chromium: &mut Chromium) -> String {
        chromium.open(&self.at("/vouchers")).await;
        chromium.click("tbody a").await;
        chromium.url().await.replace(&self.base, "")
    }

    /// Every kind of page, and one that is none.
    fn pages(voucher: &str) -> [String; 10] {
        let device = format!("/devices/{}", support::sha256(&7_u64.to_be_bytes()));
        let fixed =
            ["/", "/devices", "/failures", "/yields", "/vouchers", "/audit", "/devices?q=xyz", "/nothing"];
        let [line, devices, failures, yields, vouchers, audit, search, nothing] = fixed.map(str::to_owned);
        [line, devices, device, failures, yields, vouchers, voucher.to_owned(), audit, search, nothing]
    }

    async fn type_in(&self, chromium: &mut Chromium) {
        let users = Users::read(&self.world.path("users.json")).unwrap();
        let code = users.find("carol").unwrap().code(now()).unwrap();
        for (field, text) in [("#name", "carol"), ("#password", PASSWORD), ("#code", &code)] {
            chromium.fill(field, text).await;
        }
    }
}

async fn without_scripts() {
    let (site, mut chromium) = (Site::new().await, Chromium::start(false).await);
    chromium
        .open("data:text/html,<p id=x>off</p><script>document.getElementById('x').textContent='on'</script>")
        .await;
    assert_eq!(chromium.text("#x").await, "off", "this browser runs scripts");
    chromium.open(&site.at("/devices")).await;
    chromium.arrives(&site.at("/login")).await;
    site.log_in(&mut chromium).await;
    for (place, words) in [
        ("Devices", "Devices found"),
        ("Failures", "What to do"),
        ("Yields", "Runs by day"),
        ("Vouchers", "the latest first"),
        ("Audit", "The last records"),
    ] {
        chromium.click(&format!("nav a[href='/{}']", place.to_lowercase())).await;
        assert_eq!(chromium.text("h1").await, place);
        assert!(chromium.text("main").await.contains(words), "{place}");
    }
    chromium.click("main form button").await;
    assert!(chromium.text("main dl").await.contains("✓ whole"));
    chromium.open(&site.at("/devices")).await;
    chromium.click("a[rel=next]").await;
    let id = chromium.text("tbody code").await;
    chromium.fill("#q", id.trim_end_matches('…')).await;
    chromium.click("main form button").await;
    chromium.click("tbody a").await;
    assert!(chromium.text("h1").await.contains(&id));
    chromium.click(".logout button").await;
    chromium.arrives(&site.at("/login")).await;
    chromium.quit().await;
    site.live.running.stop().await;
}

async fn accessible() {
    let (site, mut chromium) = (Site::new().await, Chromium::start(true).await);
    // The check itself sees what is wrong.
    chromium.open("data:text/html,<p style='color:%23bbb'>pale</p><input><img>").await;
    let wrong = chromium.ask(LOOK).await.to_string();
    for expected in ["no language", "not one main", "no label", "no alternative", "contrast 1."] {
        assert!(wrong.contains(expected), "{expected} is not seen: {wrong}");
    }
    chromium.open(&site.at("/login")).await;
    assert_eq!(chromium.ask(LOOK).await, json!([]), "/login");
    shoot(&mut chromium, "login").await;
    chromium.fill("#name", "carol").await;
    chromium.fill("#password", "wrong horse battery").await;
    chromium.fill("#code", "123456").await;
    chromium.click("form button").await;
    assert_eq!(chromium.ask(LOOK).await, json!([]), "a login that was refused");
    assert_eq!(chromium.ask("return document.querySelector('[role=alert]').id").await, json!("error"));
    site.log_in(&mut chromium).await;
    let voucher = site.voucher(&mut chromium).await;
    let _ = chromium.complaints().await;
    for path in Site::pages(&voucher).each_ref().map(String::as_str) {
        for (width, height) in [(320, 800), (1100, 760)] {
            chromium.resize(width, height).await;
            chromium.open(&site.at(path)).await;
            assert_eq!(chromium.ask(LOOK).await, json!([]), "{path} at {width}");
        }
        let complaints = chromium.complaints().await;
        let expected =
            |line: &String| path == "/nothing" && line.contains("404") || line.contains("favicon.ico");
        assert!(complaints.iter().all(expected), "{path}: {complaints:?}");
        let name = path.split(['/', '?']).nth(1).unwrap_or_default();
        match path {
            "/" => shoot(&mut chromium, "line").await,
            "/failures" | "/yields" => shoot(&mut chromium, name).await,
            path if path == voucher => shoot(&mut chromium, "voucher").await,
            _ => {}
        }
    }
    // A script that somebody smuggles in does not run: the policy forbids it, and the browser says so.
    chromium.open(&site.at("/")).await;
    let smuggle = "const one = document.createElement('script'); one.textContent = 'window.ran = 1'; document.body.append(one); \
        return window.ran === undefined";
    assert_eq!(chromium.ask(smuggle).await, json!(true));
    assert!(chromium.complaints().await.iter().any(|line| line.contains("Content Security Policy")));
    chromium.quit().await;
    site.live.running.stop().await;
}

async fn axe() {
    let script = fs::read_to_string(env::var_os(AXE).unwrap()).unwrap() + RULES;
    let (site, mut chromium) = (Site::new().await, Chromium::start(true).await);
    chromium.open("data:text/html,<p style='color:%23bbb'>pale</p><input><img>").await;
    let wrong = chromium.ask(&script).await["wrong"].to_string();
    for expected in ["color-contrast", "html-has-lang", "image-alt", "label", "region"] {
        assert!(wrong.contains(&format!("\"{expected}: ")), "{expected} is not seen: {wrong}");
    }
    let found = async |chromium: &mut Chromium, path: &str| {
        let found = chromium.ask(&script).await;
        assert_eq!(found["wrong"], json!([]), "{path}");
        assert!(found["passed"].as_u64() > Some(15), "{path}: {found}");
    };
    chromium.open(&site.at("/login")).await;
    found(&mut chromium, "/login").await;
    site.log_in(&mut chromium).await;
    let voucher = site.voucher(&mut chromium).await;
    for path in &Site::pages(&voucher) {
        chromium.open(&site.at(path)).await;
        found(&mut chromium, path).await;
    }
    chromium.quit().await;
    site.live.running.stop().await;
}

async fn keyboard() {
    let (site, mut chromium) = (Site::new().await, Chromium::start(true).await);
    chromium.open(&site.at("/login")).await;
    site.type_in(&mut chromium).await;
    chromium.press(ENTER).await;
    assert_eq!(chromium.text("h1").await, "Line");
    let outline = "return getComputedStyle(document.activeElement).outlineStyle !== 'none'";
    assert_eq!(chromium.press(TAB).await, "Skip to content");
    assert_eq!(chromium.ask(outline).await, json!(true));
    for place in ["Line", "Devices", "Failures", "Yields", "Vouchers", "Audit"] {
        assert_eq!(chromium.press(TAB).await, place);
        assert_eq!(chromium.ask(outline).await, json!(true), "{place}: the focus is not seen");
    }
    chromium.press(ENTER).await;
    assert_eq!(chromium.text("h1").await, "Audit");
    chromium.press(TAB).await;
    chromium.press(ENTER).await;
    assert_eq!(chromium.ask("return document.activeElement.id").await, json!("main"));
    assert_eq!(chromium.press(TAB).await, "Verify the whole chain");
    chromium.press(ENTER).await;
    assert!(chromium.text("main dl").await.contains("✓ whole"));
    chromium.quit().await;
    site.live.running.stop().await;
}

/// The certificate is in the browser's own database, and so is the CA: nothing about them is waved through.
async fn certificate() {
    let site = Site::new().await;
    let home = site.world.path("home");
    let database = home.join(".pki/nssdb");
    fs::create_dir_all(&database).unwrap();
    let database = format!("sql:{}", database.display());
    let tls = |name: &str| site.world.path("tls").join(name);
    run("certutil", &["-N", "-d", &database, "--empty-password"]);
    run("certutil", &["-A", "-d", &database, "-n", "ca", "-t", "C,,", "-i", text(&tls("ca.pem"))]);
    let (own, key, both) =
        (tls("factory-line-1/client.pem"), tls("factory-line-1/client.key.pem"), site.world.path("both.p12"));
    let export = [
        "pkcs12",
        "-export",
        "-passout",
        "pass:",
        "-in",
        text(&own),
        "-inkey",
        text(&key),
        "-out",
        text(&both),
    ];
    run("openssl", &export);
    run("pk12util", &["-i", text(&both), "-d", &database, "-W", ""]);
    let mut chromium = Chromium::with_certificates(&home, &site.base).await;
    chromium.open(&site.at("/")).await;
    chromium.arrives(&site.at("/login")).await;
    let shown = chromium.text("main").await;
    assert!(shown.contains("This browser showed the certificate of line-1"), "{shown}");
    assert_eq!(chromium.ask(LOOK).await, json!([]), "/login with a certificate");
    chromium.click("form button").await;
    chromium.arrives(&site.at("/")).await;
    assert_eq!(chromium.text("h1").await, "Line");
    // What its role may not see is not offered.
    assert!(!chromium.text("nav").await.contains("Audit"));
    // Revoked, it is out with the next click.
    let pem = fs::read_to_string(&own).unwrap();
    let der: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let fingerprint = support::sha256(&BASE64_STANDARD.decode(der).unwrap());
    let mut admin = site.live.client("admin-alice").await;
    admin.ok("POST", &format!("/v1/clients/{fingerprint}/revoke"), &Value::Null).await;
    drop(admin);
    chromium.open(&site.at("/devices")).await;
    chromium.arrives(&site.at("/login")).await;
    chromium.quit().await;
    site.live.running.stop().await;
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A program of a Debian package.
fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program}, of libnss3-tools or openssl: {error}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

async fn shoot(chromium: &mut Chromium, name: &str) {
    let Some(folder) = env::var_os("TRUSTBOX_SCREENSHOTS") else { return };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(format!("{name}.png")), chromium.screenshot().await).unwrap();
}

//! How fast the key service releases, beside the same cryptography alone; whether a million devices make it slower; whether three
//! instances lose a record when one is killed; how fast the line's page is. `-- page` takes the last alone. Prints a line of JSON for each figure; `build/tb bench keys` shows them.
//!
//! Everything is on this host: service, database, clients. Challenges and tokens are made before the clock runs.

mod page;
#[path = "../tests/support/postgres.rs"]
mod postgres;
#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use postgres::{Cluster, Instance};
use rsa::RsaPrivateKey;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use support::{Client, Device, Live, World, connect, load};
use trustbox_api::Bytes;
use trustbox_api::key::KeyRef;
use trustbox_keys::factory::Authority;
use trustbox_keys::issue::{self, Asking};
use trustbox_keys::service::registry::check_certificate;
use trustbox_keys::service::store::{DeviceRow, Store};
use trustbox_keys::tls;
use trustbox_package::ClassKey;
use trustbox_package::sign::public_key;
use trustbox_verifier::{Reference, ReferenceValues, Tier, Token, appraise};

const FEW: u32 = 1000;
const MANY: u32 = 1_000_000;
const COLUMNS: &str = "device_id, state, class, attestation_key, device_key, certificate, changed";
/// Turns of everything that takes turns; the best one counts, since what else the host does only makes it slower.
const TURNS: usize = 5;
const REQUESTS: usize = 1000;
const CLIENTS: usize = 32;
/// Fewer, so that what is seen is the registry and not the queue.
const PATIENT_CLIENTS: usize = 4;
const UNLIMITED: &str =
    "kind = \"sealed\"\nkey = \"store.key\"\n[limits]\nrequests-per-second = 1000000\nburst = 1000000\n";

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    if std::env::args().any(|word| word == "page") {
        return runtime.block_on(page::figures());
    }
    verify();
    runtime.block_on(async {
        releases().await;
        lost_records().await;
        page::figures().await;
    });
}

fn figure(name: &str, value: f64, unit: &str, reference: Option<f64>) {
    println!("{}", json!({"name": name, "value": value, "unit": unit, "reference": reference}));
}

/// A service whose registry has so many devices, all with the keys of one.
struct Bench {
    world: World,
    live: Live,
    authority: Authority,
    device: Device,
    count: u32,
    asked: u32,
}

impl Bench {
    async fn new(count: u32, device: &Device) -> Self {
        let world = World::with("sqlite:keys.db", UNLIMITED, "factory-ca = \"factory-ca.pem\"\n");
        let authority = world.factory();
        let live = world.start().await;
        let mut admin = live.client("admin-alice").await;
        admin.ok("PUT", "/v1/keys/meter", &json!({"policy": {"certificate": true}})).await;
        let bench = Self { world, live, authority, device: device.clone(), count, asked: 0 };
        bench.fill().await;
        bench
    }

    /// Straight into the table: enrolling a million devices one by one is not what is measured. Those that will ask have a
    /// certificate of their own, the others none.
    async fn fill(&self) {
        sqlx::any::install_default_drivers();
        let pool = sqlx::AnyPool::connect(&self.world.config().database).await.unwrap();
        let mut transaction = pool.begin().await.unwrap();
        let key = public_key(self.device.attestation.verifying_key()).0;
        let device_key = support::sha256(&self.device.device_key());
        for first in (0..self.count).step_by(500) {
            let rows: Vec<_> = (first..self.count.min(first + 500))
                .map(|number| {
                    let certificate =
                        if self.asks(number) { self.certificate(number) } else { String::new() };
                    format!(
                        "('{}', 'enrolled', 'edge', '{key}', '{device_key}', '{certificate}', 0)",
                        device_id(number)
                    )
                })
                .collect();
            let sql = format!("INSERT INTO devices ({COLUMNS}) VALUES {}", rows.join(", "));
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *transaction).await.unwrap();
        }
        transaction.commit().await.unwrap();
        pool.close().await;
    }

    /// A thousand of them, evenly spread.
    fn asks(&self, number: u32) -> bool {
        number.is_multiple_of(self.count / FEW)
    }

    fn certificate(&self, number: u32) -> String {
        let device = Device { id: device_id(number), ..self.device.clone() };
        device.certified("edge", &self.authority)["certificate"].as_str().unwrap().to_owned()
    }

    /// Time of each release, and of all of them together.
    async fn turn(&mut self, clients: usize) -> (Vec<Duration>, Duration) {
        let (mut first, mut questions) = (self.live.client("factory-line-1").await, Vec::new());
        for _ in 0..REQUESTS {
            let challenge = support::challenge(&mut first).await;
            let number = (self.asked % FEW) * (self.count / FEW);
            self.asked += 7;
            let device = Device { id: device_id(number), ..self.device.clone() };
            questions.push(device.asks("meter", &challenge, 1).to_string().into_bytes());
        }
        let mut connections = Vec::new();
        for _ in 0..clients {
            connections.push(self.live.client("factory-line-1").await);
        }
        let share = REQUESTS.div_ceil(clients);
        let start = Instant::now();
        let tasks: Vec<_> = connections
            .into_iter()
            .zip(questions.chunks(share).map(<[Vec<u8>]>::to_vec).collect::<Vec<_>>())
            .map(|(client, questions)| tokio::spawn(ask_all(client, questions)))
            .collect();
        let mut times = Vec::new();
        for task in tasks {
            times.extend(task.await.unwrap());
        }
        assert_eq!(times.len(), REQUESTS);
        (times, start.elapsed())
    }
}

async fn ask_all(mut client: Client, questions: Vec<Vec<u8>>) -> Vec<Duration> {
    let mut times = Vec::new();
    for question in questions {
        let start = Instant::now();
        let answer = client.0.send("POST", Some("/v1/releases"), question, &[]).await.unwrap();
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        times.push(start.elapsed());
    }
    times
}

fn device_id(number: u32) -> Bytes<32> {
    // As spread as real ids, so that neighbours are not neighbours in the index.
    support::sha256(&number.to_be_bytes())
}

/// What a relying party does with a token, on one core: parse, verify, hold against reference values.
fn verify() {
    const TOKENS: usize = 2000;
    let device = Device::new(1);
    let (key, token) = (public_key(device.attestation.verifying_key()), device.token(&[1; 64]));
    let components = ["optee", "trustbox"].map(|kind| Reference {
        kind: kind.to_owned(),
        measurements: vec!["08".repeat(32)],
        ..Reference::default()
    });
    let reference = ReferenceValues { components: components.into(), ..ReferenceValues::default() };
    let best = (0..TURNS).map(|_| {
        let start = Instant::now();
        for _ in 0..TOKENS {
            let claims = Token::parse(&token).and_then(|token| token.verify(&key, &[1; 64])).unwrap();
            assert!(appraise(&claims, &reference).status != Tier::Contraindicated);
        }
        start.elapsed()
    });
    let each = best.min().unwrap_or_default().as_secs_f64() * 1e6 / TOKENS as f64;
    figure("keys_verify", each, "us a token on one core", None);
}

async fn releases() {
    let key = RsaPrivateKey::new(&mut UnwrapErr(SysRng), 3072).unwrap();
    let device = Device { key: Arc::new(key), ..Device::new(1) };
    let (mut few, mut many) = (Bench::new(FEW, &device).await, Bench::new(MANY, &device).await);
    let (mut best, mut alone) = (Duration::MAX, Duration::MAX);
    let (mut slow_few, mut slow_many) = (Duration::MAX, Duration::MAX);
    for _ in 0..TURNS {
        best = best.min(few.turn(CLIENTS).await.1);
        alone = alone.min(cryptography_alone(&few));
        slow_few = slow_few.min(p99(few.turn(PATIENT_CLIENTS).await.0));
        slow_many = slow_many.min(p99(many.turn(PATIENT_CLIENTS).await.0));
    }
    let each = |time: Duration| time.as_secs_f64() * 1e6 / REQUESTS as f64;
    figure("keys_release", each(best), "us a release", Some(each(alone)));
    figure("keys_per_second", 1e6 / each(best), "releases a second", None);
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    figure("keys_p99_million", milliseconds(slow_many), "ms", Some(milliseconds(slow_few)));
    let store = Store::open(&many.world.config().database, 1).await.unwrap();
    assert!(
        store.audit_head().await.unwrap().sequence > (TURNS * REQUESTS) as u64,
        "not everything is in the audit log"
    );
    few.live.running.stop().await;
    many.live.running.stop().await;
}

fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

/// For as many releases, on all cores: one wrap, two ES256 verifications, one signature, by the functions that the service uses.
fn cryptography_alone(bench: &Bench) -> Duration {
    let device = Device { id: device_id(0), ..bench.device.clone() };
    let attestation = public_key(device.attestation.verifying_key());
    let factory = tls::certificates(&bench.world.path("factory-ca.pem")).unwrap();
    let row = DeviceRow {
        device_id: device.id.to_string(),
        state: String::new(),
        class: String::new(),
        attestation_key: attestation.0.to_string(),
        device_key: String::new(),
        certificate: bench.certificate(0),
        device_key_certificate: String::new(),
    };
    let (token, spki, value) = (device.token(&[1; 64]), device.device_key(), ClassKey::generate().unwrap());
    let key = KeyRef::new("meter", 1).unwrap();
    let asking = Asking { device_id: device.id, nonce: Bytes([1; 32]) };
    let now = trustbox_keys::service::now();
    let one = || {
        Token::parse(&token).unwrap().verify(&attestation, &[1; 64]).unwrap();
        check_certificate(&factory, &row, now).unwrap();
        issue::release(&bench.world.keys.releaser, Bytes([2; 32]), &asking, &spki, (&key, &value)).unwrap();
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| (0..REQUESTS.div_ceil(cores)).for_each(|_| one()));
        }
    });
    start.elapsed()
}

/// Three instances on one PostgreSQL, one of them killed in the middle: every answered release must be in the log.
async fn lost_records() {
    let cluster = Cluster::start();
    let world = World::with(&cluster.database("keys"), UNLIMITED, "");
    let mut instances: Vec<Instance> = (0..3).map(|number| Instance::start(&world, number)).collect();
    let folder = world.path("tls/factory-line-1");
    let (mut clients, mut urls) = (Vec::new(), Vec::new());
    for instance in &instances {
        let url = instance.url().await;
        for _ in 0..4 {
            clients.push(connect(&url, &folder).await);
        }
        urls.push(url);
    }
    let mut admin = connect(&urls[0], &world.path("tls/admin-alice")).await;
    admin.ok("PUT", "/v1/keys/meter", &json!({"policy": {}})).await;
    let device = Device::new(1);
    clients[0].ok("PUT", &device.path(), &device.entry("edge")).await;
    let running =
        tokio::spawn(load::run(clients, Arc::new(vec![device]), 6.0, Arc::new(AtomicBool::new(false))));
    tokio::time::sleep(Duration::from_secs(3)).await;
    instances[1].child.kill().unwrap();
    let outcome = running.await.unwrap();
    let (_, records) = admin.audit().await;
    let released = |record: &Value| {
        record["reason"].as_str().unwrap_or_default().strip_prefix("release ").map(str::to_owned)
    };
    let logged: HashSet<String> = records.iter().filter_map(released).collect();
    let lost = outcome.releases.iter().filter(|release| !logged.contains(*release)).count();
    assert!(outcome.releases.len() > 100 && outcome.failures > 0, "{} releases", outcome.releases.len());
    figure(
        "keys_lost_records",
        lost as f64,
        &format!("of {} releases, one of three instances killed", outcome.releases.len()),
        None,
    );
    instances
        .iter_mut()
        .enumerate()
        .filter(|(number, _)| *number != 1)
        .for_each(|(_, instance)| instance.stop());
}

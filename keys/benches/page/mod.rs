//! How long the slowest page of a line with a hundred thousand devices takes, over TLS, logged in, on either database.

use std::time::{Duration, Instant};

use sqlx::AssertSqlSafe;
use trustbox_keys::service::now;

use crate::figure;
use crate::postgres::Cluster;
use crate::support::browser::Browser;
use crate::support::line::report;
use crate::support::{Device, World, sha256};

const DEVICES: u64 = 100_000;
const TURNS: usize = 20;
const TABLES: &str = "kind = \"sealed\"\nkey = \"store.key\"\n[page]\nlisten = \"127.0.0.1:0\"\n";

pub async fn figures() {
    figure("keys_page", slowest("sqlite:keys.db").await, "ms for the slowest page, SQLite", None);
    let cluster = Cluster::start();
    figure(
        "keys_page_postgres",
        slowest(&cluster.database("keys")).await,
        "ms for the slowest page, PostgreSQL",
        None,
    );
}

/// Of twenty turns, the slowest answer of any page, in milliseconds.
async fn slowest(database: &str) -> f64 {
    let world = World::with(database, TABLES, "factory-ca = \"factory-ca.pem\"\n");
    world.factory();
    let live = world.start().await;
    let last = fill(&world).await;
    let port = live.running.addresses.page.unwrap().port();
    let mut browser = Browser::open(port, &world.path("tls"), Some("admin-alice")).await;
    assert_eq!(browser.by_certificate().await.status, 303);
    let (id, middle) = (sha256(&7_u64.to_be_bytes()).to_string(), "8".repeat(64));
    let pages = [
        "/".to_owned(),
        "/devices".to_owned(),
        format!("/devices?after={middle}"),
        format!("/devices?state=failed&after={middle}"),
        format!("/devices?q={}", &id[..8]),
        format!("/devices/{id}"),
        "/failures?kind=hardware-key".to_owned(),
        format!("/failures?kind=hardware-key&before={last}-"),
        "/yields".to_owned(),
        "/vouchers".to_owned(),
        format!("/vouchers?before={last}-"),
        "/audit".to_owned(),
    ];
    let mut slowest = Duration::ZERO;
    for _ in 0..TURNS {
        for path in &pages {
            let start = Instant::now();
            let page = browser.get(path).await;
            slowest = slowest.max(start.elapsed());
            assert_eq!(page.status, 200, "{path}");
            assert!(page.text.matches("<tr>").count() > 1, "{path} has no rows: {}", page.text);
        }
    }
    live.running.stop().await;
    slowest.as_secs_f64() * 1e3
}

/// Straight into the tables; returns a time in the middle. One in ten failed.
async fn fill(world: &World) -> u64 {
    sqlx::any::install_default_drivers();
    let pool = sqlx::AnyPool::connect(&world.config().database).await.unwrap();
    let mut transaction = pool.begin().await.unwrap();
    let start = now() - 30 * 86_400;
    let template = report(world, &Device::new(1), "line 1", None, start);
    let report_file =
        String::from_utf8(template.sign(&world.keys.factory_ca).unwrap()).unwrap().replace('\'', "''");
    let voucher_file = template.voucher.unwrap().replace('\'', "''");
    for first in (0..DEVICES).step_by(250) {
        let (mut reports, mut devices, mut vouchers) = (Vec::new(), Vec::new(), Vec::new());
        for number in first..first + 250 {
            let (id, time) = (sha256(&number.to_be_bytes()), start + number * 25);
            let fingerprint = sha256(id.as_ref());
            let (state, failure) = if number % 10 == 0 { ("failed", "hardware-key") } else { ("passed", "") };
            reports.push(format!("('{fingerprint}', '{id}', {time}, '{report_file}')"));
            devices.push(format!(
                "('{id}', 'line 1', 'edge-201', '{state}', 'voucher', '{failure}', 'what it was', 'what to do', 20, {time}, '{fingerprint}')"
            ));
            vouchers.push(format!("('{fingerprint}', '{id}', {time}, '{voucher_file}')"));
        }
        for (table, rows) in [("line_reports", reports), ("line_devices", devices), ("vouchers", vouchers)] {
            let sql = format!("INSERT INTO {table} VALUES {}", rows.join(", "));
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *transaction).await.unwrap();
        }
    }
    for (day, station) in
        (0..=30).flat_map(|day| ["line 1", "line 2", "line 3"].map(|station| (day, station)))
    {
        let sql = format!(
            "INSERT INTO line_yields VALUES ({}, '{station}', 'edge-201', 1000, 1000, 100, {start})",
            start / 86_400 + day
        );
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *transaction).await.unwrap();
    }
    transaction.commit().await.unwrap();
    pool.close().await;
    start + DEVICES * 25 / 2
}

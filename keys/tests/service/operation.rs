//! For those who run it: a database that fails, backups, figures, a stop.

use crate::support::{World, challenge, ready, release};
use serde_json::{Value, json};
use std::time::Duration;
use trustbox_keys::service::store::Store;

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_takes_nothing_gives_nothing() {
    let world = World::new();
    let live = world.start().await;
    let (mut admin, mut factory, device) = ready(&live).await;
    let url = format!("sqlite:{}", world.path("keys.db").display());
    sqlx::any::install_default_drivers();
    let pool = sqlx::AnyPool::connect(&url).await.unwrap();
    let run = async |sql: &'static str| assert!(sqlx::raw_sql(sql).execute(&pool).await.is_ok(), "{sql}");
    run("CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END").await;
    let question = device.asks("meter", &challenge(&mut factory).await, 1);
    factory.refused("POST", "/v1/releases", &question, 503, "database").await;
    // A refusal that cannot be written down is not told either.
    factory.refused("POST", "/v1/releases", &json!({}), 503, "database").await;
    admin.refused("PUT", "/v1/keys/other", &json!({"policy": {}}), 503, "database").await;
    run("DROP TRIGGER full").await;
    assert_eq!(admin.ok("GET", "/v1/keys", &Value::Null).await["keys"].as_array().unwrap().len(), 1);
    factory.ok("POST", "/v1/releases", &question).await;
    // The log cannot be changed through the database's door either.
    for sql in ["UPDATE audit SET body = '' WHERE sequence = 1", "DELETE FROM audit"] {
        assert!(sqlx::raw_sql(sql).execute(&pool).await.is_err());
    }
    // A clock that is behind what was written down.
    run("UPDATE audit_head SET time = time + 100000").await;
    let later = device.asks("meter", &challenge(&mut factory).await, 2);
    factory.refused("POST", "/v1/releases", &later, 503, "clock").await;
    run("UPDATE audit_head SET time = time - 100000").await;
    let (_, records) = admin.audit().await;
    assert_eq!(records.iter().filter(|record| record["action"] == "release").count(), 1);
    let (status, text) = live.operations("/readyz").await;
    assert_eq!(status, 200, "{text}");
    run("ALTER TABLE audit RENAME TO gone").await;
    factory.refused("POST", "/v1/releases", &json!({}), 503, "database").await;
    live.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_fills_another_database() {
    let world = World::new();
    let live = world.start().await;
    let (mut admin, mut factory, device) = ready(&live).await;
    let first = release(&mut factory, &device, "meter", 1).await;
    let (head, _) = admin.audit().await;
    let store = Store::open(&world.config().database, 1).await.unwrap();
    let mut backup = Vec::new();
    assert_eq!(store.backup(&mut backup).await.unwrap(), head);
    assert!(store.restore(&backup[..]).await.unwrap_err().to_string().contains("not empty"));
    store.close().await;
    live.running.stop().await;
    world.configure("sqlite:restored.db", "kind = \"sealed\"\nkey = \"store.key\"\n", "");
    let store = Store::open(&world.config().database, 1).await.unwrap();
    let text = String::from_utf8(backup.clone()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let cut = lines[..lines.len() - 1].join("\n");
    let lost = text.lines().filter(|line| !line.contains("\"sequence\":3,")).collect::<Vec<_>>().join("\n");
    for bad in [cut.as_str(), &lost, &text.replace("set-key", "set-kez"), "{"] {
        assert!(store.restore(bad.as_bytes()).await.is_err());
    }
    assert_eq!(store.restore(&backup[..]).await.unwrap(), head);
    store.close().await;
    let live = world.start().await;
    let mut factory = live.client("factory-line-1").await;
    let again = release(&mut factory, &device, "meter", 2).await;
    let open = |answer: &Value| device.open(answer["bundle"].as_str().unwrap(), &world.keys);
    assert_eq!(open(&again), open(&first));
    let (grown, _) = live.client("auditor-carol").await.audit().await;
    assert!(grown.sequence > head.sequence);
    live.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_and_health_are_there_and_a_stop_lets_requests_finish() {
    let world = World::new();
    let live = world.start().await;
    let (_, mut factory, device) = ready(&live).await;
    release(&mut factory, &device, "meter", 1).await;
    assert_eq!(live.operations("/healthz").await, (200, "ok\n".to_owned()));
    let (status, text) = live.operations("/metrics").await;
    assert_eq!(status, 200);
    for line in [
        "trustbox_keys_releases_total{key=\"meter\",protocol=\"trustbox\"} 1",
        "trustbox_keys_database_up 1",
        "trustbox_keys_vault_up 1",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    let document = factory.ok("GET", "/openapi.json", &Value::Null).await;
    assert_eq!(document["openapi"], "3.1.0");
    let question = device.asks("meter", &challenge(&mut factory).await, 2);
    let (address, running) = (live.running.addresses.main, live.running);
    let last = tokio::spawn(async move { factory.ok("POST", "/v1/releases", &question).await });
    tokio::time::sleep(Duration::from_millis(1)).await;
    running.stop().await;
    assert!(last.await.is_ok());
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

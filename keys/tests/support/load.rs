//! Clients that ask for releases as fast as they can, each on a connection of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Client, Device};

/// What a load did.
#[derive(Default)]
pub struct Outcome {
    /// Numbers of the releases that were answered.
    pub releases: Vec<String>,
    /// How long each took, challenge and token not counted.
    pub times: Vec<Duration>,
    /// Requests without an answer, or with another one.
    pub failures: usize,
}

/// Lets each client ask for so many devices in turn, until the time is over or `stop` is set.
pub async fn run(
    clients: Vec<Client>,
    devices: Arc<Vec<Device>>,
    seconds: f64,
    stop: Arc<AtomicBool>,
) -> Outcome {
    let next = Arc::new(AtomicUsize::new(0));
    let tasks = clients.into_iter().map(|client| {
        let (devices, next, stop) = (Arc::clone(&devices), Arc::clone(&next), Arc::clone(&stop));
        tokio::spawn(one(client, devices, next, seconds, stop))
    });
    let mut total = Outcome::default();
    for task in tasks.collect::<Vec<_>>() {
        let outcome = task.await.unwrap();
        total.releases.extend(outcome.releases);
        total.times.extend(outcome.times);
        total.failures += outcome.failures;
    }
    total
}

async fn one(
    mut client: Client,
    devices: Arc<Vec<Device>>,
    next: Arc<AtomicUsize>,
    seconds: f64,
    stop: Arc<AtomicBool>,
) -> Outcome {
    let (mut outcome, start) = (Outcome::default(), Instant::now());
    // One challenge is enough for a token; whether it was used is known by its release.
    while start.elapsed().as_secs_f64() < seconds && !stop.load(Ordering::Relaxed) {
        let device = &devices[next.fetch_add(1, Ordering::Relaxed) % devices.len()];
        let Some(nonce) = ask_challenge(&mut client).await else {
            outcome.failures += 1;
            break;
        };
        let body = device.asks("meter", &nonce, 1).to_string().into_bytes();
        let sent = Instant::now();
        let Ok(answer) = client.0.send("POST", Some("/v1/releases"), body, &[]).await else {
            outcome.failures += 1;
            break;
        };
        let taken = sent.elapsed();
        let value: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        match (answer.status, value["release"].as_str()) {
            (200, Some(release)) => {
                outcome.releases.push(release.to_owned());
                outcome.times.push(taken);
            }
            _ => outcome.failures += 1,
        }
    }
    outcome
}

async fn ask_challenge(client: &mut Client) -> Option<String> {
    let answer = client.0.send("POST", Some("/v1/challenges"), b"{}".to_vec(), &[]).await.ok()?;
    Some(answer.json().ok()?["nonce"].as_str()?.to_owned())
}

//! Figures for Prometheus, in its text format.

use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

type Labels = Vec<(&'static str, String)>;

/// What is counted.
pub struct Metrics {
    registry: Registry,
    requests: Family<Labels, Counter>,
    releases: Family<Labels, Counter>,
    refusals: Family<Labels, Counter>,
    handshakes_failed: Counter,
    duration: Histogram,
    /// 1 while the database answers.
    pub database: Gauge,
    /// 1 while keys can be used.
    pub vault: Gauge,
    /// Sequence of the last audit record.
    pub audit: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("trustbox_keys"),
            requests: Family::default(),
            releases: Family::default(),
            refusals: Family::default(),
            handshakes_failed: Counter::default(),
            duration: Histogram::new(exponential_buckets(0.000_5, 2.0, 14)),
            database: Gauge::default(),
            vault: Gauge::default(),
            audit: Gauge::default(),
        };
        let registry = &mut metrics.registry;
        registry.register("requests", "Requests answered, by path and status", metrics.requests.clone());
        registry.register("releases", "Class keys released, by key and protocol", metrics.releases.clone());
        registry.register("refusals", "Requests refused, by reason", metrics.refusals.clone());
        registry.register(
            "handshakes_failed",
            "TLS connections that came to nothing",
            metrics.handshakes_failed.clone(),
        );
        registry.register(
            "request_duration_seconds",
            "Time from request to answer",
            metrics.duration.clone(),
        );
        registry.register("database_up", "1 while the database answers", metrics.database.clone());
        registry.register("vault_up", "1 while keys can be used", metrics.vault.clone());
        registry.register("audit_sequence", "Sequence of the last audit record", metrics.audit.clone());
        metrics
    }
}

impl Metrics {
    /// An answer.
    pub fn request(&self, path: &str, status: u16, taken: Duration) {
        self.requests.get_or_create(&vec![("path", path.to_owned()), ("status", status.to_string())]).inc();
        self.duration.observe(taken.as_secs_f64());
    }

    /// A released key.
    pub fn released(&self, key: &str, protocol: &str) {
        self.releases.get_or_create(&vec![("key", key.to_owned()), ("protocol", protocol.to_owned())]).inc();
    }

    /// A refusal.
    pub fn refused(&self, reason: &str) {
        self.refusals.get_or_create(&vec![("reason", reason.to_owned())]).inc();
    }

    /// A handshake that failed.
    pub fn handshake_failed(&self) {
        self.handshakes_failed.inc();
    }

    /// All of them.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

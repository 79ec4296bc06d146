//! A factory's line in a test: the real service, a station's configuration, and what becomes of a device on its bench.

use std::fs;

use serde_json::json;
use trustbox_api::key::KeyName;
use trustbox_keys::dev::Role;
use trustbox_keys::station::journal;
use trustbox_keys::station::outbox::Sent;
use trustbox_keys::station::{Config, Failure, How, Progress, Station};
use trustbox_keys::{files, issue};
use trustbox_package::sign::public_key;

use super::bench::Bench;
use super::{Live, World};

const SEALED: &str = "kind = \"sealed\"\nkey = \"store.key\"\n";

/// The line, its service, and what a station needs.
pub struct Line {
    pub world: World,
    pub live: Option<Live>,
    pub url: String,
}

impl Line {
    /// With sealed keys.
    pub async fn new() -> Self {
        Self::with(SEALED).await
    }

    /// With the keys in a vault of its own.
    pub async fn with(vault: &str) -> Self {
        let vault = format!("{vault}[limits]\nburst = 100000\nrequests-per-second = 100000\n");
        let world = World::with("sqlite:keys.db", &vault, "factory-ca = \"factory-ca.pem\"\n");
        world.factory();
        let live = world.start().await;
        let policy = json!({"policy": {"evidence": {"lifecycles": [0x2000]}}});
        live.client("admin-alice").await.ok("PUT", "/v1/keys/meter", &policy).await;
        let releaser = public_key(world.keys.releaser.verifying_key());
        let statement = issue::delegate_releaser(
            &world.keys.owner_root,
            &releaser,
            &[KeyName::try_from("meter").unwrap()],
            1,
        );
        files::write(&world.path("releaser.statement"), &statement.unwrap()).unwrap();
        fs::write(world.path("expected.toml"), "lifecycles = [0x3000]\nunique-hardware-key = true\n")
            .unwrap();
        let line = Self { url: live.url.clone(), world, live: Some(live) };
        line.configure("station.toml", "line 1", "journal", "");
        line
    }

    pub fn configure(&self, name: &str, station: &str, journal: &str, more: &str) {
        let at = |role: Role| self.world.keys.private_path(role);
        let text = format!(
            "station = \"{station}\"\nsku = \"edge-201\"\njournal = \"{journal}\"\nauthority = {:?}\nowner-root = {:?}\n\
             factory-ca = \"factory-ca.pem\"\nfactory-ca-key = {:?}\nstatements = [\"releaser.statement\"]\n\
             references = [\"expected.toml\"]\nclass = \"edge\"\nclass-keys = [\"meter\"]\nservice = {:?}\n\
             identity = \"tls/factory-line-1\"\n{more}\n",
            at(Role::ProvisioningAuthority),
            self.world.keys.public_path(Role::OwnerRoot),
            at(Role::FactoryCa),
            self.url,
        );
        fs::write(self.world.path(name), text).unwrap();
    }

    pub fn station(&self, name: &str) -> Station {
        Station::open(Config::load(&self.world.path(name)).unwrap(), false, files::load_private).unwrap()
    }

    /// What becomes of a device.
    pub async fn run(&self, config: &str, bench: &Bench) -> Result<(), Failure> {
        let (station, place) = (self.station(config), bench.place.clone());
        let work = move || {
            station.run(&[("bench".to_owned(), place)], &Progress::new(How::Json)).pop().unwrap().result
        };
        tokio::task::spawn_blocking(work).await.unwrap()
    }

    /// It fails of this, at this step, and with something to do.
    pub async fn fails(&self, bench: &Bench, step: &str, name: &str) -> Failure {
        let failure = self.run("station.toml", bench).await.unwrap_err();
        assert_eq!((failure.step, failure.name), (step, name), "{failure}");
        assert!(failure.help.len() > 20, "{}", failure.help);
        failure
    }

    pub async fn passes(&self, bench: &Bench) {
        self.run("station.toml", bench).await.unwrap();
    }

    pub async fn sync(&self, config: &str) -> Sent {
        let station = self.station(config);
        tokio::task::spawn_blocking(move || station.sync()).await.unwrap().unwrap()
    }

    /// The service is back, under another address.
    pub async fn again(&mut self) {
        let live = self.world.start().await;
        self.at(&live.url.clone());
        self.live = Some(live);
    }

    /// The service is elsewhere.
    pub fn at(&mut self, url: &str) {
        url.clone_into(&mut self.url);
        self.configure("station.toml", "line 1", "journal", "");
    }

    /// What becomes of the first device that waits for it: the service is gone.
    pub fn service_goes(&mut self) -> impl FnOnce() + Send + 'static {
        let (live, runtime) = (self.live.take().unwrap(), tokio::runtime::Handle::current());
        move || runtime.block_on(live.running.stop())
    }

    pub fn entry(&self, number: usize) -> journal::Entry {
        journal::entries(&self.world.path("journal")).unwrap().remove(number)
    }

    pub async fn stop(mut self) {
        self.live.take().unwrap().running.stop().await;
    }
}

//! A line with its keys: takes several devices at once, each through its steps, with its journal claimed.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use trustbox_api::PublicKey;
use trustbox_package::sign::public_key;
use trustbox_verifier::ReferenceValues;

use super::claim::Claimant;
use super::config::Config;
use super::journal::{Journal, State};
use super::link::{Link, Place};
use super::named::{AGAIN, JOURNAL, Named};
use super::outbox::{Outbox, Sent};
use super::report::{Reason, Report};
use super::returned::Order;
use super::steps::{Info, Work};
use super::{Failure, Outcome, Progress};
use crate::SigningKey;
use crate::factory::Authority;
use crate::fuses::Plan;
use crate::service::now;
use crate::{files, reference};

/// A line with its keys.
pub struct Station {
    pub(super) config: Config,
    pub(super) authority: SigningKey,
    pub(super) factory_key: SigningKey,
    pub(super) factory: Authority,
    pub(super) owner_root: PublicKey,
    pub(super) statements: Vec<Vec<u8>>,
    pub(super) expected: ReferenceValues,
    pub(super) fuses: Option<Plan>,
    /// Devices that came back and may be made anew, each with what its return is known by.
    pub(super) returned: Vec<(Order, String)>,
    /// Takes devices whose hardware key is not their own: development boards only. NOT-TRUSTED
    pub(super) any_hardware_key: bool,
}

impl Station {
    /// A line of a configuration; `load` opens its private keys.
    pub fn open(
        config: Config,
        any_hardware_key: bool,
        load: impl Fn(&Path) -> Result<SigningKey>,
    ) -> Result<Self> {
        let factory_key = load(&config.factory_ca_key)?;
        let read = |path: &std::path::PathBuf| Ok(files::read(path)?.to_vec());
        Ok(Self {
            authority: load(&config.authority)?,
            factory: Authority::open(&config.factory_ca, &factory_key)?,
            factory_key,
            owner_root: files::load_public(&config.owner_root)?,
            statements: config.statements.iter().map(read).collect::<Result<_>>()?,
            expected: reference::read(&config.references, &[])?,
            fuses: config.fuses.as_deref().map(Plan::read).transpose()?,
            returned: Vec::new(),
            any_hardware_key,
            config,
        })
    }

    /// Also takes a device that came back, on the owner's word.
    pub fn take_returned(&mut self, order: &[u8]) -> Result<()> {
        let (order, fingerprint) = Order::verify(order, &self.owner_root)?;
        self.returned.push((order, fingerprint.to_string()));
        Ok(())
    }

    /// Whether it works without the registry.
    pub fn is_offline(&self) -> bool {
        self.config.offline
    }

    /// Takes several devices at once; returns what became of each.
    pub fn run(&self, devices: &[(String, Place)], progress: &Progress) -> Vec<Outcome> {
        std::thread::scope(|scope| {
            let tasks: Vec<_> = devices
                .iter()
                .map(|(name, place)| scope.spawn(move || self.device(name, place, progress)))
                .collect();
            let joined = tasks.into_iter().zip(devices).map(|(task, (name, _))| {
                task.join().unwrap_or_else(|_| Outcome {
                    name: name.clone(),
                    device_id: None,
                    result: Err(anyhow!("the station itself failed")).named("station", "internal", AGAIN),
                    time: Duration::ZERO,
                    waited: Duration::ZERO,
                })
            });
            joined.collect()
        })
    }

    fn device(&self, name: &str, place: &Place, progress: &Progress) -> Outcome {
        let (start, mut device_id, mut waited) = (Instant::now(), None, Duration::ZERO);
        let link = Link::open(place, self.config.ssh_config.as_deref()).named("identify", "link", AGAIN);
        let result = link.and_then(|mut link| {
            let result = self.steps(name, &mut link, progress, &mut device_id);
            waited = link.waited;
            result
        });
        let outcome = Outcome { name: name.to_owned(), device_id, result, time: start.elapsed(), waited };
        progress.outcome(&outcome);
        outcome
    }

    fn steps(
        &self,
        name: &str,
        link: &mut Link,
        progress: &Progress,
        device_id: &mut Option<String>,
    ) -> Result<(), Failure> {
        let started = now();
        let info = Info::of(link).named("identify", "link", AGAIN)?;
        *device_id = Some(info.device_id.clone());
        let claimed = Journal::claim(&self.config.journal, &info.device_id, &self.config.station);
        let claimed = claimed.named("identify", "journal", JOURNAL)?;
        let mut journal = claimed.context("another station works on this device").named(
            "identify",
            "claimed",
            "leave it to the other station",
        )?;
        let claimant = Claimant::of(&self.config.station);
        let mut work =
            Work { station: self, link, journal: &mut journal, claimant: &claimant, name, progress };
        let result = work.all(info);
        if result.as_ref().is_err_and(|failure| failure.name == "claimed") {
            // What becomes of it is for the other station to say.
            return result;
        }
        claimant.release(link);
        journal.entry.state = if result.is_ok() { State::Passed } else { State::Failed };
        journal.entry.failure = result.as_ref().err().map(ToString::to_string);
        let step = journal.entry.step.clone();
        // Where the clock is wrong, what was written before still tells so.
        let time = now().max(journal.entry.time);
        let written = journal.done(&step, time).and_then(|()| self.report(&journal, &result, started));
        result.and(written.named("journal", "journal", JOURNAL))
    }

    /// What the registry is to hear, into the outbox.
    fn report(&self, journal: &Journal, result: &Result<(), Failure>, started: u64) -> Result<()> {
        let entry = &journal.entry;
        let failure = result.as_ref().err().map(|failure| Reason {
            name: failure.name.to_owned(),
            what: failure.what.clone(),
            help: failure.help.to_owned(),
        });
        let voucher = match &failure {
            None => Some(String::from_utf8(files::read(&journal.beside("voucher.json"))?.to_vec())?),
            Some(_) => None,
        };
        let report = Report {
            device_id: entry.device_id.clone(),
            station: self.config.station.clone(),
            sku: self.config.sku.clone(),
            started,
            time: now(),
            step: entry.step.clone(),
            failure,
            entry: entry.entry.clone(),
            voucher,
        };
        Outbox::of(&self.config.journal)?.put(&report, &report.sign(&self.factory_key)?)
    }

    /// Tells the registry what it has not heard yet.
    pub fn sync(&self) -> Result<Sent> {
        let key = public_key(self.factory_key.verifying_key());
        Outbox::of(&self.config.journal)?.send(&self.config.service, &self.config.identity, &key)
    }
}

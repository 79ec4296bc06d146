//! Steps of a campaign: single changes of a device, what a device shows of itself, and what it may show after a change.
//!
//! A campaign runs on the machine that emulates the device: it cuts the power in the middle of a step, and asks the next
//! boot for a [`View`]. The [`Model`] says which views are right.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use trustbox_api::Command;
use trustbox_api::limits::MAX_REPLY;
use trustbox_api::message::{OpenRequest, UninstallRequest};

use crate::case::Stop;
use crate::context::Context;
use crate::requests::{encode, info, install, list, send};
use crate::target::Link;

const RECORD: u32 = 1;
const QUERY: u32 = 2;

/// A change of a device that has an owner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Installs the meter in this version, or upgrades it.
    Install(u32),
    /// Adds a reading to the meter's sealed total.
    Record(u32),
    /// Removes the meter; its data stay sealed.
    Uninstall,
    /// Removes the meter and its data.
    Erase,
}

/// What a device shows of itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct View {
    /// State, owner, keys, policy.
    pub info: String,
    /// The installed version of the meter.
    pub version: Option<u32>,
    /// No lower one will be accepted.
    pub floor: u32,
    /// Whether a change waits to be finished, after the meter was launched.
    pub pending: bool,
    /// The meter's answer to a query, where it is installed.
    pub meter: Option<Totals>,
}

/// What the meter keeps in sealed storage.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Sum of all readings.
    pub total: u64,
    /// How many there were.
    pub readings: u64,
}

/// What is known of a device from all that was done to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Model {
    info: String,
    version: Option<u32>,
    floor: u32,
    sealed: Totals,
}

impl Model {
    /// From the first view of a device without the meter's data.
    pub fn of(view: &View) -> Self {
        let View { info, version, floor, meter, .. } = view.clone();
        Self { info, version, floor, sealed: meter.unwrap_or_default() }
    }

    /// The installed version of the meter.
    pub fn version(&self) -> Option<u32> {
        self.version
    }

    /// The lowest version that is accepted.
    pub fn floor(&self) -> u32 {
        self.floor
    }

    /// The same after a step.
    pub fn after(&self, step: Step) -> Self {
        let mut after = self.clone();
        match step {
            Step::Install(version) => (after.version, after.floor) = (Some(version), version),
            Step::Record(reading) => {
                after.sealed.total += u64::from(reading);
                after.sealed.readings += 1;
            }
            Step::Uninstall => after.version = None,
            Step::Erase => (after.version, after.sealed) = (None, Totals::default()),
        }
        after
    }

    /// Whether a device in this state shows this.
    pub fn allows(&self, view: &View) -> bool {
        let meter = self.version.map(|_| self.sealed);
        view.info == self.info
            && (view.version, view.floor, view.meter) == (self.version, self.floor, meter)
            && !view.pending
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, floor, sealed, .. } = self;
        write!(f, "version {version:?}, floor {floor}, sealed {sealed:?}")
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Install(version) => write!(f, "install:{version}"),
            Self::Record(reading) => write!(f, "record:{reading}"),
            Self::Uninstall => f.write_str("uninstall"),
            Self::Erase => f.write_str("erase"),
        }
    }
}

impl FromStr for Step {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, number) = text.split_once(':').unwrap_or((text, ""));
        let number = number.parse();
        match (name, number) {
            ("install", Ok(version)) => Ok(Self::Install(version)),
            ("record", Ok(reading)) => Ok(Self::Record(reading)),
            ("uninstall", Err(_)) if name == text => Ok(Self::Uninstall),
            ("erase", Err(_)) if name == text => Ok(Self::Erase),
            _ => Err(format!("{text:?} is no step: install:VERSION, record:READING, uninstall, erase, view")),
        }
    }
}

/// Carries out steps on a device that has an owner and the suite's class key; after `prepare`, it is one.
///
/// `prepare` and `view` are steps too: a view is a line of JSON in `out`.
pub fn run(context: &mut Context<'_>, words: &[String], out: &mut dyn std::io::Write) -> Result<(), Stop> {
    for word in words {
        match word.as_str() {
            "prepare" => drop(context.keyed()?),
            "view" => writeln!(out, "{}", serde_json::to_string(&view(context)?)?)?,
            _ => carry_out(context, word.parse().map_err(Stop::Failed)?)?,
        }
    }
    Ok(())
}

/// Carries out one step.
pub fn carry_out(context: &mut Context<'_>, step: Step) -> Result<(), Stop> {
    let uuid = context.image.uuid;
    let mut link = context.connect()?;
    match step {
        Step::Install(version) if version == context.image.version => {
            let package = context.package(&context.image);
            install(link.as_mut(), &package.0, &package.1)?;
        }
        Step::Install(version) => {
            let have = context.image.version;
            return Err(Stop::Failed(format!("no meter in version {version}: --image has version {have}")));
        }
        Step::Record(reading) => {
            meter(context, link.as_mut(), RECORD, &reading.to_string())?;
        }
        Step::Uninstall => {
            send(link.as_mut(), Command::Uninstall, &encode(&UninstallRequest { uuid, erase: false }))?
        }
        Step::Erase => {
            send(link.as_mut(), Command::Uninstall, &encode(&UninstallRequest { uuid, erase: true }))?
        }
    }
    Ok(())
}

/// What the device shows. The meter is launched first, which finishes what was interrupted.
pub fn view(context: &Context<'_>) -> Result<View, Stop> {
    let mut link = context.connect()?;
    let info = format!("{:?}", info(link.as_mut())?);
    let uuid = context.image.uuid;
    let entry_of = |link: &mut dyn Link| {
        let entries = list(link)?.enclaves;
        Ok::<_, Stop>(entries.into_iter().find(|entry| entry.uuid == uuid))
    };
    let installed = entry_of(link.as_mut())?.is_some_and(|entry| entry.version.is_some() || entry.pending);
    let totals = if installed { Some(meter(context, link.as_mut(), QUERY, "")?) } else { None };
    let entry = entry_of(link.as_mut())?;
    Ok(View {
        info,
        version: entry.as_ref().and_then(|entry| entry.version),
        floor: entry.as_ref().map_or(0, |entry| entry.floor),
        pending: entry.is_some_and(|entry| entry.pending),
        meter: totals,
    })
}

/// A call of the meter; `None` from OP-TEE's absence is a skip.
fn meter(context: &Context<'_>, link: &mut dyn Link, command: u32, text: &str) -> Result<Totals, Stop> {
    send(link, Command::OpenEnclave, &encode(&OpenRequest { uuid: context.image.uuid }))?;
    let reply = link.invoke(command, text.as_bytes(), MAX_REPLY);
    let reply = reply.ok_or(Stop::Skipped("enclaves run only on OP-TEE"))??;
    send(link, Command::CloseEnclave, &[])?;
    totals(&String::from_utf8(reply)?)
}

/// `total=<n> readings=<n> chain=<hex>`.
fn totals(line: &str) -> Result<Totals, Stop> {
    let field = |name: &str| {
        let value = line.split_whitespace().find_map(|word| word.strip_prefix(name)).map(str::parse);
        value.ok_or_else(|| Stop::Failed(format!("no {name} in {line:?}")))
    };
    Ok(Totals { total: field("total=")??, readings: field("readings=")?? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> View {
        View { info: "i".to_owned(), version: None, floor: 0, pending: false, meter: None }
    }

    #[test]
    fn steps_read_back() {
        for step in [Step::Install(7), Step::Record(0), Step::Uninstall, Step::Erase] {
            assert_eq!(step.to_string().parse(), Ok(step));
        }
        for bad in ["", "install", "install:", "install:x", "record:-1", "uninstall:1", "erase:", "reboot"] {
            assert!(bad.parse::<Step>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn data_stay_sealed_over_a_removal_and_go_with_an_erasure() {
        let model = Model::of(&start()).after(Step::Install(3)).after(Step::Record(5));
        let installed =
            View { version: Some(3), floor: 3, meter: Some(Totals { total: 5, readings: 1 }), ..start() };
        assert!(model.allows(&installed) && !model.allows(&start()));
        let removed = model.after(Step::Uninstall);
        assert!(removed.allows(&View { floor: 3, ..start() }));
        assert!(removed.after(Step::Install(3)).allows(&installed));
        let empty = View { meter: Some(Totals::default()), ..installed };
        assert!(model.after(Step::Erase).after(Step::Install(3)).allows(&empty));
        assert!(!model.allows(&empty));
    }

    #[test]
    fn a_changed_key_or_floor_is_never_right() {
        let model = Model::of(&start());
        assert!(!model.allows(&View { info: "another key".to_owned(), ..start() }));
        assert!(!model.allows(&View { floor: 1, ..start() }));
        assert!(!model.allows(&View { pending: true, ..start() }));
    }
}

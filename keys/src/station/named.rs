//! What failures are called, and what to do then. What is not a step's own has the same name at each step: the way to the device, the
//! service, a clock.

use anyhow::{Error, Result};

use super::{Failure, clock, link};
use crate::client;

/// Names what went wrong, and what to do then.
pub(super) trait Named<T> {
    fn named(self, step: &'static str, name: &'static str, help: &'static str) -> Result<T, Failure>;
}

impl<T> Named<T> for Result<T> {
    fn named(self, step: &'static str, name: &'static str, help: &'static str) -> Result<T, Failure> {
        self.map_err(|error| {
            let (name, help) = elsewhere(&error).unwrap_or((name, help));
            Failure { step, name, what: format!("{error:#}"), help }
        })
    }
}

/// What is not the step's own: the way to the device, the service, a clock.
fn elsewhere(error: &Error) -> Option<(&'static str, &'static str)> {
    match error.downcast_ref() {
        Some(link::Trouble::Gone(_)) => return Some(("link", AGAIN)),
        Some(link::Trouble::Noise(_)) => return Some(("noise", NOISE)),
        None => {}
    }
    if error.is::<clock::Wrong>() {
        return Some(("clock", CLOCK));
    }
    match error.downcast_ref()? {
        client::Trouble::Unreached(_) => Some(("registry", SERVICE)),
        client::Trouble::Time(_) => Some(("clock", CLOCK)),
        client::Trouble::Refused(name, _) => match name.as_str() {
            "vault" => Some(("vault", VAULT)),
            "clock" => Some(("clock", THEIR_CLOCK)),
            "database" => Some(("registry", SERVICE)),
            _ => None,
        },
    }
}

pub(super) const AGAIN: &str =
    "check cable and power, then start the station again: it goes on where the device is";
pub(super) const JOURNAL: &str =
    "see to the journal's folder: space and permissions, then start the station again";
pub(super) const OTHERS: &str =
    "leave it to the other station; where that is gone, its lease ends after ten minutes";
pub(super) const SERVICE: &str =
    "see whether the key service runs and its network, then start the station again";
const NOISE: &str =
    "look at plug, ground and speed of the serial line, on both sides, then start the station again";
pub(super) const POLICY: &str =
    "ask POST /v1/explain which rule denies it, mend the policy, then start the station again";
const VAULT: &str = "see to the key service's module: power, network, PIN; then start the station again";
const THEIR_CLOCK: &str = "set the clock of the key service's host, then start the station again";
pub(super) const CLOCK: &str =
    "set this station's clock, or the service's, whichever is wrong, then start the station again";
pub(super) const ASIDE: &str = "put the device aside: it is not one for this line";

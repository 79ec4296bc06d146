//! The factory's station: from blank boards to devices with an identity, an owner and a signed voucher. Several at once.
//!
//! Each step asks the device first what is done already, does what is not, and reads it back, so that a station that was cut off
//! at any point goes on where the device is. A device passes or fails; in between, its journal says so.
//!
//! | step | what | done already where |
//! | --- | --- | --- |
//! | `identify` | what the device says it is; refused where it is not as this line wants it | |
//! | `certify` | request and token, both proved; factory's certificates | the journal has certificates of the same key |
//! | `provision` | owner root pinned, owner's statements | `info` names the owner root; statements are taken again |
//! | `enrol` | the registry knows the device | it takes the same again |
//! | `keys` | class keys, released by the service | `info` lists them |
//! | `lock` | the factory's part ends | `info` says locked |
//! | `verify` | a fresh token, held against what is expected | |
//! | `voucher` | what the factory did, signed | the journal has it |

pub mod claim;
mod clock;
pub mod config;
pub mod fuse;
pub mod journal;
pub mod label;
mod line;
pub mod link;
pub mod outbox;
pub mod report;
pub mod returned;
pub mod signed;
mod steps;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

pub use config::Config;
pub use line::Station;

/// Why a device did not pass, and what to do.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{step}: {name}: {what}")]
pub struct Failure {
    /// The step.
    pub step: &'static str,
    /// Kind of failure, for reports.
    pub name: &'static str,
    /// What it was.
    pub what: String,
    /// What to do next.
    pub help: &'static str,
}

/// What becomes of a device.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its name on this line.
    pub name: String,
    /// Its id, once it was told.
    pub device_id: Option<String>,
    /// Whether it passed.
    pub result: Result<(), Failure>,
    /// How long it took.
    pub time: Duration,
}

/// Hears of every step; several devices speak at once.
pub struct Progress {
    json: bool,
    start: Instant,
    lines: Mutex<()>,
}

impl Progress {
    /// Lines for people, or JSON.
    pub fn new(json: bool) -> Self {
        Self { json, start: Instant::now(), lines: Mutex::default() }
    }

    /// A step of a device is done.
    pub fn step(&self, device: &str, step: &str, detail: &str) {
        let seconds = self.start.elapsed().as_secs_f64();
        self.line(
            &json!({"device": device, "step": step, "detail": detail, "seconds": seconds}),
            &format!("[{seconds:6.1} s] {device:<16}{step:<12}{detail}"),
        );
    }

    /// A device is done with.
    pub fn outcome(&self, outcome: &Outcome) {
        let (name, seconds) = (&outcome.name, outcome.time.as_secs_f64());
        let id = outcome.device_id.as_deref().unwrap_or("unknown device");
        let failure = outcome.result.as_ref().err();
        let value = json!({"device": name, "device_id": outcome.device_id, "passed": failure.is_none(), "seconds": seconds,
            "failure": failure.map(|failure| json!({"step": failure.step, "name": failure.name, "what": failure.what, "help": failure.help}))});
        let text = match failure {
            None => format!("PASS  {name}: {id} in {seconds:.1} s"),
            Some(failure) => format!("FAIL  {name}: {id}: {failure}\nhelp: {}", failure.help),
        };
        self.line(&value, &text);
    }

    fn line(&self, value: &Value, text: &str) {
        let _turn = self.lines.lock();
        if self.json { println!("{value}") } else { println!("{text}") }
    }
}

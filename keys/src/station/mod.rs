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
mod named;
pub mod outbox;
pub mod report;
pub mod returned;
pub mod signed;
mod steps;

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
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
    /// How much of that the device was waited for.
    pub waited: Duration,
}

/// Hears of every step; several devices speak at once. Words say everything; on a terminal that wants them there are colours too.
pub struct Progress {
    how: How,
    start: Instant,
    lines: Mutex<()>,
}

/// How somebody wants to hear.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// Lines of JSON.
    Json,
    /// Lines for people.
    Lines,
    /// With the terminal's bell: once for a device that passed, three times for one that did not.
    Bell,
}

const PASS: Style = AnsiColor::Green.on_default().bold();
const FAIL: Style = AnsiColor::Red.on_default().bold();
const HELP: Style = AnsiColor::Cyan.on_default();

impl Progress {
    /// Begins now.
    pub fn new(how: How) -> Self {
        Self { how, start: Instant::now(), lines: Mutex::default() }
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
        let (name, seconds, waited) =
            (&outcome.name, outcome.time.as_secs_f64(), outcome.waited.as_secs_f64());
        let id = outcome.device_id.as_deref().unwrap_or("unknown device");
        let failure = outcome.result.as_ref().err();
        let value = json!({"device": name, "device_id": outcome.device_id, "passed": failure.is_none(), "seconds": seconds,
            "device_seconds": waited,
            "failure": failure.map(|failure| json!({"step": failure.step, "name": failure.name, "what": failure.what, "help": failure.help}))});
        let text = match failure {
            None => format!("{PASS}PASS{PASS:#}  {name}: {id} in {seconds:.1} s"),
            Some(failure) => {
                let help = failure.help;
                format!("{FAIL}FAIL{FAIL:#}  {name}: {id}: {failure}\n{HELP}help:{HELP:#} {help}")
            }
        };
        self.line(&value, &text);
        if self.how == How::Bell && std::io::stdout().is_terminal() {
            print!("{}", "\x07".repeat(if failure.is_none() { 1 } else { 3 }));
            let _ = std::io::stdout().flush();
        }
    }

    fn line(&self, value: &Value, text: &str) {
        let _turn = self.lines.lock();
        if self.how == How::Json { println!("{value}") } else { anstream::println!("{text}") }
    }
}

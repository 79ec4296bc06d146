//! Progress on stderr: one line per step with the elapsed time, live while stderr is a terminal.

use std::io::{IsTerminal, Write};
use std::sync::mpsc::{Sender, channel};
use std::sync::{LazyLock, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

static START: LazyLock<Instant> = LazyLock::new(Instant::now);
static QUIET: Mutex<bool> = Mutex::new(false);

/// Starts the clock that every line shows.
pub(crate) fn start() {
    LazyLock::force(&START);
}

/// Keeps lines of cached steps to itself, for commands whose own output matters.
pub(crate) fn hide_cached() {
    if let Ok(mut quiet) = QUIET.lock() {
        *quiet = true;
    }
}

/// Writes one progress line.
pub(crate) fn line(text: &str) {
    eprintln!("{} {text}", stamp(START.elapsed()));
}

/// Writes the line of a step that had nothing to do.
pub(crate) fn cached(name: &str) {
    if !QUIET.lock().is_ok_and(|quiet| *quiet) {
        line(&format!("{name} … cached"));
    }
}

/// Runs `work` under a progress line.
pub(crate) fn step<T>(name: &str, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let began = Instant::now();
    let counter = Counter::start(name);
    let result = work();
    counter.stop();
    let outcome = if result.is_ok() { "done" } else { "failed" };
    line(&format!("{name} … {outcome} ({:.1} s)", began.elapsed().as_secs_f32()));
    result
}

fn stamp(elapsed: Duration) -> String {
    format!("[{:6.1} s]", elapsed.as_secs_f32())
}

/// A live counter on a terminal; nothing elsewhere.
struct Counter(Option<(Sender<()>, JoinHandle<()>)>);

impl Counter {
    fn start(name: &str) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let (stop, stopped) = channel();
        let name = name.to_owned();
        let thread = std::thread::spawn(move || {
            while stopped.recv_timeout(Duration::from_millis(200))
                == Err(std::sync::mpsc::RecvTimeoutError::Timeout)
            {
                let mut stderr = std::io::stderr().lock();
                let _ = write!(stderr, "\r{} {name} …", stamp(START.elapsed()));
                let _ = stderr.flush();
            }
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        });
        Self(Some((stop, thread)))
    }

    fn stop(self) {
        if let Some((stop, thread)) = self.0 {
            drop(stop);
            let _ = thread.join();
        }
    }
}

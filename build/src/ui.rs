//! Progress on stderr: one line per step with the elapsed time, live while stderr is a terminal.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{LazyLock, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

static START: LazyLock<Instant> = LazyLock::new(Instant::now);
static QUIET: AtomicBool = AtomicBool::new(false);
/// Steps that were already named as cached: several parts need the same one.
static NAMED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
/// Steps shorter than this are not worth a line when only the command's own output matters.
const WORTH_A_LINE: Duration = Duration::from_secs(1);

/// Starts the clock that every line shows.
pub(crate) fn start() {
    LazyLock::force(&START);
}

/// Keeps cached and short steps to itself, for commands whose own output matters.
pub(crate) fn only_long_steps() {
    QUIET.store(true, Ordering::Relaxed);
}

/// Writes one progress line.
pub(crate) fn line(text: &str) {
    eprintln!("{} {text}", stamp(START.elapsed()));
}

/// Writes the line of a step that had nothing to do, once for each step.
pub(crate) fn cached(name: &str) {
    let first = NAMED.lock().is_ok_and(|mut named| named.insert(name.to_owned()));
    if first && !QUIET.load(Ordering::Relaxed) {
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
    let hidden = QUIET.load(Ordering::Relaxed) && result.is_ok() && began.elapsed() < WORTH_A_LINE;
    if !hidden {
        line(&format!("{name} … {outcome} ({:.1} s)", began.elapsed().as_secs_f32()));
    }
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

//! Root kills tee-supplicant in the middle of a call and starts it again: the call ends, done or refused as a whole.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command as Process, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::case::Stop;
use crate::check;
use crate::context::Context;
use crate::hostile::{healthy, is_refusal, race};
use crate::random::Random;
use crate::steps::{Model, Step, view};

const NAME: &str = "tee-supplicant";
/// How long tee-supplicant may take to start again, and the call to end.
const LIMIT: Duration = Duration::from_secs(60);
/// After this, the call whose memory keeps the device of tee-supplicant busy is killed.
const PATIENCE: Duration = Duration::from_secs(5);
/// What tee-supplicant says when it starts.
const MESSAGES: &str = "/tmp/tee-supplicant.log";
/// What the program says whose call was in the TEE.
const COMPLAINTS: &str = "/tmp/killed-in-a-call.log";

/// Kills it while a reading is sealed, or while the meter is installed again.
pub fn kill(context: &mut Context<'_>, random: &mut Random) -> Result<(), Stop> {
    killed(context, random, false)
}

/// The same with one that answers nothing any more: what the call asks first, the directory of all objects, stays without an answer.
pub fn kill_silent(context: &mut Context<'_>, random: &mut Random) -> Result<(), Stop> {
    killed(context, random, true)
}

fn killed(context: &mut Context<'_>, random: &mut Random, silent: bool) -> Result<(), Stop> {
    let before = Model::of(&healthy(context)?);
    let again = context.again.clone().ok_or(Stop::Skipped("there is no tee-supplicant"))?;
    let old = running().ok_or(Stop::Skipped("tee-supplicant is no process here"))?;
    let step = if random.below(2) == 0 { Step::Record(1) } else { Step::Install(context.image.version) };
    let (kill_after, start_after) = (random.below(600), random.below(300));
    // A shell has it, an image need not.
    let signal =
        |name: &str| Process::new("sh").args(["-c", &format!("kill {name} {}", old.number)]).status();
    if silent {
        signal("-STOP")?;
    }
    let mut call = begin(&again, step)?;
    thread::sleep(Duration::from_millis(kill_after));
    signal("-9")?;
    thread::sleep(Duration::from_millis(start_after));
    let ended = restart(&old, &mut call)?;
    judge(context, &before, step, ended)
}

/// A process of its own, since only a process can be killed in a call.
fn begin(again: &[OsString], step: Step) -> io::Result<Child> {
    let mut command = Process::new(&again[0]);
    command.args(&again[1..]).args(["--steps", &step.to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(COMPLAINTS)?).spawn()
}

/// Done as a whole or not at all, and done if it said so.
fn judge(context: &Context<'_>, before: &Model, step: Step, ended: ExitStatus) -> Result<(), Stop> {
    let complaint = fs::read_to_string(COMPLAINTS)?;
    check!(ended.code().is_none_or(|code| code == 0) || is_refusal(&complaint), "{ended}: {complaint}");
    let now = view(context).map_err(|stop| Stop::Failed(format!("with tee-supplicant back: {stop:?}")))?;
    let after = before.after(step);
    let undone = !ended.success() && before.allows(&now);
    check!(undone || after.allows(&now), "{step}, {ended}: got {now:?}, before {before}, after {after}");
    Ok(())
}

/// A tee-supplicant: its number, its command line, and as whom it runs.
pub(super) struct Supplicant {
    pub(super) number: u32,
    words: Vec<String>,
    user: u32,
    group: u32,
}

/// The one that runs.
pub(super) fn running() -> Option<Supplicant> {
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let number = entry.file_name().to_str()?.parse().ok()?;
        let name = fs::read_to_string(entry.path().join("comm")).ok()?;
        let line = fs::read_to_string(entry.path().join("cmdline")).ok()?;
        let words: Vec<_> = line.split('\0').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        let whose = entry.metadata().ok()?;
        let found = Supplicant { number, words, user: whose.uid(), group: whose.gid() };
        (name.trim() == NAME && !found.words.is_empty()).then_some(found)
    })
}

/// Starts it again; how the call ends. A call that the old one was serving holds memory of it, and Linux lets no new one in
/// before that call has ended: where it waits for an answer that nobody will give, root has to kill it. Where init starts it again,
/// and with it what depends on it, that one may be first, or be lost when such a program is killed in its call.
fn restart(old: &Supplicant, call: &mut Child) -> Result<ExitStatus, Stop> {
    let (begin, mut ended) = (Instant::now(), None);
    while begin.elapsed() < LIMIT {
        let served =
            running().is_some_and(|other| has_driver(other.number)) || serves(start(old)?, begin + LIMIT);
        ended = ended.or(call.try_wait()?);
        match ended {
            Some(status) if served => return Ok(status),
            None if !served && begin.elapsed() > PATIENCE => call.kill()?,
            _ => {}
        }
        thread::sleep(Duration::from_millis(50));
    }
    let waiting = race::waiting(&format!("/proc/{}/task", call.id()));
    let messages = fs::read_to_string(MESSAGES).unwrap_or_default();
    Err(Stop::Failed(match ended {
        Some(_) => format!("{NAME} does not start: {}", messages.trim()),
        None => format!("the call of a killed {NAME} has not ended{waiting}: {}", messages.trim()),
    }))
}

/// In the foreground: what it does to get away from whoever starts it fails now and then, and then nobody serves. As nobody's child:
/// who waits for a child takes what whoever traces it waits for. As the same user, whose the files are.
fn start(old: &Supplicant) -> io::Result<u32> {
    let mut shell = Process::new("sh");
    shell.args(["-c", &format!("\"$@\" </dev/null >{MESSAGES} 2>&1 & echo $!"), "sh"]);
    shell.args(old.words.iter().filter(|word| *word != "-d")).uid(old.user).gid(old.group);
    String::from_utf8_lossy(&shell.output()?.stdout).trim().parse().map_err(io::Error::other)
}

/// Whether it got hold of the driver, or ended because another one has it.
fn serves(number: u32, end: Instant) -> bool {
    // Its command line is empty for a moment when it starts, so that says nothing.
    let alive =
        || fs::read_to_string(format!("/proc/{number}/stat")).is_ok_and(|line| !line.contains(") Z "));
    while alive() && Instant::now() < end {
        if has_driver(number) {
            return true;
        }
        thread::sleep(Duration::from_millis(20));
    }
    false
}

fn has_driver(number: u32) -> bool {
    let files = fs::read_dir(format!("/proc/{number}/fd")).into_iter().flatten().flatten();
    let mut open = files.filter_map(|file| fs::read_link(file.path()).ok());
    open.any(|file| file.starts_with("/dev") && file.to_string_lossy().contains("teepriv"))
}

//! Root kills tee-supplicant in the middle of a call and starts it again, or lets it lie: the call ends, done or refused as a whole.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::process::{Child, Command as Process, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::case::Stop;
use crate::check;
use crate::context::Context;
use crate::hostile::{back, healthy, is_refusal, race};
use crate::random::Random;
use crate::steps::{Model, Step, carry_out, view};
use crate::target::Code;

const NAME: &str = "tee-supplicant";
/// How long a call may take once tee-supplicant is back.
const LIMIT: Duration = Duration::from_secs(40);
/// How long tee-supplicant may take to start again.
const RESTART: Duration = Duration::from_secs(30);
/// After this, the call whose memory keeps the device of tee-supplicant busy is killed.
const PATIENCE: Duration = Duration::from_secs(5);
/// What tee-supplicant says when it starts.
const MESSAGES: &str = "/tmp/tee-supplicant.log";
/// What the program says whose call was in the TEE.
const COMPLAINTS: &str = "/tmp/killed-in-a-call.log";

/// What is said, and about which reading.
#[derive(Clone, Debug)]
pub struct Lie {
    /// Of these files only.
    pub about: About,
    /// From this place in them on.
    pub from: u64,
    /// After this many of them were answered truly, once.
    pub after: u64,
    /// What is claimed.
    pub claim: Claim,
}

/// Files of the TEE's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// Whichever.
    Any,
    /// The directory of objects.
    Directory,
    /// All but the directory.
    Objects,
}

/// A lie about a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It failed with this `TEE_Result`.
    Failed(u32),
    /// It gave less than there is.
    Short,
}

/// What tee-supplicant calls the directory of objects.
pub const DIRECTORY: &str = "dirf.db";
/// GlobalPlatform's `TEE_ERROR_CORRUPT_OBJECT`.
const CORRUPT: u32 = 0xf010_0001;
/// What a liar may answer: GlobalPlatform's "not found", "corrupt", "no memory", "bad parameters", "no space", and a result of nobody's.
const ANSWERS: [u32; 6] = [0xffff_0008, CORRUPT, 0xffff_000c, 0xffff_0006, 0xffff_3041, 0x1234_5678];
/// Where the entries of the directory begin: before them is what OP-TEE checks them with.
const ENTRIES: u64 = 4096;

/// Lies about a reading of any file in the middle of a change.
pub fn lie(context: &mut Context<'_>, random: &mut Random) -> Result<(), Stop> {
    let before = Model::of(&healthy(context)?);
    let answer = *random.choose(&ANSWERS).expect("there are some");
    let step = if random.below(2) == 0 { Step::Record(1) } else { Step::Install(context.image.version) };
    let lie = Lie { about: About::Any, from: 0, after: random.below(24), claim: Claim::Failed(answer) };
    let what = format!("{step} with {lie:?}");
    let (done, _) = while_lying(lie, || carry_out(context, step))?;
    check!(done.as_ref().err().is_none_or(is_unavailable), "{what}: {done:?}");
    let now = view(context).map_err(|stop| Stop::Failed(format!("after {what}: {stop:?}")))?;
    let after = before.after(step);
    let undone = done.is_err() && before.allows(&now);
    check!(undone || after.allows(&now), "{what}: got {now:?}, before {before}, after {after}");
    Ok(())
}

/// Says that the directory of objects ends where its entries begin.
pub fn hide_entries(context: &mut Context<'_>, _: &mut Random) -> Result<(), Stop> {
    let before = healthy(context)?;
    let claim = Claim::Failed(Code::NOT_FOUND.0);
    let lie = Lie { about: About::Directory, from: ENTRIES, after: 0, claim };
    let (shown, lied) = while_lying(lie, || view(context))?;
    check!(lied, "nobody read the directory");
    check!(shown.as_ref().is_err_and(is_unavailable), "without its entries: {shown:?}");
    back(context, &before, "the lie")
}

/// Says of one reading after the other that what was read is corrupt.
pub fn fail_each(context: &mut Context<'_>, random: &mut Random) -> Result<(), Stop> {
    each(context, random, 32, About::Any, Claim::Failed(CORRUPT))
}

/// Gives too little of one object after the other, which OP-TEE finds corrupt then. It would make a new directory from less than one.
pub fn cut_each(context: &mut Context<'_>, random: &mut Random) -> Result<(), Stop> {
    each(context, random, 1, About::Objects, Claim::Short)
}

/// From one of the first readings on in steps of up to that many, as long as there are some, or ten times.
fn each(
    context: &mut Context<'_>,
    random: &mut Random,
    step: u64,
    about: About,
    claim: Claim,
) -> Result<(), Stop> {
    let before = healthy(context)?;
    let (mut after, mut told) = (random.below(4), 0);
    while told < 10 {
        let lie = Lie { about, from: 0, after, claim };
        let (shown, lied) = while_lying(lie, || view(context))?;
        if !lied {
            check!(told > 0, "nobody read a file");
            break;
        }
        told += 1;
        let fine = shown.as_ref().map_or_else(is_unavailable, |now| *now == before);
        check!(fine, "reading {after}: {shown:?}");
        back(context, &before, "the lie")?;
        after += 1 + random.below(step);
    }
    Ok(())
}

/// A refusal; the TA goes on.
fn is_unavailable(stop: &Stop) -> bool {
    matches!(stop, Stop::Failed(why) if is_refusal(why))
}

/// Does something while tee-supplicant lies; also whether it had an opportunity to.
#[cfg(feature = "optee")]
fn while_lying<T>(lie: Lie, act: impl FnOnce() -> T) -> Result<(T, bool), Stop> {
    let (number, _) = running().ok_or(Stop::Skipped("tee-supplicant is no process here"))?;
    let liar = super::liar::Liar::begin(number, lie)?;
    let done = act();
    Ok((done, liar.end()?))
}

/// Nobody to get hold of.
#[cfg(not(feature = "optee"))]
fn while_lying<T>(_: Lie, _: impl FnOnce() -> T) -> Result<(T, bool), Stop> {
    Err(Stop::Skipped("there is no tee-supplicant"))
}

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
    let (number, words) = running().ok_or(Stop::Skipped("tee-supplicant is no process here"))?;
    let step = if random.below(2) == 0 { Step::Record(1) } else { Step::Install(context.image.version) };
    let (kill_after, start_after) = (random.below(600), random.below(300));
    let signal = |signal: &str| Process::new("kill").args([signal, &number.to_string()]).status();
    if silent {
        signal("-STOP")?;
    }
    let mut call = begin(&again, step)?;
    thread::sleep(Duration::from_millis(kill_after));
    signal("-9")?;
    thread::sleep(Duration::from_millis(start_after));
    restart(&words, &mut call)?;
    let ended = wait(&mut call, Instant::now() + LIMIT)?;
    let ended = ended.ok_or_else(|| still_there(&call, "the call of a killed tee-supplicant"))?;
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

/// Its number and its command line.
fn running() -> Option<(u32, Vec<String>)> {
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let number = entry.file_name().to_str()?.parse().ok()?;
        let name = fs::read_to_string(entry.path().join("comm")).ok()?;
        let line = fs::read_to_string(entry.path().join("cmdline")).ok()?;
        let words: Vec<_> = line.split('\0').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        (name.trim() == NAME && !words.is_empty()).then_some((number, words))
    })
}

/// Starts it again. A call that the old one was serving holds memory of it, and Linux lets no new one in before that call
/// has ended: where it waits for an answer that nobody will give, root has to kill it.
fn restart(words: &[String], call: &mut Child) -> Result<(), Stop> {
    let begin = Instant::now();
    while begin.elapsed() < RESTART {
        if serves(start(words)?, begin + RESTART) {
            return Ok(());
        }
        if begin.elapsed() > PATIENCE {
            call.kill()?;
        }
        thread::sleep(Duration::from_millis(50));
    }
    let messages = fs::read_to_string(MESSAGES)?;
    Err(still_there(call, &format!("{NAME} does not start: {}; the call", messages.trim())))
}

fn wait(child: &mut Child, end: Instant) -> io::Result<Option<ExitStatus>> {
    while Instant::now() < end {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(None)
}

fn still_there(call: &Child, what: &str) -> Stop {
    Stop::Failed(format!("{what} has not ended{}", race::waiting(&format!("/proc/{}/task", call.id()))))
}

/// In the foreground: what it does to get away from whoever starts it fails now and then, and then nobody serves. As nobody's child:
/// who waits for a child takes what whoever traces it waits for.
fn start(words: &[String]) -> io::Result<u32> {
    let mut shell = Process::new("sh");
    shell.args(["-c", &format!("\"$@\" </dev/null >{MESSAGES} 2>&1 & echo $!"), "sh"]);
    let started = shell.args(words.iter().filter(|word| *word != "-d")).output()?;
    String::from_utf8_lossy(&started.stdout).trim().parse().map_err(io::Error::other)
}

/// Whether it got hold of the driver, or ended because another one has it.
fn serves(number: u32, end: Instant) -> bool {
    // Its command line is empty for a moment when it starts, so that says nothing.
    let alive =
        || fs::read_to_string(format!("/proc/{number}/stat")).is_ok_and(|line| !line.contains(") Z "));
    while alive() && Instant::now() < end {
        let files = fs::read_dir(format!("/proc/{number}/fd")).into_iter().flatten().flatten();
        let mut open = files.filter_map(|file| fs::read_link(file.path()).ok());
        if open.any(|file| file.starts_with("/dev") && file.to_string_lossy().contains("teepriv")) {
            return true;
        }
        thread::sleep(Duration::from_millis(20));
    }
    false
}

//! Root kills tee-supplicant in the middle of a call and starts it again: the call ends, done or refused as a whole.

use std::fs;
use std::io;
use std::process::{Child, Command as Process, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use trustbox_api::Command;
use trustbox_api::limits::MAX_REPLY;
use trustbox_api::message::OpenRequest;

use crate::case::Stop;
use crate::context::{Context, encode, install, send};
use crate::hostile::healthy;
use crate::hostile::race::{self, within};
use crate::random::Random;
use crate::steps::{View, view};
use crate::target::{Code, Connector};
use crate::{check, check_eq};

const NAME: &str = "tee-supplicant";
/// How long a call may take from the kill on.
const LIMIT: Duration = Duration::from_secs(40);
/// How long it may take to start again.
const RESTART: Duration = Duration::from_secs(30);
const RECORD: u32 = 1;
/// What it says when it starts.
const MESSAGES: &str = "/tmp/tee-supplicant.log";

/// Kills it while a reading is sealed, or while the meter is installed again.
pub fn kill(context: &mut Context<'_>, random: &mut Random) -> Result<(), Stop> {
    let before = healthy(context)?;
    let connect = context.target.connector().ok_or(Stop::Skipped("there is no tee-supplicant"))?;
    let arguments = running().ok_or(Stop::Skipped("tee-supplicant is no process here"))?;
    let recording = random.below(2) == 0;
    let (kill_after, start_after) = (random.below(600), random.below(300));
    let (uuid, package) = (context.image.uuid, context.package(&context.image));
    let work = move || if recording { record(&connect, uuid) } else { again(&connect, &package) };
    let killer = thread::spawn(move || {
        thread::sleep(Duration::from_millis(kill_after));
        restart(&arguments, Duration::from_millis(start_after))
    });
    let answer = within(LIMIT, "a call whose tee-supplicant was killed", work);
    killer.join().map_err(|_| Stop::Failed("the killing thread panicked".to_owned()))??;
    judge(context, &before, answer?, recording)
}

fn judge(
    context: &Context<'_>,
    before: &View,
    answer: Result<(), Code>,
    recording: bool,
) -> Result<(), Stop> {
    check!(answer != Err(Code::TARGET_DEAD), "with tee-supplicant killed: {answer:?}");
    let now = view(context).map_err(|stop| Stop::Failed(format!("with tee-supplicant back: {stop:?}")))?;
    let mut after = before.clone();
    if let (true, Some(totals)) = (recording, after.meter.as_mut()) {
        totals.total += 1;
        totals.readings += 1;
    }
    if answer.is_ok() || now != *before {
        check_eq!(now, after, "with tee-supplicant back, after {answer:?}");
    }
    Ok(())
}

fn record(connect: &Connector, uuid: trustbox_api::Uuid) -> Result<(), Code> {
    let target = connect()?;
    let mut link = target.connect()?;
    send(link.as_mut(), Command::OpenEnclave, &encode(&OpenRequest { uuid }))?;
    link.invoke(RECORD, b"1", MAX_REPLY).unwrap_or(Err(Code::NOT_FOUND)).map(drop)
}

fn again(connect: &Connector, package: &crate::package::Package) -> Result<(), Code> {
    install(connect()?.connect()?.as_mut(), &package.0, &package.1)
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

/// Kills it and starts it again, as often as it takes: the driver serves one at a time, and the old one takes a moment to die.
fn restart((number, words): &(u32, Vec<String>), pause: Duration) -> io::Result<()> {
    Process::new("kill").args(["-9", &number.to_string()]).status()?;
    thread::sleep(pause);
    let end = Instant::now() + RESTART;
    while Instant::now() < end {
        let mut new = start(words)?;
        if serves(&mut new, end)? {
            thread::spawn(move || new.wait());
            return Ok(());
        }
        thread::sleep(Duration::from_millis(50));
    }
    let messages = fs::read_to_string(MESSAGES)?;
    let waits = race::waiting(&format!("/proc/{number}/task"));
    Err(io::Error::other(format!("{NAME} does not start: {}; the old one{waits}", messages.trim())))
}

/// In the foreground: what it does to get away from whoever starts it fails now and then, and then nobody serves.
fn start(words: &[String]) -> io::Result<Child> {
    let messages = fs::File::create(MESSAGES)?;
    let mut command = Process::new(&words[0]);
    command.args(words[1..].iter().filter(|word| *word != "-d"));
    command.stdin(Stdio::null()).stdout(messages.try_clone()?).stderr(messages).spawn()
}

/// Whether it got hold of the driver, or ended because another one has it.
fn serves(new: &mut Child, end: Instant) -> io::Result<bool> {
    while new.try_wait()?.is_none() && Instant::now() < end {
        let files = fs::read_dir(format!("/proc/{}/fd", new.id())).into_iter().flatten().flatten();
        let mut open = files.filter_map(|file| fs::read_link(file.path()).ok());
        if open.any(|file| file.starts_with("/dev") && file.to_string_lossy().contains("teepriv")) {
            return Ok(true);
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(false)
}

//! Root kills tee-supplicant in the middle of a call and starts it again: the call ends, done or refused as a whole.

use std::fs;
use std::process::Command as Process;
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
fn restart((number, words): &(u32, Vec<String>), pause: Duration) -> std::io::Result<()> {
    Process::new("kill").args(["-9", &number.to_string()]).status()?;
    thread::sleep(pause);
    let end = Instant::now() + RESTART;
    loop {
        let mut start = Process::new(&words[0]);
        // A file: a pipe would stay open in what goes on in the background.
        let messages = fs::File::create(MESSAGES)?;
        let status = start.args(&words[1..]).stdout(messages.try_clone()?).stderr(messages).status()?;
        if status.success() && running().is_some_and(|(now, _)| now != *number) {
            return Ok(());
        }
        if Instant::now() > end {
            let messages = fs::read_to_string(MESSAGES)?;
            let waits = race::waiting(&format!("/proc/{number}/task"));
            let message = format!("{NAME} ended with {status}: {}; the old one{waits}", messages.trim());
            return Err(std::io::Error::other(message));
        }
        thread::sleep(Duration::from_millis(50));
    }
}

//! A board on its serial console, without a login: its image of the line runs `keys/deploy/station-agent`, which says what the lines
//! are. Whatever else is on the line, messages of its kernel, an echo, noise, is no line of ours; one that came damaged is asked for again.

use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::termios::{ControlModes, OptionalActions, tcgetattr, tcsetattr};
use sha2::{Digest, Sha256};
use trustbox_package::request::hex;

use super::{PATIENCE, Said, Trouble};

/// What a line of ours begins with.
const MARK: &str = "TB1 ";
/// Digits of a line's sum.
const SUM: usize = 8;
/// Characters of a command line in one line: terminals take 4095.
const PART: usize = 1024;
/// Octets of a line that is none of ours at most.
const LONGEST: usize = 8192;
/// After how long a line is said again, for the first time.
const AGAIN: Duration = Duration::from_secs(1);
/// How long nothing may come.
const SILENCE: Duration = Duration::from_secs(30);
/// Damaged lines in one question at most.
const DAMAGED: usize = 20;

/// A console.
pub(super) struct Serial {
    tty: File,
    path: String,
    /// Begins the names of all commands of this station, so that no answer to another one is taken for its own.
    session: String,
    commands: usize,
    /// What came and is no whole line yet.
    unread: Vec<u8>,
}

impl Serial {
    /// Takes the console for this process alone, and makes it pass on what comes.
    pub(super) fn open(path: &str, speed: u32) -> Result<Self> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let tty = rustix::fs::open(path, flags, Mode::empty());
        let tty = File::from(tty.with_context(|| format!("cannot open {path}"))?);
        match tty.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!("another station uses {path}"),
            Err(TryLockError::Error(error)) => return Err(error).context("cannot lock a console"),
        }
        let mut modes = tcgetattr(&tty).with_context(|| format!("{path} is no console"))?;
        modes.make_raw();
        modes.control_modes |= ControlModes::CLOCAL | ControlModes::CREAD;
        modes.set_speed(speed).with_context(|| format!("{path} does not know {speed} bits a second"))?;
        tcsetattr(&tty, OptionalActions::Flush, &modes)?;
        let mut random = [0; 4];
        getrandom::fill(&mut random).context("no random numbers")?;
        Ok(Self { tty, path: path.to_owned(), session: hex(&random), commands: 0, unread: Vec::new() })
    }

    /// Runs a command line.
    pub(super) fn said(&mut self, line: &str) -> Result<Said> {
        self.commands += 1;
        let run = format!("{}-{}", self.session, self.commands);
        let text = BASE64_STANDARD.encode(line);
        let parts = text.as_bytes().chunks(PART).map(String::from_utf8_lossy);
        let mut count = 0;
        for part in parts {
            count += 1;
            self.ask(&format!("put {run} {count} {part}"), &format!("did {run} {count}"))?;
        }
        let end = self.ask(&format!("run {run} {count}"), &format!("end {run} "))?;
        let fields: Vec<_> = end.split(' ').collect();
        let [status, out, err, first_out, first_err] = *fields.as_slice() else {
            bail!("an answer is not whole")
        };
        let stdout = self.output(&run, "out", out.parse()?, first_out)?;
        let stderr = self.output(&run, "err", err.parse()?, first_err)?;
        Ok((status.parse()?, stdout, stderr))
    }

    /// The lines of an output after the first.
    fn output(&mut self, run: &str, name: &str, lines: usize, first: &str) -> Result<Vec<u8>> {
        let mut text = first.to_owned();
        for number in 2..=lines {
            let line = format!("{run} {name} {number}");
            text += &self.ask(&format!("get {line}"), &format!("got {line} "))?;
        }
        BASE64_STANDARD.decode(text).context("an answer is not base64")
    }

    /// Says a line until it is answered; returns what follows the words that are waited for.
    fn ask(&mut self, asked: &str, wanted: &str) -> Result<String> {
        let start = Instant::now();
        let (mut silent, mut again, mut damaged) = (start + SILENCE, AGAIN, 0);
        while Instant::now() < silent.min(start + PATIENCE) && damaged < DAMAGED {
            let turn = silent.min(Instant::now() + again);
            again *= 2;
            self.say(asked, silent)?;
            while let Some(line) = self.line(turn)? {
                match heard(&line) {
                    Some(words) if words.starts_with("lost ") => {
                        bail!(self.gone("it started anew in the middle of a command"))
                    }
                    Some("busy") => silent = Instant::now() + SILENCE,
                    Some(words) if words != "again" => {
                        if let Some(rest) = words.strip_prefix(wanted) {
                            return Ok(rest.to_owned());
                        }
                    }
                    // What was asked went through or did not: it is no harm to ask again.
                    heard if heard.is_some() || line.contains(MARK) => {
                        (damaged, again) = (damaged + 1, AGAIN);
                        break;
                    }
                    _ => {}
                }
            }
        }
        if damaged > 0 {
            bail!(Trouble::Noise(format!("{}: {damaged} lines in a row came damaged", self.path)));
        }
        bail!(self.gone("no answer"))
    }

    fn gone(&self, why: &str) -> Trouble {
        Trouble::Gone(format!("{}: the device is gone: {why}", self.path))
    }

    /// A line of its own, whatever was on the terminal before.
    fn say(&mut self, words: &str, limit: Instant) -> Result<()> {
        let text = format!("\n{MARK}{words} {}\n", sum(words));
        let mut left = text.as_bytes();
        while !left.is_empty() {
            ensure!(self.ready(PollFlags::OUT, limit)?, self.gone("it takes nothing"));
            match self.tty.write(left) {
                Ok(count) => left = left.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => bail!(self.gone(&error.to_string())),
            }
        }
        Ok(())
    }

    /// The next line, whosever it is; none where none comes in time.
    fn line(&mut self, limit: Instant) -> Result<Option<String>> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                return Ok(Some(String::from_utf8_lossy(&line).trim_end().to_owned()));
            }
            if self.unread.len() > LONGEST {
                self.unread.clear();
            }
            if !self.ready(PollFlags::IN, limit)? {
                return Ok(None);
            }
            let mut bytes = [0; 1024];
            match self.tty.read(&mut bytes) {
                Ok(0) => bail!(self.gone("its console was closed")),
                Ok(count) => self.unread.extend(bytes.iter().take(count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => bail!(self.gone(&error.to_string())),
            }
        }
    }

    fn ready(&self, what: PollFlags, limit: Instant) -> Result<bool> {
        let left = limit.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).context("a time that is too long")?;
        match poll(&mut [PollFd::new(&self.tty, what)], Some(&left)) {
            Ok(count) => Ok(count > 0),
            Err(rustix::io::Errno::INTR) => Ok(true),
            Err(error) => bail!(self.gone(&error.to_string())),
        }
    }
}

/// The words of a line of ours that came whole; what stands before it on the same line is somebody else's.
fn heard(line: &str) -> Option<&str> {
    let (_, ours) = line.rsplit_once(MARK)?;
    let (words, found) = ours.rsplit_once(' ')?;
    (found == sum(words)).then_some(words)
}

fn sum(words: &str) -> String {
    let digest = Sha256::new().chain_update(MARK).chain_update(words).finalize();
    let mut digits = hex(&digest);
    digits.truncate(SUM);
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_lines_are_heard() {
        let line = format!("TB1 did a-1 2 {}", sum("did a-1 2"));
        assert_eq!(heard(&line), Some("did a-1 2"));
        assert_eq!(heard(&format!("[ 7.1] kernel: TB1 {line}")), Some("did a-1 2"));
        for bad in
            [line.replace("a-1", "a-2"), line.replace("TB1 ", "TB2 "), line[..20].to_owned(), String::new()]
        {
            assert_eq!(heard(&bad), None, "{bad}");
        }
        // As a shell computes it.
        assert_eq!(sum("run 1 1"), "56d58617");
    }
}

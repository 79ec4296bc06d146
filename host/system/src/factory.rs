//! The factory's port: a blank device asks, whoever is on the other side answers, and the TA decides what it believes.
//!
//! One line of JSON each way. The device asks three times: for statements over its provisioning request, for class keys over its
//! key request, for packages. There is no other command, so the port gives nobody a way in.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::event::{PollFd, PollFlags, poll};
use serde_json::{Value, json};

/// Name of the port, as the machine gives it.
pub(crate) const PORT: &str = "trustbox.factory";
const TRUSTBOX: &str = "/usr/bin/trustbox";
/// Where answers are kept until the TA has seen them.
const SCRATCH: &str = "/run/trustbox-factory";
/// Files and octets of one answer.
const MAX_FILES: usize = 8;
const MAX_ANSWER: u64 = 24 << 20;

/// Does what a blank device needs; any other has nothing to ask.
pub(crate) fn run() -> Result<()> {
    let info: Value = serde_json::from_str(&trustbox(&["--json", "info"], &[])?)?;
    if info["lifecycle"] != "blank" {
        return Ok(());
    }
    let Some(port) = find()? else { return Ok(()) };
    let file = OpenOptions::new().read(true).write(true).open(&port);
    let mut line = Line::over(file.with_context(|| format!("cannot open {}", port.display()))?);
    if line.hung_up()? {
        eprintln!("nobody is at the factory's port: the next boot asks");
        return Ok(());
    }
    fs::create_dir_all(SCRATCH)?;
    let statements = line.ask("provision", &trustbox(&["provision", "--request", "-"], &[])?)?;
    trustbox(&["provision"], &statements)?;
    let keys = line.ask("key", &trustbox(&["key", "import", "--request", "-"], &[])?)?;
    for key in &keys {
        trustbox(&["key", "import"], std::slice::from_ref(key))?;
    }
    for package in line.ask("packages", "{}")? {
        trustbox(&["install"], &[package])?;
    }
    Ok(())
}

fn find() -> Result<Option<PathBuf>> {
    let Ok(ports) = fs::read_dir("/sys/class/virtio-ports") else { return Ok(None) };
    let ours = |path: &Path| fs::read_to_string(path.join("name")).is_ok_and(|name| name.trim() == PORT);
    let found = ports.flatten().map(|entry| entry.path()).find(|path| ours(path));
    Ok(found.and_then(|path| Some(Path::new("/dev").join(path.file_name()?))))
}

/// Runs `trustbox`; its answer, or what it says is wrong.
fn trustbox(words: &[&str], files: &[PathBuf]) -> Result<String> {
    let output = Command::new(TRUSTBOX).args(words).args(files).output().context("cannot start trustbox")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "trustbox {}: {}", words.join(" "), said.trim());
    Ok(String::from_utf8(output.stdout)?)
}

/// The other side.
struct Line {
    file: File,
    /// A factory that says nothing for so long is not there: other services of the boot wait for it.
    silence: Duration,
}

impl Line {
    fn over(file: File) -> Self {
        Self { file, silence: Duration::from_secs(300) }
    }

    fn hung_up(&self) -> Result<bool> {
        Ok(self.wait(PollFlags::OUT, Duration::ZERO)?.contains(PollFlags::HUP))
    }

    /// Until it can be read or written, or is closed; what it was.
    fn wait(&self, what: PollFlags, limit: Duration) -> io::Result<PollFlags> {
        let mut port = [PollFd::new(&self.file, what)];
        poll(&mut port, Some(&limit.try_into().map_err(io::Error::other)?))?;
        Ok(port[0].revents())
    }

    fn ask(&mut self, what: &str, request: &str) -> Result<Vec<PathBuf>> {
        let answer = self.line(what, request)?;
        files(&answer)?.iter().enumerate().map(|(number, content)| keep(what, number, content)).collect()
    }

    fn line(&mut self, what: &str, request: &str) -> Result<String> {
        let request: Value = serde_json::from_str(request)?;
        writeln!(self.file, "{}", json!({"ask": what, "request": request}))?;
        let mut answer = String::new();
        BufReader::new(self.take(MAX_ANSWER))
            .read_line(&mut answer)
            .context("the factory does not answer")?;
        Ok(answer)
    }
}

impl Read for Line {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.wait(PollFlags::IN, self.silence)?.is_empty() {
            return Err(ErrorKind::TimedOut.into());
        }
        self.file.read(into)
    }
}

fn keep(what: &str, number: usize, content: &[u8]) -> Result<PathBuf> {
    let path = Path::new(SCRATCH).join(format!("{what}-{number}"));
    fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// Reads `{"files": [BASE64, …]}`.
fn files(answer: &str) -> Result<Vec<Vec<u8>>> {
    let answer: Value = serde_json::from_str(answer).context("the factory's answer is not JSON")?;
    if let Some(error) = answer["error"].as_str() {
        bail!("the factory refuses: {}", error.chars().filter(|c| !c.is_control()).collect::<String>());
    }
    let list = answer["files"].as_array().context("the factory's answer has no files")?;
    ensure!(
        list.len() <= MAX_FILES,
        "the factory's answer has {} files, {MAX_FILES} are allowed",
        list.len()
    );
    let decode = |text: &Value| Ok(STANDARD.decode(text.as_str().context("a file is not text")?)?);
    list.iter().map(decode).collect()
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    /// A line, and its other end.
    fn pair() -> (Line, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Line { silence: Duration::from_millis(50), ..Line::over(File::from(OwnedFd::from(ours))) }, theirs)
    }

    #[test]
    fn a_factory_that_is_gone_or_silent_holds_nobody() {
        let (mut line, theirs) = pair();
        assert!(!line.hung_up().unwrap());
        let error = line.line("key", "{}").unwrap_err();
        assert_eq!(error.downcast_ref::<io::Error>().unwrap().kind(), ErrorKind::TimedOut);
        drop(theirs);
        assert!(line.hung_up().unwrap());
    }

    #[test]
    fn an_answer_may_come_in_pieces() {
        let (mut line, mut theirs) = pair();
        theirs.write_all(b"{\"files\":").unwrap();
        let late = std::thread::spawn(move || {
            let mut asked = String::new();
            BufReader::new(&theirs).read_line(&mut asked).unwrap();
            theirs.write_all(b"[]}\n").unwrap();
            asked
        });
        assert_eq!(line.line("key", "{}").unwrap(), "{\"files\":[]}\n");
        assert_eq!(late.join().unwrap(), "{\"ask\":\"key\",\"request\":{}}\n");
    }

    #[test]
    fn answers_are_files_or_an_error() {
        assert_eq!(files(r#"{"files":["AAE=",""]}"#).unwrap(), [vec![0, 1], vec![]]);
        assert!(
            files(r#"{"error":"no\u001b such device"}"#)
                .unwrap_err()
                .to_string()
                .ends_with("refuses: no such device")
        );
        for bad in ["", "[]", "{}", r#"{"files":[1]}"#, r#"{"files":["?"]}"#] {
            assert!(files(bad).is_err(), "{bad}");
        }
        let many = json!({"files": vec![""; MAX_FILES + 1]}).to_string();
        assert!(files(&many).is_err());
    }
}

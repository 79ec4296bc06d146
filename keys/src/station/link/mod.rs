//! The way to a device: something that runs a command there. A board over SSH or a serial console, an emulated device over a Unix
//! socket.
//!
//! On the socket, which `build/tb qemu --serve` offers, a line of JSON `{"argv": [...]}` asks, and another one answers:
//! `{"status": 0, "stdout": "<base64>", "stderr": "<base64>"}`.

mod serial;
mod ssh;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, bail, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use serial::Serial;
use ssh::Ssh;

/// How long a command may take; the longest makes an RSA key.
const PATIENCE: Duration = Duration::from_secs(300);
/// Bits a second of a serial console that says no other.
const SPEED: u32 = 115_200;
/// Where files go on a device; it is gone with the next start.
pub(super) const FOLDER: &str = "/tmp/trustbox-station";

/// Where a device is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// `unix:PATH`.
    Unix(String),
    /// `ssh:[USER@]HOST`.
    Ssh(String),
    /// `serial:PATH[@SPEED]`.
    Serial(String, u32),
}

impl FromStr for Place {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(':') {
            Some(("unix", path)) if !path.is_empty() => Ok(Self::Unix(path.to_owned())),
            // What begins with a dash would be an option of ssh.
            Some(("ssh", host)) if !host.is_empty() && !host.starts_with('-') => {
                Ok(Self::Ssh(host.to_owned()))
            }
            Some(("serial", place)) if !place.is_empty() => {
                let (path, speed) = place.rsplit_once('@').unwrap_or((place, ""));
                let speed = if speed.is_empty() { Ok(SPEED) } else { speed.parse() };
                let speed = speed.with_context(|| format!("{text}: no number of bits a second"))?;
                Ok(Self::Serial(path.to_owned(), speed))
            }
            _ => bail!("{text}: neither unix:PATH, ssh:[USER@]HOST nor serial:PATH[@SPEED]"),
        }
    }
}

/// What is wrong with the way, rather than with the device at its end.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Trouble {
    /// Nobody answers.
    #[error("{0}")]
    Gone(String),
    /// What comes is damaged, again and again.
    #[error("{0}")]
    Noise(String),
}

/// An open way to a device.
pub struct Link {
    way: Way,
    /// How long the device was waited for so far.
    pub waited: Duration,
}

enum Way {
    /// A socket, and what comes out of it.
    Unix(UnixStream, BufReader<UnixStream>),
    Ssh(Ssh),
    Serial(Serial),
}

impl Link {
    /// Opens the way; `ssh_config` is a configuration file of SSH for it.
    pub fn open(place: &Place, ssh_config: Option<&Path>) -> Result<Self> {
        let start = Instant::now();
        let way = match place {
            Place::Ssh(host) => Way::Ssh(Ssh::open(host, ssh_config)?),
            Place::Serial(path, speed) => Way::Serial(Serial::open(path, *speed)?),
            Place::Unix(path) => {
                let stream =
                    UnixStream::connect(path).with_context(|| format!("cannot connect to {path}"))?;
                stream.set_read_timeout(Some(PATIENCE))?;
                let reader = BufReader::new(stream.try_clone()?);
                Way::Unix(stream, reader)
            }
        };
        Ok(Self { way, waited: start.elapsed() })
    }

    /// Runs a command; returns its exit status and what it printed.
    pub(super) fn said(&mut self, argv: &[&str]) -> Result<Said> {
        let start = Instant::now();
        let said = match &mut self.way {
            Way::Unix(stream, reader) => over_socket(stream, reader, argv),
            Way::Ssh(ssh) => ssh.said(&shell(argv)),
            Way::Serial(serial) => serial.said(&shell(argv)),
        };
        self.waited += start.elapsed();
        said
    }

    /// Runs a command; returns what it printed, or what it complained of.
    pub fn run(&mut self, argv: &[&str]) -> Result<Vec<u8>> {
        let (status, stdout, stderr) = self.said(argv)?;
        let said = String::from_utf8_lossy(&stderr);
        ensure!(status == 0, "{}: exit status {status}: {}", argv.join(" "), said.trim());
        Ok(stdout)
    }

    /// `trustbox` with an answer in JSON.
    pub fn trustbox(&mut self, words: &[&str]) -> Result<Value> {
        let argv: Vec<&str> = ["trustbox"].iter().chain(words).chain(&["--json"]).copied().collect();
        let stdout = self.run(&argv)?;
        serde_json::from_slice(&stdout).with_context(|| format!("{}: no JSON", argv.join(" ")))
    }

    /// `trustbox` that writes a request to its standard output.
    pub fn request(&mut self, words: &[&str]) -> Result<Vec<u8>> {
        let argv: Vec<&str> = ["trustbox"].iter().chain(words).chain(&["--request", "-"]).copied().collect();
        self.run(&argv)
    }

    /// Puts a file on the device; returns its path there.
    pub fn put(&mut self, name: &str, content: &[u8]) -> Result<String> {
        let path = format!("{FOLDER}/{name}");
        let text = BASE64_STANDARD.encode(content);
        self.run(&["sh", "-c", &format!("mkdir -p {FOLDER} && echo {text} | base64 -d >{path}")])?;
        Ok(path)
    }
}

/// Exit status, standard output, standard error.
pub(super) type Said = (i64, Vec<u8>, Vec<u8>);

/// Words as a shell takes them.
fn shell(argv: &[&str]) -> String {
    let quoted: Vec<_> = argv.iter().map(|word| format!("'{}'", word.replace('\'', r"'\''"))).collect();
    quoted.join(" ")
}

fn over_socket(stream: &mut UnixStream, reader: &mut BufReader<UnixStream>, argv: &[&str]) -> Result<Said> {
    let gone = |why: String| Trouble::Gone(format!("the device is gone: {why}"));
    stream
        .write_all(format!("{}\n", json!({"argv": argv})).as_bytes())
        .map_err(|error| gone(error.to_string()))?;
    let mut line = String::new();
    let read = reader.read_line(&mut line).map_err(|error| gone(error.to_string()))?;
    ensure!(read > 0, gone("it hung up".to_owned()));
    let answer: Value = serde_json::from_str(&line).context("the answer is not JSON")?;
    if let Some(error) = answer["error"].as_str() {
        bail!(gone(error.to_owned()));
    }
    let bytes = |name: &str| answer[name].as_str().and_then(|text| BASE64_STANDARD.decode(text).ok());
    let parts = (answer["status"].as_i64(), bytes("stdout"), bytes("stderr"));
    let (Some(status), Some(stdout), Some(stderr)) = parts else { bail!("the answer is not whole") };
    Ok((status, stdout, stderr))
}

/// This host as a device, for tests: what a command does here, it would do there.
#[cfg(test)]
pub(super) mod here {
    use std::os::unix::net::UnixListener;
    use std::process::Command;
    use std::thread::JoinHandle;

    use super::*;

    pub(in crate::station) fn host(folder: &Path) -> (JoinHandle<()>, Place) {
        let path = folder.join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let serve = move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                for line in BufReader::new(stream.try_clone().unwrap()).lines() {
                    let asked: Value = serde_json::from_str(&line.unwrap()).unwrap();
                    let words: Vec<String> = serde_json::from_value(asked["argv"].clone()).unwrap();
                    let output = Command::new(&words[0]).args(&words[1..]).output().unwrap();
                    let text = |bytes: &[u8]| BASE64_STANDARD.encode(bytes);
                    let answer = json!({"status": output.status.code(), "stdout": text(&output.stdout), "stderr": text(&output.stderr)});
                    stream.write_all(format!("{answer}\n").as_bytes()).unwrap();
                }
            }
        };
        (std::thread::spawn(serve), Place::Unix(path.display().to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_by_how_they_begin() {
        assert_eq!("unix:/run/a".parse::<Place>().unwrap(), Place::Unix("/run/a".to_owned()));
        assert_eq!("ssh:root@board".parse::<Place>().unwrap(), Place::Ssh("root@board".to_owned()));
        let serial = |path: &str, speed| Place::Serial(path.to_owned(), speed);
        assert_eq!("serial:/dev/ttyS0".parse::<Place>().unwrap(), serial("/dev/ttyS0", 115_200));
        assert_eq!("serial:/dev/a@9600".parse::<Place>().unwrap(), serial("/dev/a", 9600));
        for bad in ["", "board", "ssh:", "unix:", "ssh:-oProxyCommand=x", "serial:", "serial:/dev/ttyS0@fast"]
        {
            assert!(bad.parse::<Place>().is_err(), "{bad}");
        }
    }
}

//! The way to a device: something that runs a command there. A board over SSH, an emulated device over a Unix socket.
//!
//! On the socket, which `build/tb qemu --serve` offers, a line of JSON `{"argv": [...]}` asks, and another one answers:
//! `{"status": 0, "stdout": "<base64>", "stderr": "<base64>"}`.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Error, Result, bail, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

/// How long a command may take; the longest makes an RSA key.
const PATIENCE: Duration = Duration::from_secs(300);
/// Where files go on a device; it is gone with the next start.
pub(super) const FOLDER: &str = "/tmp/trustbox-station";

/// Where a device is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// `unix:PATH`.
    Unix(String),
    /// `ssh:[USER@]HOST`.
    Ssh(String),
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
            _ => bail!("{text}: neither unix:PATH nor ssh:[USER@]HOST"),
        }
    }
}

/// An open way to a device.
pub enum Link {
    /// A socket, and what comes out of it.
    Unix(UnixStream, BufReader<UnixStream>),
    /// The host.
    Ssh(String),
}

impl Link {
    /// Opens the way.
    pub fn open(place: &Place) -> Result<Self> {
        match place {
            Place::Ssh(host) => Ok(Self::Ssh(host.clone())),
            Place::Unix(path) => {
                let stream =
                    UnixStream::connect(path).with_context(|| format!("cannot connect to {path}"))?;
                stream.set_read_timeout(Some(PATIENCE))?;
                let reader = BufReader::new(stream.try_clone()?);
                Ok(Self::Unix(stream, reader))
            }
        }
    }

    /// Runs a command; returns its exit status and what it printed.
    pub(super) fn said(&mut self, argv: &[&str]) -> Result<Said> {
        match self {
            Self::Unix(stream, reader) => over_socket(stream, reader, argv),
            Self::Ssh(host) => over_ssh(host, argv),
        }
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

fn over_socket(stream: &mut UnixStream, reader: &mut BufReader<UnixStream>, argv: &[&str]) -> Result<Said> {
    stream.write_all(format!("{}\n", json!({"argv": argv})).as_bytes())?;
    let mut line = String::new();
    ensure!(reader.read_line(&mut line)? > 0, "the device is gone");
    let answer: Value = serde_json::from_str(&line).context("the answer is not JSON")?;
    if let Some(error) = answer["error"].as_str() {
        bail!("{error}");
    }
    let bytes = |name: &str| answer[name].as_str().and_then(|text| BASE64_STANDARD.decode(text).ok());
    let parts = (answer["status"].as_i64(), bytes("stdout"), bytes("stderr"));
    let (Some(status), Some(stdout), Some(stderr)) = parts else { bail!("the answer is not whole") };
    Ok((status, stdout, stderr))
}

fn over_ssh(host: &str, argv: &[&str]) -> Result<Said> {
    let quoted: Vec<_> = argv.iter().map(|word| format!("'{}'", word.replace('\'', r"'\''"))).collect();
    let mut ssh = Command::new("ssh");
    ssh.args(["-o", "BatchMode=yes", "-o", "ConnectTimeout=10", host, "--", &quoted.join(" ")]);
    let output = ssh.stdin(Stdio::null()).output().context("cannot start ssh")?;
    Ok((output.status.code().unwrap_or(-1).into(), output.stdout, output.stderr))
}

/// This host as a device, for tests: what a command does here, it would do there.
#[cfg(test)]
pub(super) mod here {
    use std::os::unix::net::UnixListener;
    use std::path::Path;
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
        for bad in ["", "board", "ssh:", "unix:", "ssh:-oProxyCommand=x", "serial:/dev/ttyS0"] {
            assert!(bad.parse::<Place>().is_err(), "{bad}");
        }
    }
}

//! A board over SSH: one connection that is kept, a command each over it. Whoever pulls its cable ends it within seconds.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::{PATIENCE, Said, Trouble};

/// How long the connection may take.
const CONNECT: Duration = Duration::from_secs(60);
/// How often something is looked at.
const LOOK: Duration = Duration::from_millis(5);
/// Exit status of `ssh` itself.
const FAILED: i32 = 255;

/// A connection, which ends with this.
pub(super) struct Ssh {
    host: String,
    config: Option<PathBuf>,
    /// Where commands find the connection.
    folder: TempDir,
    master: Child,
}

impl Drop for Ssh {
    fn drop(&mut self) {
        let _ = self.master.kill();
        let _ = self.master.wait();
    }
}

impl Ssh {
    /// Connects, without asking anybody anything.
    pub(super) fn open(host: &str, config: Option<&Path>) -> Result<Self> {
        let folder = tempfile::tempdir().context("no folder for a connection")?;
        let mut command = ssh(folder.path(), config);
        command.args(["-N", "-o", "ControlMaster=yes", "-o", "BatchMode=yes", "-o", "ConnectTimeout=30"]);
        command.args(["-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3", "--", host]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let master = command.spawn().context("cannot start ssh")?;
        let mut ssh = Self { host: host.to_owned(), config: config.map(Path::to_owned), folder, master };
        ssh.connected()?;
        Ok(ssh)
    }

    fn connected(&mut self) -> Result<()> {
        let limit = Instant::now() + CONNECT;
        while !self.folder.path().join("control").exists() {
            if self.master.try_wait()?.is_some() || Instant::now() > limit {
                let _ = self.master.kill();
                let mut said = String::new();
                self.master.stderr.take().map(|mut pipe| pipe.read_to_string(&mut said));
                bail!(Trouble::Gone(format!("no connection to {}: {}", self.host, said.trim())));
            }
            sleep(LOOK);
        }
        // What it says from here on must go somewhere.
        let pipe = self.master.stderr.take();
        spawn(move || pipe.map(|mut pipe| std::io::copy(&mut pipe, &mut std::io::sink())));
        Ok(())
    }

    /// Runs a command line.
    pub(super) fn said(&self, line: &str) -> Result<Said> {
        let mut command = ssh(self.folder.path(), self.config.as_deref());
        command.args(["-o", "ControlMaster=no", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "--"]);
        command.args([&self.host, line]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot start ssh")?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (stdout, stderr) = (spawn(move || whole(stdout)), spawn(move || whole(stderr)));
        let limit = Instant::now() + PATIENCE;
        let status = loop {
            match child.try_wait()? {
                Some(status) => break status.code().unwrap_or(FAILED),
                None if Instant::now() > limit => {
                    child.kill()?;
                    child.wait()?;
                    bail!(Trouble::Gone(format!("the device is gone: silent for {} s", PATIENCE.as_secs())));
                }
                None => sleep(LOOK),
            }
        };
        let read = |bytes: std::thread::JoinHandle<Vec<u8>>| bytes.join().unwrap_or_default();
        let (stdout, stderr) = (read(stdout), read(stderr));
        if status == FAILED {
            let why = String::from_utf8_lossy(&stderr).trim().to_owned();
            bail!(Trouble::Gone(format!("the device is gone: {why}")));
        }
        Ok((status.into(), stdout, stderr))
    }
}

fn ssh(folder: &Path, config: Option<&Path>) -> Command {
    let mut command = Command::new("ssh");
    if let Some(config) = config {
        command.arg("-F").arg(config);
    }
    let mut control = std::ffi::OsString::from("ControlPath=");
    control.push(folder.join("control"));
    command.arg("-o").arg(control);
    command
}

fn whole(pipe: Option<impl Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
    bytes
}

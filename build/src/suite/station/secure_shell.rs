//! Debian's sshd beside an emulated device: whoever logs in there is on the device.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::running::{Running, wait_for};
use crate::tool::Tool;

/// The device, as its station knows it.
pub(super) const HOST: &str = "bench";
/// How long it may take to listen.
const PATIENCE: Duration = Duration::from_secs(20);

/// Its keys and settings, and itself while it runs.
pub(super) struct Server {
    folder: PathBuf,
    port: u16,
    sshd: Option<Running>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.cut();
    }
}

impl Server {
    /// For the device behind a socket; `config` in the folder is what a station needs.
    pub(super) fn start(relay: &Path, folder: PathBuf, socket: &Path) -> Result<Self> {
        fs::create_dir(&folder)?;
        for name in ["host", "key"] {
            let tool = Tool::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]);
            tool.arg(folder.join(name)).output()?;
        }
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let at = |name: &str| folder.join(name).display().to_string();
        let server = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nPidFile none\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\n\
             PasswordAuthentication no\nForceCommand python3 {} {}\n",
            at("host"),
            at("key.pub"),
            relay.display(),
            socket.display(),
        );
        fs::write(folder.join("sshd_config"), server)?;
        let host = fs::read_to_string(folder.join("host.pub"))?;
        fs::write(folder.join("known"), format!("[127.0.0.1]:{port} {host}"))?;
        let client = format!(
            "Host {HOST}\n HostName 127.0.0.1\n Port {port}\n IdentityFile {}\n IdentitiesOnly yes\n UserKnownHostsFile {}\n\
             StrictHostKeyChecking yes\n",
            at("key"),
            at("known"),
        );
        fs::write(folder.join("config"), client)?;
        let mut server = Self { folder, port, sshd: None };
        server.plug()?;
        Ok(server)
    }

    /// It answers.
    pub(super) fn plug(&mut self) -> Result<()> {
        let tool = Tool::new("/usr/sbin/sshd").args(["-D", "-e", "-f"]).arg(self.folder.join("sshd_config"));
        let log = fs::File::create(self.folder.join("log"))?;
        let mut command = tool.command();
        let child = command.stdin(Stdio::null()).stderr(log).spawn();
        let child = child.context("cannot start sshd\nhelp: install Debian package openssh-server")?;
        self.sshd = Some(Running(child));
        let up = wait_for(PATIENCE, || Ok(TcpStream::connect(("127.0.0.1", self.port)).ok()))?;
        let said = || fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        ensure!(up.is_some(), "sshd does not listen: {}", said());
        Ok(())
    }

    /// It is gone, with everybody who is logged in.
    pub(super) fn cut(&mut self) {
        self.signal("-KILL");
        self.sshd = None;
    }

    /// It says nothing any more, to nobody, and closes nothing.
    pub(super) fn hush(&mut self) {
        self.signal("-STOP");
    }

    fn signal(&self, signal: &str) {
        let Some(sshd) = &self.sshd else { return };
        let id = sshd.0.id();
        // Each session is a process, and a process group of its own.
        let sessions = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        let all = sessions.split_whitespace().map(str::to_owned).chain([id.to_string()]);
        let _ = Tool::new("kill").arg(signal).args(all.collect::<Vec<_>>()).output();
    }
}

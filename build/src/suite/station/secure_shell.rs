//! Debian's sshd beside an emulated device: whoever logs in there is on the device. What a station says when its cable is silent or pulled.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::{Line, NAMES, passed};
use crate::running::{Running, is_root, wait_for};
use crate::tool::Tool;

/// The device, as its station knows it.
const HOST: &str = "bench";
/// A connection without a word ends after three questions, one each five seconds; this is beside other work.
const SILENCE: Duration = Duration::from_secs(60);
/// How long it may take to listen.
const PATIENCE: Duration = Duration::from_secs(20);

/// Its keys and settings, and itself while it runs.
struct Server {
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
    fn start(relay: &Path, folder: PathBuf, socket: &Path) -> Result<Self> {
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
    fn plug(&mut self) -> Result<()> {
        if is_root(&self.folder)? {
            // Debian's sshd, as root, wants the folder that its unit makes: without systemd nobody made it.
            fs::create_dir_all("/run/sshd")?;
        }
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
    fn cut(&mut self) {
        self.signal("-KILL");
        self.sshd = None;
    }

    /// It says nothing any more, to nobody, and closes nothing.
    fn hush(&mut self) {
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

impl Line {
    /// The second device once more, through Debian's sshd beside it.
    pub(super) fn over_ssh(&self) -> Result<()> {
        let socket = self.folder.join(format!("{}.socket", NAMES[1]));
        let mut server = Server::start(&self.relay, self.folder.join("ssh"), &socket)?;
        self.interrupted(|| server.hush())?;
        server.cut();
        server.plug()?;
        self.interrupted(|| server.cut())?;
        let again = self.station_over_ssh().command().output()?;
        let said = String::from_utf8_lossy(&again.stdout).into_owned();
        ensure!(again.status.code() == Some(1) && said.contains("no connection to bench"), "{said}");
        server.plug()?;
        passed(&self.station_over_ssh()).map(drop)
    }

    fn station_over_ssh(&self) -> Tool {
        let place = format!("{}=ssh:{}", NAMES[1], HOST);
        self.without_devices("ssh.toml").arg("--device").arg(place)
    }

    /// Something happens to the cable once a device said who it is: the station says so soon, and the device has not passed.
    fn interrupted(&self, happens: impl FnOnce()) -> Result<()> {
        let mut running = self.station_over_ssh().command().stdout(Stdio::piped()).spawn()?;
        let mut said = BufReader::new(running.stdout.take().context("no output")?).lines();
        let reached = said
            .by_ref()
            .map_while(Result::ok)
            .find(|line| line.contains("\"step\":\"identify\",\"detail\"") || line.contains("\"passed\""));
        happens();
        let start = Instant::now();
        let rest = said.collect::<Result<String, _>>()?;
        let named = rest.contains("\"name\":\"link\"") && rest.contains("\"passed\":false");
        ensure!(running.wait()?.code() == Some(1) && named, "{reached:?}, then {rest}");
        ensure!(start.elapsed() < SILENCE, "said after {} s: {rest}", start.elapsed().as_secs());
        Ok(())
    }
}

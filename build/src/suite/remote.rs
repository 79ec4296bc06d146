//! The device suite on a device that is reached by SSH, such as a board: the same program, the same TAP.
//!
//! Everything goes through `ssh` alone, so that the other side needs no more than a server and a shell. What is brought
//! there is in a folder of its own, which is removed in the end. The time limit is kept on both sides.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::str::FromStr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::device::Output;
use crate::suite::on_device::Place;
use crate::tool::quote;

/// How long the other side may take to answer at all.
const CONNECT_SECONDS: u32 = 15;
/// How long a file, or a small command, may take.
const SMALL_TIME: Duration = Duration::from_secs(120);
/// How long standard error may stay open after the end: a connection that `ssh` shares holds it.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Exit status of `ssh` where it reached nobody.
const UNREACHED: i32 = 255;

/// `ssh://[USER@]HOST[:PORT]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Address {
    host: String,
    port: Option<u16>,
}

impl FromStr for Address {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || anyhow!("{text} is no address of a device\nhelp: ssh://[USER@]HOST[:PORT]");
        let rest = text.strip_prefix("ssh://").ok_or_else(wrong)?;
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().map_err(|_| wrong())?)),
            None => (rest, None),
        };
        // A leading hyphen would be an option of ssh.
        let usable = |c: char| c.is_ascii_alphanumeric() || ".-_@".contains(c);
        if host.is_empty() || host.starts_with('-') || !host.chars().all(usable) {
            return Err(wrong());
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

/// A device at the other end of SSH, with a folder for the suite.
pub(crate) struct Remote {
    program: PathBuf,
    address: Address,
    folder: String,
}

impl Remote {
    /// Makes the folder.
    pub(crate) fn connect(address: Address) -> Result<Self> {
        Self::through(Path::new("ssh"), address)
    }

    /// The same by a program of one's own in place of `ssh`.
    pub(crate) fn through(program: &Path, address: Address) -> Result<Self> {
        let mut remote = Self { program: program.to_path_buf(), address, folder: String::new() };
        let output = remote.shell("mktemp -d /tmp/trustbox-test.XXXXXX", None, SMALL_TIME)?;
        let folder = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let ours = folder.strip_prefix("/tmp/trustbox-test.");
        let ours =
            ours.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric()));
        let why = said(output.status, &output.stderr);
        ensure!(output.status == 0 && ours, "{}: no folder for the suite: {why}", remote.shown());
        remote.folder = folder;
        Ok(remote)
    }

    /// Runs the program with arguments, those that name a file of the suite among them, within a time limit. Passes its
    /// output on as it comes.
    pub(crate) fn exec_to(
        &self,
        argv: &[String],
        limit: Duration,
        stdout: &mut dyn Write,
        stderr: &mut Vec<u8>,
    ) -> Result<i32> {
        let words: Vec<_> = argv.iter().map(|word| quote(&self.place(word))).collect();
        let script = format!("cd {} && exec timeout {} ./{}", self.folder, limit.as_secs(), words.join(" "));
        self.shell_to(&script, None, limit + SMALL_TIME, stdout, stderr)
    }

    /// `/tmp/NAME` of the emulated device is `NAME` in our folder here.
    fn place(&self, path: &str) -> String {
        path.strip_prefix("/tmp/").map_or_else(|| path.to_owned(), |name| format!("{}/{name}", self.folder))
    }

    fn shown(&self) -> String {
        let port = self.address.port.map(|port| format!(":{port}")).unwrap_or_default();
        format!("ssh://{}{port}", self.address.host)
    }

    fn shell(&self, script: &str, input: Option<&Path>, limit: Duration) -> Result<Output> {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let status = self.shell_to(script, input, limit, &mut stdout, &mut stderr)?;
        Ok(Output { status, stdout, stderr })
    }

    fn shell_to(
        &self,
        script: &str,
        input: Option<&Path>,
        limit: Duration,
        stdout: &mut dyn Write,
        stderr: &mut Vec<u8>,
    ) -> Result<i32> {
        let mut command = Command::new(&self.program);
        command.args(["-o", "BatchMode=yes", "-o", &format!("ConnectTimeout={CONNECT_SECONDS}")]);
        command.args(["-o", "ServerAliveInterval=10"]);
        command.args(self.address.port.iter().flat_map(|port| ["-p".to_owned(), port.to_string()]));
        command.args(["--", &self.address.host, script]);
        command.stdin(match input {
            Some(path) => File::open(path).with_context(|| format!("cannot read {}", path.display()))?.into(),
            None => Stdio::null(),
        });
        let status = within(command, limit, stdout, stderr).with_context(|| self.shown())?;
        if status == UNREACHED {
            let why = said(status, stderr);
            bail!("{} does not answer: {why}\nhelp: try ssh -o BatchMode=yes", self.shown());
        }
        Ok(status)
    }
}

impl Place for Remote {
    fn push(&mut self, host: &Path, to: &str) -> Result<()> {
        let to = self.place(to);
        let output = self.shell(&format!("cat > {}", quote(&to)), Some(host), SMALL_TIME)?;
        let why = said(output.status, &output.stderr);
        ensure!(output.status == 0, "{}: cannot write {to}: {why}", self.shown());
        Ok(())
    }

    fn run(&mut self, argv: &[&str]) -> Result<Output> {
        let words: Vec<_> = argv.iter().map(|word| quote(&self.place(word))).collect();
        self.shell(&words.join(" "), None, SMALL_TIME)
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        if !self.folder.is_empty() {
            // Whoever cannot be reached any more keeps a folder in /tmp.
            let _ = self.shell(&format!("rm -rf {}", self.folder), None, SMALL_TIME);
        }
    }
}

fn said(status: i32, stderr: &[u8]) -> String {
    let stderr = String::from_utf8_lossy(stderr).trim().to_owned();
    if stderr.is_empty() { format!("exit status {status}") } else { stderr }
}

/// Runs a command to its end, or ends it at the limit. Standard output is passed on as it comes.
fn within(
    mut command: Command,
    limit: Duration,
    stdout: &mut dyn Write,
    stderr: &mut Vec<u8>,
) -> Result<i32> {
    let end = Instant::now() + limit;
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("cannot start ssh")?;
    let (output, errors) = (chunks(child.stdout.take()), chunks(child.stderr.take()));
    let ended = pass(&output, end, stdout).and_then(|()| wait(&mut child, end));
    if ended.as_ref().is_ok_and(Option::is_some) {
        pass(&errors, Instant::now() + LAST_WORDS, stderr)?;
    } else {
        child.kill()?;
        child.wait()?;
    }
    let status = ended?.with_context(|| format!("no end after {} s", limit.as_secs()))?;
    Ok(status.code().unwrap_or(UNREACHED))
}

/// What a pipe gives, as it comes.
fn chunks(pipe: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let (mut pipe, mut buffer) = (pipe?, [0; 4096]);
        // What was read before an error is what there is.
        while let Ok(length @ 1..) = pipe.read(&mut buffer) {
            sender.send(buffer[..length].to_vec()).ok()?;
        }
        Some(())
    });
    receiver
}

/// Returns when there is no more, or at the end of the time.
fn pass(output: &Receiver<Vec<u8>>, end: Instant, to: &mut dyn Write) -> Result<()> {
    while Instant::now() < end {
        match output.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(bytes) => to.write_all(&bytes)?,
            Err(RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout) => break,
        }
    }
    Ok(())
}

/// `None` at the end of the time.
fn wait(child: &mut Child, end: Instant) -> Result<Option<ExitStatus>> {
    loop {
        let status = child.try_wait()?;
        if status.is_some() || Instant::now() > end {
            return Ok(status);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A program in the place of ssh: what follows the host is the script.
    fn remote(name: &str, body: &str) -> (PathBuf, Result<Remote>) {
        let folder = std::env::temp_dir().join(format!("tb-remote-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let program = folder.join("ssh");
        fs::write(&program, format!("#!/bin/sh\nfor script; do :; done\n{body}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        (folder, Remote::through(&program, "ssh://root@board".parse().unwrap()))
    }

    #[test]
    fn addresses_have_a_host_and_perhaps_more() {
        let parsed = |text: &str| text.parse::<Address>().ok().map(|address| (address.host, address.port));
        assert_eq!(parsed("ssh://board"), Some(("board".into(), None)));
        assert_eq!(parsed("ssh://root@10.0.0.2:2222"), Some(("root@10.0.0.2".into(), Some(2222))));
        for bad in
            ["", "board", "ssh://", "ssh://-oProxyCommand=x", "ssh://a b", "ssh://a:x", "ssh://a:70000"]
        {
            assert_eq!(parsed(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_program_runs_in_the_folder_and_nothing_is_left() {
        let (scratch, remote) = remote("runs", "exec sh -c \"$script\"");
        let mut remote = remote.unwrap();
        let file = scratch.join("file");
        fs::write(&file, "#!/bin/sh\ncat \"$1\"; exit 4\n").unwrap();
        remote.push(&file, "/tmp/program").unwrap();
        Place::run(&mut remote, &["chmod", "+x", "/tmp/program"]).unwrap();
        let (limit, mut stdout) = (Duration::from_secs(20), Vec::new());
        let status = remote.exec_to(
            &["program", "/tmp/program"].map(str::to_owned),
            limit,
            &mut stdout,
            &mut Vec::new(),
        );
        assert_eq!((status.unwrap(), stdout), (4, fs::read(&file).unwrap()));
        let folder = PathBuf::from(&remote.folder);
        assert!(folder.is_dir());
        drop(remote);
        assert!(!folder.exists());
        fs::remove_dir_all(scratch).unwrap();
    }

    #[test]
    fn nobody_there_is_an_error_that_says_so() {
        let (scratch, remote) = remote("nobody", "echo refused >&2; exit 255");
        let error = remote.err().unwrap().to_string();
        assert!(error.starts_with("ssh://root@board does not answer: refused"), "{error}");
        fs::remove_dir_all(scratch).unwrap();
    }

    #[test]
    fn a_device_that_hangs_is_left_at_the_limit_and_what_it_said_counts() {
        let mut sleeper = Command::new("sh");
        sleeper.args(["-c", "echo ok 1; exec sleep 60"]);
        let (start, mut stdout) = (Instant::now(), Vec::new());
        let ended = within(sleeper, Duration::from_secs(2), &mut stdout, &mut Vec::new());
        let error = ended.unwrap_err().to_string();
        assert!(error.starts_with("no end after") && start.elapsed() < Duration::from_secs(20), "{error}");
        assert_eq!(stdout, b"ok 1\n");
    }

    #[test]
    fn an_end_counts_though_a_shared_connection_stays() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo why >&2; sleep 60 >/dev/null & exit 3"]);
        let (start, mut stderr) = (Instant::now(), Vec::new());
        let ended = within(command, Duration::from_secs(50), &mut std::io::sink(), &mut stderr);
        assert_eq!((ended.unwrap(), stderr), (3, b"why\n".to_vec()));
        assert!(start.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn what_a_device_says_without_an_end_is_left_at_the_limit() {
        let mut command = Command::new("yes");
        let start = Instant::now();
        command.stdin(Stdio::null());
        let ended = within(command, Duration::from_millis(200), &mut std::io::sink(), &mut Vec::new());
        assert!(ended.is_err() && start.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn a_folder_elsewhere_is_not_believed() {
        let (scratch, remote) = remote("elsewhere", "echo /etc");
        assert!(remote.err().unwrap().to_string().contains("no folder"));
        fs::remove_dir_all(scratch).unwrap();
    }
}

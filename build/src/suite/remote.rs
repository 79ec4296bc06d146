//! The device suite on a device that is reached by SSH, such as a board: the same program, the same TAP.
//!
//! Everything goes through `ssh` alone, so that the other side needs no more than a server and a shell. What is brought
//! there is in a folder of its own, which is removed in the end. The time limit is kept on both sides.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::device::Output;
use crate::suite::on_device::Place;
use crate::tool::quote;

/// How long the other side may take to answer at all.
const CONNECT_SECONDS: u32 = 15;
/// How long a file, or a small command, may take.
const SMALL_TIME: Duration = Duration::from_secs(120);
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

    fn through(program: &Path, address: Address) -> Result<Self> {
        let mut remote = Self { program: program.to_path_buf(), address, folder: String::new() };
        let output = remote.shell("mktemp -d /tmp/trustbox-test.XXXXXX", None, SMALL_TIME)?;
        let folder = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let ours = folder.strip_prefix("/tmp/trustbox-test.");
        let ours =
            ours.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric()));
        ensure!(output.status == 0 && ours, "{}: no folder for the suite: {}", remote.shown(), said(&output));
        remote.folder = folder;
        Ok(remote)
    }

    /// Runs the program with arguments, those that name a file of the suite among them, within a time limit.
    pub(crate) fn run(&self, argv: &[&str], limit: Duration) -> Result<Output> {
        let words: Vec<_> = argv.iter().map(|word| quote(&self.place(word))).collect();
        let script = format!("cd {} && exec timeout {} ./{}", self.folder, limit.as_secs(), words.join(" "));
        self.shell(&script, None, limit + SMALL_TIME)
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
        let mut command = Command::new(&self.program);
        command.args(["-o", "BatchMode=yes", "-o", &format!("ConnectTimeout={CONNECT_SECONDS}")]);
        command.args(["-o", "ServerAliveInterval=10"]);
        command.args(self.address.port.iter().flat_map(|port| ["-p".to_owned(), port.to_string()]));
        command.args(["--", &self.address.host, script]);
        command.stdin(match input {
            Some(path) => File::open(path).with_context(|| format!("cannot read {}", path.display()))?.into(),
            None => Stdio::null(),
        });
        let output = within(command, limit).with_context(|| self.shown())?;
        if output.status == UNREACHED {
            bail!("{} does not answer: {}\nhelp: try ssh -o BatchMode=yes", self.shown(), said(&output));
        }
        Ok(output)
    }
}

impl Place for Remote {
    fn push(&mut self, host: &Path, to: &str) -> Result<()> {
        let to = self.place(to);
        let output = self.shell(&format!("cat > {}", quote(&to)), Some(host), SMALL_TIME)?;
        ensure!(output.status == 0, "{}: cannot write {to}: {}", self.shown(), said(&output));
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

fn said(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if stderr.is_empty() { format!("exit status {}", output.status) } else { stderr }
}

/// Runs a command to its end, or ends it at the limit.
fn within(mut command: Command, limit: Duration) -> Result<Output> {
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("cannot start ssh")?;
    let stdout = reader(child.stdout.take());
    let stderr = reader(child.stderr.take());
    let status = wait(&mut child, limit)?;
    let status = status.code().unwrap_or(UNREACHED);
    let read =
        |thread: std::thread::JoinHandle<Vec<u8>>| thread.join().map_err(|_| anyhow!("a reader panicked"));
    Ok(Output { status, stdout: read(stdout)?, stderr: read(stderr)? })
}

fn reader(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is what there is.
        let _ = pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
        bytes
    })
}

fn wait(child: &mut Child, limit: Duration) -> Result<ExitStatus> {
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() > end {
            child.kill()?;
            child.wait()?;
            bail!("no end after {} s", limit.as_secs());
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
        let output = Remote::run(&remote, &["program", "/tmp/program"], Duration::from_secs(20)).unwrap();
        assert_eq!((output.status, output.stdout), (4, fs::read(&file).unwrap()));
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
    fn a_device_that_hangs_is_left_at_the_limit() {
        let mut sleeper = Command::new("sleep");
        sleeper.arg("60");
        let start = Instant::now();
        let error = within(sleeper, Duration::from_millis(200)).unwrap_err().to_string();
        assert!(error.starts_with("no end after") && start.elapsed() < Duration::from_secs(20), "{error}");
    }

    #[test]
    fn a_folder_elsewhere_is_not_believed() {
        let (scratch, remote) = remote("elsewhere", "echo /etc");
        assert!(remote.err().unwrap().to_string().contains("no folder"));
        fs::remove_dir_all(scratch).unwrap();
    }
}

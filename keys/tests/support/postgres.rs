//! A PostgreSQL cluster of its own, on a socket in a folder of its own, gone with the value. The server refuses root, so as root
//! it runs as Debian's user `postgres`. And instances of the service in processes of their own.
#![allow(dead_code, reason = "every program uses a part of it")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::World;

/// A running cluster.
pub struct Cluster {
    folder: TempDir,
    programs: PathBuf,
}

impl Cluster {
    /// Makes and starts one; says what is missing where it cannot.
    pub fn start() -> Self {
        let cluster = Self { folder: tempfile::tempdir().unwrap(), programs: programs() };
        // Reached by the user that the server runs as.
        fs::set_permissions(cluster.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        if is_root() {
            run(Command::new("chown").arg("postgres:").arg(cluster.folder.path()));
        }
        let data = cluster.data();
        let init = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync"];
        run(cluster.program("initdb").args(init).arg("-D").arg(&data));
        cluster.up();
        cluster
    }

    /// Starts it again.
    pub fn up(&self) {
        let socket = self.folder.path().display();
        let options =
            format!("-c listen_addresses='' -c unix_socket_directories={socket} -c max_connections=60");
        let log = self.folder.path().join("log");
        let start = ["start", "-w", "-o", &options];
        run(self.program("pg_ctl").args(start).arg("-D").arg(self.data()).arg("-l").arg(log));
    }

    /// Ends it at once, as a crash would.
    pub fn down(&self) {
        run(self.program("pg_ctl").args(["stop", "-m", "immediate", "-D"]).arg(self.data()));
    }

    /// URL of a database, which is made.
    pub fn database(&self, name: &str) -> String {
        let socket = self.folder.path().display().to_string();
        run(Command::new(self.programs.join("createdb")).args(["-h", &socket, "-U", "postgres", name]));
        format!("postgres:///{name}?host={socket}&user=postgres")
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn program(&self, name: &str) -> Command {
        let path = self.programs.join(name);
        if !is_root() {
            return Command::new(path);
        }
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(path);
        command.current_dir(self.folder.path());
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.program("pg_ctl").args(["stop", "-m", "immediate", "-D"]).arg(self.data()).output();
    }
}

fn programs() -> PathBuf {
    let versions =
        fs::read_dir("/usr/lib/postgresql").expect("no PostgreSQL: install the Debian package postgresql");
    let mut found: Vec<_> = versions
        .map(|entry| entry.unwrap().path().join("bin"))
        .filter(|path| path.join("initdb").exists())
        .collect();
    found.sort();
    found.pop().expect("no PostgreSQL server: install the Debian package postgresql")
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn run(command: &mut Command) {
    let start = Instant::now();
    // Not through pipes: the server keeps its own open.
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let status = status.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
    assert!(start.elapsed() < Duration::from_secs(60), "{command:?} took too long");
}

/// A program of this package.
pub fn keys_program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_trustbox-keys"))
}

/// A service in a process of its own.
pub struct Instance {
    pub child: Child,
    addresses: PathBuf,
}

impl Instance {
    /// Starts it on a world's configuration.
    pub fn start(world: &World, number: usize) -> Self {
        Self::spawn(world, number, Command::new(keys_program()))
    }

    /// The same, where no file may grow beyond so many blocks of 512 bytes.
    pub fn with_small_disk(world: &World, blocks: u32) -> Self {
        let mut command = Command::new("sh");
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
        command.arg("-c").arg(script).arg(keys_program());
        Self::spawn(world, 0, command)
    }

    fn spawn(world: &World, number: usize, mut command: Command) -> Self {
        let addresses = world.path(&format!("addresses-{number}.json"));
        command
            .args(["serve", "--config"])
            .arg(world.path("service.toml"))
            .arg("--addresses")
            .arg(&addresses);
        if is_root() {
            command.arg("--dangerously-as-root");
        }
        Self { child: command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap(), addresses }
    }

    /// Where it is, once it listens.
    pub async fn url(&self) -> String {
        for _ in 0..200 {
            if let Ok(text) = fs::read(&self.addresses) {
                let addresses: Value = serde_json::from_slice(&text).unwrap();
                return format!("https://{}", addresses["main"].as_str().unwrap());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the instance does not listen");
    }

    /// Ends it in good order.
    pub fn stop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

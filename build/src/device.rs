//! The emulated device as a value: boot it, run commands on it, switch it off or cut its power.
//!
//! Commands go through virtio ports (see `guest/init.sh`), so firmware and kernel messages never mix with their output.
//! Every device has a folder of its own, so several can run at once.

pub(crate) mod flash;
pub(crate) mod folders;
pub(crate) mod lab;

use std::fs;
use std::io::Write;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use crate::device::flash::Flash;
use crate::device::folders::{new_folders, prepared};
use crate::device::lab::Lab;
use crate::device_ports::{Event, Stream, Until, end_mark, read_bytes, read_lines};
use crate::guest::Images;
use crate::qemu_args::{self, BootFolders, Console, PORTS};
use crate::tool::{Tool, quote};

/// How long a boot may take.
const BOOT_TIME: Duration = Duration::from_secs(120);
/// How long a clean power-off may take.
const POWER_OFF_TIME: Duration = Duration::from_secs(30);
/// How often a waiting host looks whether the device is still alive.
const LOOK: Duration = Duration::from_millis(500);

/// How a device is booted.
#[derive(Clone, Debug)]
pub struct BootOptions {
    /// Folder at /mnt/host: the device may write there, the host's folder does not change.
    pub copy: Option<PathBuf>,
    /// File with the device's secure storage, made on first use; without it storage ends with the boot.
    pub state: Option<PathBuf>,
    /// Time counts instructions on one core: for figures that can be compared.
    pub icount: bool,
    /// A station's agent answers on the console, which is a pseudo-terminal of this host: see [`Device::console`].
    pub station: bool,
    /// Waits for a debugger before the first instruction.
    pub gdb: bool,
    /// How long a boot may take.
    pub(crate) boot: Duration,
    /// How long one command may take.
    pub timeout: Duration,
    /// What only a campaign does with a device.
    pub(crate) lab: Lab,
}

impl Default for BootOptions {
    fn default() -> Self {
        Self {
            copy: None,
            state: None,
            icount: false,
            station: false,
            gdb: false,
            boot: BOOT_TIME,
            timeout: Duration::from_secs(600),
            lab: Lab::default(),
        }
    }
}

/// What a command left behind.
#[derive(Clone, Debug)]
pub struct Output {
    /// Exit status; 128 plus the signal's number if one ended it.
    pub status: i32,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

/// The command, or the boot, took longer than allowed. The device is gone.
#[derive(Debug)]
pub struct TimedOut(String);

impl std::fmt::Display for TimedOut {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for TimedOut {}

/// A running emulated device. Dropping it cuts the power.
pub struct Device {
    qemu: Child,
    control: UnixStream,
    events: Receiver<Event>,
    folder: PathBuf,
    sockets: PathBuf,
    timeout: Duration,
    commands: u32,
}

impl Device {
    /// Boots a device and waits until it takes commands.
    pub fn boot(images: &Images, options: &BootOptions) -> Result<Self> {
        let Machine { folder, sockets, tool } = Machine::prepare(images, options, Console::Ports)?;
        let listeners = PORTS.map(|name| UnixListener::bind(sockets.join(name)));
        let qemu = spawn(&tool, &folder)?;
        let (sender, events) = channel();
        let control = UnixStream::pair()?.0;
        let commands = 0;
        let mut device = Self { qemu, control, events, folder, sockets, timeout: options.timeout, commands };
        device.connect(listeners, &sender)?;
        options.lab.connect(sender);
        if let Some(frozen) = &options.lab.frozen {
            device.thaw(frozen)?;
            return Ok(device);
        }
        let limit = if options.gdb { options.timeout } else { options.boot };
        device.wait_for_control("ready", Instant::now() + limit, "boot")?;
        Ok(device)
    }

    /// Runs one command to its end and returns what it wrote.
    pub fn exec<S: AsRef<str>>(&mut self, argv: &[S]) -> Result<Output> {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let status = self.exec_to(argv, &mut stdout, &mut stderr)?;
        Ok(Output { status, stdout, stderr })
    }

    /// Runs one command, passing its output on as it comes, and returns its exit status.
    pub fn exec_to<S: AsRef<str>>(
        &mut self,
        argv: &[S],
        stdout: &mut dyn Write,
        stderr: &mut dyn Write,
    ) -> Result<i32> {
        self.commands += 1;
        let end = end_mark(&self.folder, self.commands);
        let words: Vec<_> = argv.iter().map(|word| quote(word.as_ref())).collect();
        let line = format!("run {end} {}\n", words.join(" "));
        self.control.write_all(line.as_bytes()).map_err(|_| self.stopped())?;
        self.collect(&end, stdout, stderr, &words.join(" "))
    }

    /// The console of a device that was booted for a station.
    pub fn console(&self) -> Result<PathBuf> {
        let said = read_lossy(&self.folder.join("qemu.log"));
        let place = said.lines().find_map(|line| line.strip_prefix("char device redirected to "));
        let place = place.and_then(|rest| rest.strip_suffix(" (label normal)"));
        Ok(PathBuf::from(place.context("the emulator has no pseudo-terminal")?))
    }

    /// The host's folder that the device has at /mnt/share; both sides may write while it runs.
    pub fn share(&self) -> PathBuf {
        self.folder.join("share")
    }

    /// Copies a file of the host to a path on the device.
    pub fn push(&mut self, host: &Path, guest: &str) -> Result<()> {
        let name = format!(".push-{}", self.commands);
        let inside = self.share().join(&name);
        fs::copy(host, &inside).with_context(|| format!("cannot read {}", host.display()))?;
        let from = format!("/mnt/share/{name}");
        let output = self.exec(&["cp", &from, guest])?;
        fs::remove_file(inside)?;
        if output.status != 0 {
            bail!("cannot write {guest} on the device: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }

    /// Switches off: storage is written and unmounted.
    pub fn power_off(mut self) -> Result<()> {
        self.control.write_all(b"off\n").map_err(|_| self.stopped())?;
        let limit = Instant::now() + POWER_OFF_TIME;
        while self.qemu.try_wait()?.is_none() {
            if Instant::now() > limit {
                bail!(self.timed_out("power-off", POWER_OFF_TIME));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Cuts the power: what the device had not written is lost.
    pub fn kill(self) {}

    /// The secure world's console so far: OP-TEE and trusted applications.
    pub fn secure_log(&self) -> String {
        read_lossy(&self.folder.join("secure.log"))
    }

    /// The normal world's console so far: U-Boot and Linux.
    pub fn normal_log(&self) -> String {
        read_lossy(&self.folder.join("normal.log"))
    }

    /// The folder with both logs; the newest ones are kept.
    pub fn logs(&self) -> &Path {
        &self.folder
    }

    fn connect(
        &mut self,
        listeners: [std::io::Result<UnixListener>; 3],
        sender: &Sender<Event>,
    ) -> Result<()> {
        let [control, stdout, stderr] = listeners;
        self.control = self.accept(control?)?;
        read_lines(self.control.try_clone()?, sender.clone());
        read_bytes(self.accept(stdout?)?, Stream::Stdout, sender.clone());
        read_bytes(self.accept(stderr?)?, Stream::Stderr, sender.clone());
        Ok(())
    }

    /// QEMU connects before it starts the machine, or ends with a message.
    fn accept(&mut self, listener: UnixListener) -> Result<UnixStream> {
        listener.set_nonblocking(true)?;
        let limit = Instant::now() + BOOT_TIME;
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false)?;
                    return Ok(stream);
                }
                Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return Err(error.into()),
                Err(_) if self.qemu.try_wait()?.is_some() || Instant::now() > limit => {
                    return Err(self.stopped());
                }
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    fn wait_for_control(&mut self, wanted: &str, limit: Instant, what: &str) -> Result<()> {
        let began = Instant::now();
        loop {
            match self.next_event(limit, what, began)? {
                Event::Control(line) if line == wanted => return Ok(()),
                Event::Control(line) => bail!("the emulated device: {line}\nlogs: {}", self.shown_logs()),
                _ => {}
            }
        }
    }

    /// Passes output on until both streams have shown the end mark and the status is there.
    fn collect(
        &mut self,
        end: &str,
        stdout: &mut dyn Write,
        stderr: &mut dyn Write,
        what: &str,
    ) -> Result<i32> {
        let began = Instant::now();
        let limit = began + self.timeout;
        let (mut out, mut err) = (Until::new(end), Until::new(end));
        let mut status = None;
        while status.is_none() || !out.ended || !err.ended {
            match self.next_event(limit, what, began)? {
                Event::Control(line) => {
                    status = line.strip_prefix("exit ").and_then(|text| text.parse().ok())
                }
                Event::Bytes(Stream::Stdout, bytes) => out.pass(&bytes, stdout)?,
                Event::Bytes(Stream::Stderr, bytes) => err.pass(&bytes, stderr)?,
                Event::Closed => return Err(self.stopped()),
            }
        }
        status.ok_or_else(|| anyhow!("the device sent no exit status of {what}"))
    }

    fn next_event(&mut self, limit: Instant, what: &str, began: Instant) -> Result<Event> {
        loop {
            match self.events.recv_timeout(LOOK) {
                Ok(Event::Closed) | Err(RecvTimeoutError::Disconnected) => return Err(self.stopped()),
                Ok(event) => return Ok(event),
                Err(RecvTimeoutError::Timeout) if self.secure_world_stopped() => return Err(self.stopped()),
                Err(RecvTimeoutError::Timeout) if Instant::now() > limit => {
                    return Err(self.timed_out(what, began.elapsed()));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn secure_world_stopped(&self) -> bool {
        panic_line(&self.secure_log(), "Panic").is_some()
    }

    /// Explains why the device no longer answers.
    fn stopped(&mut self) -> anyhow::Error {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
        let linux = panic_line(&self.normal_log(), "Kernel panic");
        let optee = panic_line(&self.secure_log(), "Panic");
        let qemu = read_lossy(&self.folder.join("qemu.log"));
        let reason = linux.or(optee).or_else(|| qemu.lines().last().map(str::to_owned));
        let reason = reason.unwrap_or_else(|| "no message in its logs".to_owned());
        anyhow!("the emulated device stopped: {reason}\nlogs: {}", self.shown_logs())
    }

    fn timed_out(&mut self, what: &str, after: Duration) -> anyhow::Error {
        let _ = self.qemu.kill();
        TimedOut(format!(
            "{what} had not ended after {} s\nlogs: {}\nhelp: --timeout SECONDS allows more",
            after.as_secs(),
            self.shown_logs()
        ))
        .into()
    }

    fn shown_logs(&self) -> String {
        format!("{0}/normal.log {0}/secure.log", self.folder.display())
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
        let _ = fs::remove_dir_all(&self.sockets);
    }
}

/// An interactive shell on a console of the device; returns when it is off.
pub(crate) fn shell(images: &Images, options: &BootOptions) -> Result<()> {
    let Machine { folder, sockets, tool } = Machine::prepare(images, options, Console::Terminal)?;
    let status = tool.command().status().with_context(|| missing_emulator(&tool));
    fs::remove_dir_all(sockets)?;
    let status = status?;
    if !status.success() {
        bail!("the emulator ended with {status}\nlogs: {}", folder.display());
    }
    Ok(())
}

/// A machine that was not started yet: its folders, and the command that starts it.
pub(crate) struct Machine {
    pub(crate) folder: PathBuf,
    pub(crate) sockets: PathBuf,
    pub(crate) tool: Tool,
}

impl Machine {
    /// Makes new folders, and the flash with the firmware in it.
    pub(crate) fn prepare(images: &Images, options: &BootOptions, console: Console) -> Result<Self> {
        let (folder, sockets) = new_folders(images)?;
        let options = prepared(options)?;
        let share = folder.join("share");
        let flash = Flash::prepare(images, &options, &sockets)?;
        let folders = BootFolders { logs: &folder, sockets: &sockets, share: &share, flash: &flash };
        let tool = qemu_args::tool(images, &options, console, &folders);
        Ok(Self { folder, sockets, tool })
    }
}

pub(crate) fn spawn(tool: &Tool, folder: &Path) -> Result<Child> {
    let messages = fs::File::create(folder.join("qemu.log"))?;
    fs::write(folder.join("command"), format!("{}\n", tool.shown()))?;
    let mut command = tool.command_of_this_thread().map_err(|_| anyhow!(missing_emulator(tool)))?;
    command.stdin(Stdio::null()).stdout(messages.try_clone()?).stderr(messages);
    command.spawn().with_context(|| missing_emulator(tool))
}

fn missing_emulator(tool: &Tool) -> String {
    let shown = tool.shown();
    let program = shown.split(' ').next().unwrap_or_default();
    format!("cannot start {program}\nhelp: install Debian package qemu-system-arm")
}

fn read_lossy(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// The line in which a kernel says that it stopped. A TA that panics is no such line.
fn panic_line(log: &str, word: &str) -> Option<String> {
    let says_so = |line: &&str| {
        line.split_once(word).is_some_and(|(_, rest)| {
            rest.starts_with(" '") || rest.starts_with(" at ") || rest.starts_with(" - ")
        })
    };
    log.lines().find(says_so).map(|line| line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_kernels_panic() {
        assert!(panic_line("E/TC:? 0 TA panicked with code 0xffff3024", "Panic").is_none());
        assert!(panic_line("E/TC:0 0 Panic 'x' at core/a.c:1", "Panic").is_some());
        assert!(panic_line("[1] Kernel panic - not syncing: x", "Kernel panic").is_some());
    }
}

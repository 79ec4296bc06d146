//! `tb qemu --image`: the emulated device boots from an image's own octets, power-on to boot report. What its factory would answer is
//! answered with development keys.
//!
//! The firmware in the image is written to the machine's flash, as a programmer would do it. The image is not changed: the device
//! works on a copy, which `--state` keeps, with the device's own part of the flash behind it.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::board::SecureFlash;
use crate::boot::emulated::end_of;
use crate::builder::Builder;
use crate::device::flash::Flash;
use crate::device::spawn;
use crate::image::factory::Factory;
use crate::image::manifest::{Found, Manifest};
use crate::qemu_args;
use crate::step::remove_oldest;

/// How often the console is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// Logs of how many boots are kept.
const KEPT: usize = 20;
/// Where a -dev image waits for SSH, on the address that QEMU's router gives.
pub(crate) const SSH: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 2, 15), 22);
/// What a boot report starts with.
const REPORT: &str = "{\"trustbox_report\":";

/// What boots, and for how long.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) image: PathBuf,
    /// Keeps the device: its medium, and its flash behind it.
    pub(crate) state: Option<PathBuf>,
    pub(crate) limit: Duration,
    /// Whether somebody answers at the factory's port.
    pub(crate) factory: bool,
    /// Go on after the report, with the console on this terminal.
    pub(crate) console: bool,
    /// Ports of this host, and the ports of the device that they lead to.
    pub(crate) forward: Vec<(u16, SocketAddrV4)>,
}

impl Options {
    /// A boot that ends with its report, or after five minutes.
    pub(crate) fn of(image: &Path, state: Option<PathBuf>) -> Self {
        let (image, limit) = (image.to_path_buf(), Duration::from_secs(300));
        Self { image, state, limit, factory: false, console: false, forward: Vec::new() }
    }
}

/// What a boot came to.
pub(crate) struct Boot {
    /// The line of JSON, if there was one in time.
    pub(crate) report: Option<Value>,
    /// The console.
    pub(crate) log: String,
    /// From power-on to the report.
    pub(crate) took: Duration,
}

/// Runs `tb qemu --image`: shows the report; exit status 0 if there is one with an enclave's answer in it.
pub(crate) fn run(builder: Builder, options: &Options) -> Result<ExitCode> {
    let factory = options.factory.then(|| Factory::prepare(&builder)).transpose()?;
    let mut machine = Machine::start(&builder, options)?;
    // Others build while the device is on, and test it.
    drop(builder);
    machine.with_factory(factory.as_ref(), |machine| {
        let (report, took) = machine.report_within(options.limit);
        let Some(report) = report else {
            bail!("no boot report after {} s:\n{}", took.as_secs(), end_of(&machine.log()));
        };
        println!("{report}");
        let answer = report["enclave"].as_str();
        eprintln!(
            "report {:.1} s after power-on; the enclave says: {}",
            took.as_secs_f32(),
            answer.unwrap_or("nothing")
        );
        if options.console {
            machine.console()?;
        }
        Ok(if answer.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

/// Boots until the report, or until the time is over; then the power is cut.
pub(crate) fn boot(builder: &Builder, factory: Option<&Factory>, options: &Options) -> Result<Boot> {
    boot_then(builder, factory, options, |_| Ok(()))
}

/// The same, and does something after the report, while the device is still on.
pub(crate) fn boot_then(
    builder: &Builder,
    factory: Option<&Factory>,
    options: &Options,
    then: impl FnOnce(&Machine) -> Result<()>,
) -> Result<Boot> {
    let mut machine = Machine::start(builder, options)?;
    let (report, took) = machine.with_factory(factory, |machine| {
        let (report, took) = machine.report_within(options.limit);
        if report.is_some() {
            then(machine)?;
        }
        Ok((report, took))
    })?;
    Ok(Boot { report, log: machine.log(), took })
}

/// A running machine. Dropping it cuts the power.
pub(crate) struct Machine {
    qemu: Child,
    folder: PathBuf,
    /// For sockets, whose paths are short.
    scratch: PathBuf,
    listener: UnixListener,
}

impl Machine {
    /// Power-on.
    pub(crate) fn start(builder: &Builder, options: &Options) -> Result<Self> {
        let (folder, scratch) = new_folders(builder)?;
        let manifest = manifest_of(&options.image, builder)?;
        let board = builder.board.name.get_ref();
        ensure!(
            manifest.board == *board,
            "{} is for {}, not for {board}\nhelp: only images for {board} can be emulated",
            options.image.display(),
            manifest.board
        );
        let state = options.state.clone().unwrap_or_else(|| scratch.join("device"));
        let size = medium_size(&options.image, &manifest)?;
        let map = builder.board.secure_flash()?;
        let flash = device(&options.image, &state, size, &map)?;
        program(&flash, &manifest, &map)?;
        let listener = UnixListener::bind(scratch.join("factory"))?;
        let emulator = builder.board.emulator()?;
        let tool =
            qemu_args::image_tool(emulator, (&state, size), &flash, &folder, &scratch, &options.forward);
        let qemu = spawn(&tool, &folder)?;
        Ok(Self { qemu, folder, scratch, listener })
    }

    /// Does something while somebody is at the factory's port, then cuts the power.
    pub(crate) fn with_factory<A>(
        &mut self,
        factory: Option<&Factory>,
        work: impl FnOnce(&mut Self) -> Result<A>,
    ) -> Result<A> {
        let listener = self.listener.try_clone()?;
        std::thread::scope(|scope| {
            scope.spawn(move || drop(serve(&listener, factory)));
            let result = work(self);
            self.stop();
            result
        })
    }

    /// Waits for the report; how long it took.
    fn report_within(&mut self, limit: Duration) -> (Option<Value>, Duration) {
        let (began, folder) = (Instant::now(), self.folder.clone());
        self.wait_until(limit, || report_in(&log_of(&folder)).is_some());
        (report_in(&self.log()), began.elapsed())
    }

    /// Waits until the console has said this; whether it did in time.
    pub(crate) fn wait_for(&mut self, word: &str, limit: Duration) -> bool {
        let folder = self.folder.clone();
        self.wait_until(limit, || log_of(&folder).contains(word))
    }

    /// Waits until something is so, the machine ends, or the time is over; whether it is so.
    pub(crate) fn wait_until(&mut self, limit: Duration, holds: impl Fn() -> bool) -> bool {
        let end = Instant::now() + limit;
        while Instant::now() < end && matches!(self.qemu.try_wait(), Ok(None)) {
            if holds() {
                return true;
            }
            std::thread::sleep(LOOK);
        }
        holds()
    }

    /// Whether the machine ended by itself: a restart ends it.
    pub(crate) fn ends(&mut self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        while Instant::now() < end {
            if !matches!(self.qemu.try_wait(), Ok(None)) {
                return true;
            }
            std::thread::sleep(LOOK);
        }
        false
    }

    /// The console on this terminal, until its input ends.
    fn console(&self) -> Result<()> {
        let mut stream =
            UnixStream::connect(self.scratch.join("console")).context("the machine has no console")?;
        let mut output = stream.try_clone()?;
        std::thread::spawn(move || drop(std::io::copy(&mut output, &mut std::io::stdout())));
        std::io::copy(&mut std::io::stdin(), &mut stream)?;
        Ok(())
    }

    /// Cuts the power.
    pub(crate) fn stop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
        // Whoever waits for the device at its port goes on.
        let _ = UnixStream::connect(self.scratch.join("factory"));
    }

    /// The console so far.
    pub(crate) fn log(&self) -> String {
        log_of(&self.folder)
    }
}

fn log_of(folder: &Path) -> String {
    String::from_utf8_lossy(&fs::read(folder.join("normal.log")).unwrap_or_default()).into_owned()
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.stop();
        let _ = fs::remove_dir_all(&self.scratch);
    }
}

/// The report in a console's output.
fn report_in(log: &str) -> Option<Value> {
    let mut whole = log.lines().filter_map(|line| {
        line.find(REPORT).and_then(|at| serde_json::from_str(line.get(at..)?.trim()).ok())
    });
    whole.next_back()
}

/// Answers the device until it is off.
fn serve(listener: &UnixListener, factory: Option<&Factory>) -> Result<()> {
    let (stream, _) = listener.accept()?;
    // Without one the line is closed: the device sees that nobody is there.
    let Some(factory) = factory else { return Ok(()) };
    let mut out = stream.try_clone()?;
    for line in BufReader::new(stream).lines() {
        writeln!(out, "{}", factory.answer(&line?))?;
    }
    Ok(())
}

/// The manifest of an image, unverified: the device verifies for itself.
fn manifest_of(image: &Path, builder: &Builder) -> Result<Manifest> {
    let plan = crate::image::layout::Plan::of(builder, None)?;
    let mut file = File::open(image).with_context(|| format!("cannot read {}", image.display()))?;
    file.seek(SeekFrom::Start(plan.manifest))?;
    let mut content = Vec::new();
    file.take(crate::image::layout::MANIFEST_ROOM).read_to_end(&mut content)?;
    Ok(Found::decode(&content).with_context(|| image.display().to_string())?.manifest)
}

/// A folder for logs, and a short one for sockets.
fn new_folders(builder: &Builder) -> Result<(PathBuf, PathBuf)> {
    let boots = builder.repo.cache().join("image-boots");
    let id = format!("{}-{}", std::process::id(), unique());
    let (folder, scratch) = (boots.join(&id), std::env::temp_dir().join(format!("tb-i-{id}")));
    for new in [&folder, &scratch] {
        let _ = fs::remove_dir_all(new);
        fs::create_dir_all(new).with_context(|| format!("cannot make {}", new.display()))?;
    }
    remove_oldest(&boots, KEPT)?;
    Ok((folder, scratch))
}

/// What a file with an image in it has; `tb flash` writes to larger ones too.
fn medium_size(image: &Path, manifest: &Manifest) -> Result<u64> {
    let found = fs::metadata(image)?.len();
    let shown = image.display();
    ensure!(found >= manifest.size, "{shown} has {found} octets, its manifest says {}", manifest.size);
    Ok(found)
}

/// The device in a file, made on first use: a medium of this size, and a flash of its own behind it.
fn device(image: &Path, state: &Path, size: u64, map: &SecureFlash) -> Result<Flash> {
    if !state.exists() {
        new_device(image, state, size, map)?;
    }
    let found = fs::metadata(state)?.len();
    ensure!(
        found == size + map.size,
        "{} is no device of {}: it has {found} octets\nhelp: name another file",
        state.display(),
        image.display()
    );
    Ok(Flash { file: state.to_path_buf(), offset: size, size: map.size, writable: true })
}

/// A device that was never on: the image, and a flash with a key of its own behind it.
fn new_device(image: &Path, state: &Path, size: u64, map: &SecureFlash) -> Result<()> {
    let part = state.with_extension("unfinished");
    let tool = crate::tool::Tool::new("cp").args(["--sparse=always", "--reflink=auto"]).arg(image).arg(&part);
    tool.output().with_context(|| format!("cannot make {}", state.display()))?;
    crate::device::flash::append_device(&part, size, map)?;
    fs::rename(&part, state).with_context(|| format!("cannot make {}", state.display()))
}

/// Writes the firmware that is in the medium to the flash behind it.
fn program(flash: &Flash, manifest: &Manifest, map: &SecureFlash) -> Result<()> {
    let firmware = manifest
        .regions
        .iter()
        .find(|region| region.name == "firmware")
        .context("the image has no firmware")?;
    ensure!(
        firmware.size <= map.firmware,
        "the firmware has {} octets, the flash has {}",
        firmware.size,
        map.firmware
    );
    let mut file = OpenOptions::new().read(true).write(true).open(&flash.file)?;
    file.seek(SeekFrom::Start(firmware.start))?;
    let mut content = vec![0; usize::try_from(firmware.size)?];
    file.read_exact(&mut content)?;
    file.seek(SeekFrom::Start(flash.offset))?;
    file.write_all(&content).with_context(|| format!("cannot write {}", flash.file.display()))
}

fn unique() -> u32 {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_report_counts() {
        let log = "[0.1] kernel\r\n{\"trustbox_report\":1,\"seconds\":3}\r\n{\"trustbox_report\":1,\"sec";
        assert_eq!(report_in(log).unwrap()["seconds"], 3);
        assert!(report_in("{\"trustbox\":1}\n").is_none());
    }
}

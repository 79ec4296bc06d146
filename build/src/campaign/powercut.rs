//! `tb campaign powercut`: cuts the power at random instants, and requires the state before the interrupted change or the one
//! after it (INV-6).
//!
//! An instant is a write or flush that reaches the device's disk: between two of them nothing of the device changes that
//! outlives it. At that instant the machine is killed, and of what it had written since its last flush each sector is
//! kept or lost by chance ([`crate::campaign::disk`]). The next boot is a machine that was frozen right after booting.
//! What a step said it had done must be there, however the power goes afterwards.
//!
//! Nothing is erased here: machines that were frozen in one state draw the same numbers from OP-TEE's software generator, so
//! the key that follows an erased one would be the erased one again. Cuts during an erasure are tried on the fake.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::Serialize;
use trustbox_test::random::Random;
use trustbox_test::steps::{Model, Step, View};

use crate::builder::Builder;
use crate::campaign::disk::Disk;
use crate::campaign::{Common, folder, keep, nbd, require_some, status};
use crate::device::folders::make_file_system;
use crate::device::lab::{Lab, PowerSwitch};
use crate::device::{BootOptions, Device};
use crate::guest::{GuestKind, Images};
use crate::suite::on_device::{STEPS_PROGRAM, prepared};
use crate::ta::Enclave;
use crate::ui;

/// How long a step, or a view, may take.
const STEP_TIME: Duration = Duration::from_secs(120);
/// Where the device finds the meter in the version that a step needs.
const METER: &str = "meter.ta";

/// Cuts the power at random instants.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many cuts
    #[arg(long, value_name = "N", default_value_t = 50)]
    count: u32,
    #[command(flatten)]
    common: Common,
}

/// What came of it.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Summary {
    seed: u64,
    cuts: u32,
    /// Cuts while a step was under way.
    during: u32,
    /// Of these, those that left the state before the step, and the one after it.
    left_before: u32,
    left_after: u32,
    /// Cuts after a step had said that it was done.
    afterwards: u32,
    pub(crate) failures: Vec<String>,
}

/// Runs `tb campaign powercut`.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    require_some(args.count, "--count")?;
    let builder = Builder::open(crate::board::DEFAULT)?;
    let summary = campaign(&builder, args.count, args.common.seed())?;
    args.common.write(&summary)?;
    println!("{}", summary.text());
    Ok(status(summary.failures.is_empty()))
}

/// The whole campaign; a failure ends it.
pub(crate) fn campaign(builder: &Builder, count: u32, seed: u64) -> Result<Summary> {
    ui::line(&format!("powercut: --count {count} --seed {seed}"));
    let enclaves = builder.enclaves()?;
    let meter = enclaves.iter().find(|enclave| enclave.name.contains("meter")).context("no meter")?;
    let mut bench = Bench::new(builder, meter, seed)?;
    let mut summary = Summary { seed, ..Summary::default() };
    for number in 1..=count {
        let outcome = bench.cut()?;
        summary.add(outcome, number, count);
        if !summary.failures.is_empty() {
            keep(&bench.content, &bench.folder.join(format!("seed-{seed}-cut-{number}.img")))?;
            break;
        }
    }
    fs::remove_file(&bench.frozen)?;
    if summary.failures.is_empty() && summary.during == 0 {
        summary.failures.push("no cut came during a step".to_owned());
    }
    Ok(summary)
}

/// One cut.
struct Outcome {
    step: Step,
    at: u64,
    of: u64,
    during: bool,
    /// The state it left: whether that is the one after the step.
    left_after: Result<bool>,
}

impl Summary {
    fn add(&mut self, outcome: Outcome, number: u32, count: u32) {
        let Outcome { step, at, of, during, left_after } = outcome;
        self.cuts += 1;
        let moment = if during { format!("at write {at} of about {of}") } else { "after its end".to_owned() };
        let shown = format!("cut {number} of {count}: {step}, {moment}");
        match (&left_after, during) {
            (Ok(true), true) => self.left_after += 1,
            (Ok(false), true) => self.left_before += 1,
            _ => {}
        }
        if during {
            self.during += 1
        } else {
            self.afterwards += 1
        }
        match left_after {
            Ok(after) => ui::line(&format!("{shown}: state {}", if after { "after" } else { "before" })),
            Err(error) => {
                ui::line(&format!("{shown}: WRONG"));
                self.failures.push(format!("{shown}: {error:#}"));
            }
        }
    }

    fn text(&self) -> String {
        let Self { seed, cuts, during, left_before, left_after, afterwards, failures } = self;
        let failed: String = failures.iter().map(|failure| format!("{failure}\n")).collect();
        format!(
            "{failed}powercut: {cuts} cuts, {} wrong; {during} during a step ({left_before} left the state before it, \
             {left_after} the one after), {afterwards} after its end; --seed {seed}",
            failures.len()
        )
    }
}

/// The device between two cuts: its disk, and what is known of it.
struct Bench<'a> {
    builder: &'a Builder,
    meter: &'a Enclave,
    images: Images,
    folder: PathBuf,
    frozen: PathBuf,
    content: Vec<u8>,
    model: Model,
    /// Kinds of steps, and how many writes each takes.
    writes: Vec<(Step, u64)>,
    random: Random,
    boots: u64,
}

impl<'a> Bench<'a> {
    /// A device with an owner and a class key, frozen; and how long steps take.
    fn new(builder: &'a Builder, meter: &'a Enclave, seed: u64) -> Result<Self> {
        let folder = folder(builder, "powercut")?;
        let images = builder.images(GuestKind::Plain, false)?;
        let empty = folder.join("empty.img");
        let _ = fs::remove_file(&empty);
        make_file_system(&empty)?;
        let frozen = folder.join(format!("{}.frozen", std::process::id()));
        let random = Random::new(seed);
        let view = View { info: String::new(), version: None, floor: 0, pending: false, meter: None };
        let (content, model) = (fs::read(empty)?, Model::of(&view));
        let mut bench =
            Self { builder, meter, images, folder, frozen, content, model, writes: vec![], random, boots: 0 };
        ui::step("a machine, frozen after its boot", || bench.freeze())?;
        ui::step("a device with an owner, and each step once", || bench.rehearse())?;
        Ok(bench)
    }

    fn freeze(&mut self) -> Result<()> {
        let (_, lab) = self.disk_and_lab()?;
        let device = prepared(self.builder, &options(Lab { frozen: None, ..lab }))?;
        device.freeze(&self.frozen)
    }

    /// Prepares the device and counts the writes of each kind of step.
    fn rehearse(&mut self) -> Result<()> {
        let (disk, lab) = self.disk_and_lab()?;
        let mut device = Device::boot(&self.images, &options(lab))?;
        self.provide(&device, 1)?;
        steps(&mut device, self.boots, &["prepare"])?;
        self.model = Model::of(&view(&mut device, self.boots)?);
        for step in [Step::Install(1), Step::Record(1), Step::Install(2), Step::Uninstall, Step::Install(2)] {
            if let Step::Install(version) = step {
                self.provide(&device, version)?;
            }
            let before = lock(&disk)?.done();
            steps(&mut device, self.boots, &[&step.to_string()])?;
            self.writes.push((step, lock(&disk)?.done() - before));
            self.model = self.model.after(step);
        }
        let shown = view(&mut device, self.boots)?;
        ensure!(self.model.allows(&shown), "without a cut: want {}, got {shown:?}", self.model);
        device.kill();
        // Everything was said to be done.
        self.content = lock(&disk)?.after_cut();
        Ok(())
    }

    /// A step, a cut, and what it left.
    fn cut(&mut self) -> Result<Outcome> {
        let step = self.draw_step();
        let of = self.writes_of(step);
        let at = 1 + self.random.below(of + of / 8 + 1);
        let (disk, lab) = self.disk_and_lab()?;
        let mut device = Device::boot(&self.images, &options(lab))?;
        self.provide(&device, self.version_for(step))?;
        lock(&disk)?.arm(at);
        let done = steps(&mut device, self.boots, &[&step.to_string()]);
        device.kill();
        let during = done.is_err() && lock(&disk)?.is_cut();
        self.content = lock(&disk)?.after_cut();
        let left_after = if during || done.is_ok() { self.settle(step, during) } else { done.map(|_| false) };
        Ok(Outcome { step, at, of, during, left_after })
    }

    /// Which of the two states the next boot shows.
    fn settle(&mut self, step: Step, during: bool) -> Result<bool> {
        let (disk, lab) = self.disk_and_lab()?;
        let mut device = Device::boot(&self.images, &options(lab))?;
        self.provide(&device, self.model.floor().max(1))?;
        let shown = view(&mut device, self.boots)?;
        device.kill();
        // A view finishes what was interrupted; like everything that was answered, it lasts.
        self.content = lock(&disk)?.after_cut();
        let after = self.model.after(step);
        let is_after = after.allows(&shown);
        let is_before = during && self.model.allows(&shown);
        if !is_after && !is_before {
            bail!("before: {}; after: {after}; the device shows {shown:?}", self.model);
        }
        if is_after {
            self.model = after;
        }
        Ok(is_after)
    }

    /// The version of the meter that the program for steps is given: it wants one for each.
    fn version_for(&self, step: Step) -> u32 {
        if let Step::Install(version) = step { version } else { self.model.floor().max(1) }
    }

    fn draw_step(&mut self) -> Step {
        let floor = self.model.floor();
        match (self.model.version(), self.random.below(10)) {
            (None, draw) => Step::Install(floor.max(1) + (draw % 2) as u32),
            (Some(version), 0..4) => Step::Install(version + 1),
            (Some(_), 4..6) => Step::Record(self.random.below(1000) as u32),
            (Some(_), _) => Step::Uninstall,
        }
    }

    /// The most writes that a step of this kind took.
    fn writes_of(&self, step: Step) -> u64 {
        let kind = std::mem::discriminant(&step);
        let same = self.writes.iter().filter(|(known, _)| std::mem::discriminant(known) == kind);
        same.map(|(_, writes)| *writes).max().unwrap_or(1)
    }

    /// Brings the meter in a version to the device.
    fn provide(&self, device: &Device, version: u32) -> Result<()> {
        let signed = self.builder.resign(self.meter, version)?;
        Ok(fs::rename(signed, device.share().join(METER))?)
    }

    /// The disk as the last cut left it, served to the next machine.
    fn disk_and_lab(&mut self) -> Result<(Arc<Mutex<Disk>>, Lab)> {
        self.boots += 1;
        let losses = Random::new(self.random.below(u64::MAX));
        let disk = Arc::new(Mutex::new(Disk::new(self.content.clone(), losses)));
        let socket = std::env::temp_dir().join(format!("tb-{}-{}.disk", std::process::id(), self.boots));
        let switch = PowerSwitch::default();
        let cut = {
            let switch = switch.clone();
            move || switch.cut()
        };
        let listener =
            UnixListener::bind(&socket).with_context(|| format!("cannot make {}", socket.display()))?;
        nbd::serve(listener, disk.clone(), Box::new(cut));
        Ok((disk, Lab { disk: Some(socket), frozen: Some(self.frozen.clone()), switch }))
    }
}

fn options(lab: Lab) -> BootOptions {
    BootOptions { timeout: STEP_TIME, lab, ..BootOptions::default() }
}

/// What the device shows of itself.
fn view(device: &mut Device, boot: u64) -> Result<View> {
    let line = steps(device, boot, &["view"])?;
    serde_json::from_str(&line).with_context(|| format!("a view: {line:?}"))
}

/// Carries out steps on the device; each run of the program has higher sequences.
fn steps(device: &mut Device, boot: u64, words: &[&str]) -> Result<String> {
    let sequence = (boot * 1000).to_string();
    let mut argv = STEPS_PROGRAM.to_vec();
    argv.extend(["--image", "/mnt/share/meter.ta", "--sequence", &sequence, "--steps"]);
    argv.extend(words);
    let output = device.exec(&argv)?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    if output.status != 0 {
        return Err(anyhow!("{}: exit status {}: {}", words.join(" "), output.status, stderr.trim()));
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn lock(disk: &Mutex<Disk>) -> Result<std::sync::MutexGuard<'_, Disk>> {
    disk.lock().map_err(|_| anyhow!("the disk's server panicked"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(during: bool, left_after: Result<bool>) -> Outcome {
        Outcome { step: Step::Uninstall, at: 3, of: 9, during, left_after }
    }

    #[test]
    fn cuts_are_counted_by_where_they_came_and_what_they_left() {
        let mut summary = Summary { seed: 4, ..Summary::default() };
        summary.add(outcome(true, Ok(false)), 1, 4);
        summary.add(outcome(true, Ok(true)), 2, 4);
        summary.add(outcome(false, Ok(true)), 3, 4);
        assert!(summary.failures.is_empty());
        summary.add(outcome(true, Err(anyhow!("neither"))), 4, 4);
        let text = summary.text();
        assert!(text.starts_with("cut 4 of 4: uninstall, at write 3 of about 9: neither\n"));
        assert!(text.contains(
            "4 cuts, 1 wrong; 3 during a step (1 left the state before it, 1 the one after), 1 after"
        ));
    }
}

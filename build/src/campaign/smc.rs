//! `tb campaign smc`: every call to the secure monitor and to OP-TEE that the normal world can make, with any registers and any
//! memory, on a monitor that has the services of the boards too.
//!
//! The calls come from a program of ours in U-Boot's place (`smc/payload.c` and its parts), not from a module of Linux: root in Linux is EL1
//! as it is, but it has every register, no interrupts between, no kernel that its own mistakes bring down, and a call's
//! requests can be answered with anything. Then it starts U-Boot, and the same secure world has to serve Linux.
//!
//! The monitor is TF-A's for QEMU with NXP's services compiled in from TF-A's own source, our patches applied; what they need of
//! an LS1028A is in `smc/board.c`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use trustbox_boot_image::fip::{Fip, Kind};

use crate::boot::chain::{FIP_OFFSET, flash_image};
use crate::boot::emulated::{boot_until, end_of};
use crate::builder::Builder;
use crate::campaign::{Common, folder, require_some, status};
use crate::device::flash::{DISK_SIZE, append_device};
use crate::device::{BootOptions, Device};
use crate::guest::{GuestKind, Images};
use crate::hash::Key;
use crate::sources::Source;
use crate::tool::Tool;
use crate::ui;

/// The program that makes the calls, the files to compile first.
const PROGRAM: [(&str, &str); 8] = [
    ("entry.S", include_str!("smc/entry.S")),
    ("payload.c", include_str!("smc/payload.c")),
    ("call.c", include_str!("smc/call.c")),
    ("optee.c", include_str!("smc/optee.c")),
    ("values.c", include_str!("smc/values.c")),
    ("console.c", include_str!("smc/console.c")),
    ("payload.h", include_str!("smc/payload.h")),
    ("payload.ld", include_str!("smc/payload.ld")),
];
const COMPILED: usize = 6;
const BOARD: &str = include_str!("smc/board.c");
const MAKEFILE: &str = include_str!("smc/monitor.mk");
const FLAGS: [&str; 14] = [
    "-Wall",
    "-Wextra",
    "-Werror",
    "-O2",
    "-ffreestanding",
    "-nostdlib",
    "-static",
    "-no-pie",
    "-fno-pic",
    "-fno-stack-protector",
    "-fno-tree-loop-distribute-patterns",
    "-mgeneral-regs-only",
    "-mstrict-align",
    "-Wl,--build-id=none,--no-warn-rwx-segments",
];
/// Where the program's parameters are, and the first octets there.
const PARAMETERS: usize = 0x1000;
const MAGIC: u64 = 0x0043_4d53_5458_4254;
/// Where U-Boot is behind it.
const U_BOOT: usize = 0x20_0000;
/// What is planted in the monitor.
const PATTERN: &[u8; 80] =
    b"TBX-SECRET-PATTERN-0123456789-abcdefghijklmnopqrstuvwxyz-ABCDEFGHIJKLMNOPQRSTUV\0";
/// Words of an image that stand for all of it.
const SAMPLES: usize = 96;
/// Turns of one boot, and how long they may take without KVM and beside other work.
const TURNS: u64 = 200_000;
const LIMIT: Duration = Duration::from_secs(300);
/// How long a short trial may take until its first finding.
const SHORT: Duration = Duration::from_secs(90);
/// What the program says.
const DONE: &str = "smc: done, ";
const FINDING: &str = "smc: finding: ";
const STOPPED: [&str; 3] = ["PANIC at", "Unhandled Exception", "BACKTRACE: START"];

/// Calls the secure world with anything.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many turns; each is a call, or a call of OP-TEE with all its requests
    #[arg(long, value_name = "N", default_value_t = TURNS)]
    count: u64,
    /// Says each call before it is made: for the last one before a device stops
    #[arg(long)]
    trace: bool,
    #[command(flatten)]
    common: Common,
}

/// What came of it.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Summary {
    seed: u64,
    turns: u64,
    /// Calls, those that were answered with anything but "unknown function", sessions that were
    /// opened, messages that OP-TEE served, its requests to the normal world.
    calls: u64,
    answered: u64,
    sessions: u64,
    served: u64,
    requests: u64,
    pub(crate) failures: Vec<String>,
}

/// Runs `tb campaign smc`.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    require_some(u32::try_from(args.count).unwrap_or(u32::MAX), "--count")?;
    let builder = Builder::open(crate::board::DEFAULT)?;
    let bench = Bench::new(&builder, args.trace)?;
    let (mut total, mut seed) = (Summary { seed: args.common.seed(), ..Summary::default() }, None);
    while total.turns < args.count && total.failures.is_empty() {
        // The first boot has the seed itself, so that one boot can be made again alone.
        let this = seed.unwrap_or(total.seed);
        let turns = TURNS.min(args.count - total.turns);
        ui::line(&format!("smc: --count {turns} --seed {this}"));
        total.add(bench.trial(turns, this));
        seed = Some(this + 1);
    }
    args.common.write(&total)?;
    println!("{}", total.text());
    Ok(status(total.failures.is_empty()))
}

/// A short trial, and that the same calls find what TF-A lets through without our patches.
pub(crate) fn check(builder: &Builder, turns: u64, seed: u64) -> Result<()> {
    let bench = Bench::new(builder, false)?;
    let summary = bench.trial(turns, seed)?;
    ui::line(&summary.text());
    ensure!(summary.failures.is_empty(), "{}", summary.failures.join("\n"));
    bench.finds_what_was_mended()
}

struct Bench<'a> {
    builder: &'a Builder,
    images: Images,
    folder: PathBuf,
    program: Vec<u8>,
    trace: bool,
}

impl<'a> Bench<'a> {
    fn new(builder: &'a Builder, trace: bool) -> Result<Self> {
        let images = builder.images(GuestKind::Plain, false)?;
        let program = fs::read(builder.calling_program()?)?;
        Ok(Self { builder, images, folder: folder(builder, "smc")?, program, trace })
    }

    /// Turns, then Linux on the same secure world.
    fn trial(&self, turns: u64, seed: u64) -> Result<Summary> {
        let monitor = self.builder.monitor_of_boards(&self.builder.source("arm-trusted-firmware")?)?;
        let (images, state) = self.device(&monitor, turns, seed)?;
        let options = BootOptions { state: Some(state), boot: LIMIT, ..BootOptions::default() };
        let mut device = Device::boot(&images, &options).with_context(|| self.stopped())?;
        let info = device.exec(&["trustbox", "--json", "info"])?;
        let mut summary = Summary::read(&device.normal_log(), turns, seed)?;
        let info: serde_json::Value = serde_json::from_slice(&info.stdout).unwrap_or_default();
        if info["huk"] != "unique" {
            summary.failures.push(format!("the TA does not answer afterwards: {info}"));
        }
        let log = device.secure_log();
        summary.failures.extend(panicked(&log));
        device.power_off()?;
        Ok(summary)
    }

    /// TF-A as Debian has it must be found out: a check that finds nothing there finds nothing anywhere.
    fn finds_what_was_mended(&self) -> Result<()> {
        let monitor =
            self.builder.monitor_of_boards(&self.builder.source_of_debian("arm-trusted-firmware")?)?;
        let (images, state) = self.device(&monitor, 1, 1)?;
        let options = BootOptions { state: Some(state), ..BootOptions::default() };
        let words = [&[FINDING, DONE][..], &STOPPED].concat();
        let (which, log) = boot_until(&images, &options, &words, SHORT)?;
        ensure!(which != 1, "services that answer to anybody were not found:\n{}", end_of(&log));
        let found = log.lines().find(|line| line.contains(words[which])).unwrap_or_default().trim();
        ui::line(&format!("TF-A as Debian has it: {found}"));
        Ok(())
    }

    /// A device with this monitor, whose firmware ends in our program, and the file with its own key.
    fn device(&self, monitor: &Path, turns: u64, seed: u64) -> Result<(Images, PathBuf)> {
        let (state, firmware) = (self.folder.join("state.img"), self.folder.join("firmware.bios"));
        let image = fs::read(&self.images.firmware)?;
        let mut fip = Fip::decode(image.get(FIP_OFFSET..).context("no FIP")?)?;
        let monitor = fs::read(monitor)?;
        let part = |fip: &Fip, kind| {
            let part = fip.images.iter().find(|part| part.kind == kind);
            part.map(|part| part.content.clone()).with_context(|| format!("no {}", Kind::name(kind)))
        };
        let _ = fs::remove_file(&state);
        crate::device::folders::make_file_system(&state)?;
        append_device(&state, DISK_SIZE, &self.images.secure_flash)?;
        let key = {
            let (content, start) = (fs::read(&state)?, DISK_SIZE + self.images.secure_flash.device);
            content.get(start as usize..start as usize + 32).context("no key")?.to_vec()
        };
        let optee = [part(&fip, Kind::Bl32)?, part(&fip, Kind::Bl32Extra1)?].concat();
        let words = secret_words(&key, &monitor, &optee, &self.program);
        let u_boot = part(&fip, Kind::Bl33)?;
        let normal = self.normal_world(&u_boot, &words, turns, seed)?;
        for part in &mut fip.images {
            match part.kind {
                Kind::Bl31 => part.content.clone_from(&monitor),
                Kind::Bl33 => part.content.clone_from(&normal),
                _ => {}
            }
        }
        fs::write(&firmware, flash_image(image[..FIP_OFFSET].to_vec(), &fip.encode())?)?;
        Ok((Images { firmware, ..self.images.clone() }, state))
    }

    /// Our program with its parameters, and U-Boot behind it.
    fn normal_world(&self, u_boot: &[u8], words: &BTreeSet<u64>, turns: u64, seed: u64) -> Result<Vec<u8>> {
        let mut image = self.program.clone();
        ensure!(image.len() < U_BOOT, "the program has {} octets", image.len());
        ensure!(image.get(PARAMETERS..PARAMETERS + 8) == Some(&MAGIC.to_le_bytes()), "no parameters");
        let header = [MAGIC, seed, turns, self.trace.into(), U_BOOT as u64, words.len() as u64];
        let fields: Vec<u8> = header.iter().chain(words).flat_map(|field| field.to_le_bytes()).collect();
        image
            .get_mut(PARAMETERS..PARAMETERS + fields.len())
            .context("no room for the words")?
            .copy_from_slice(&fields);
        image.resize(U_BOOT, 0);
        image.extend(u_boot);
        Ok(image)
    }

    fn stopped(&self) -> String {
        "the device stopped in the middle of a trial\nhelp: --trace says each call, the last one stopped it"
            .to_owned()
    }
}

impl Builder {
    /// The program that makes the calls.
    fn calling_program(&self) -> Result<PathBuf> {
        let key =
            Key::new("calling-program").texts(PROGRAM.map(|(_, content)| content)).texts(FLAGS).finish();
        let folder = self.cached("calling-program", &key, |dirs| {
            for (name, content) in PROGRAM {
                fs::write(dirs.out.join(name), content)?;
            }
            let linked = dirs.out.join("payload");
            let compiler =
                Tool::new("aarch64-linux-gnu-gcc").args(FLAGS).arg("-T").arg(dirs.out.join("payload.ld"));
            let sources = PROGRAM[..COMPILED].iter().map(|(name, _)| dirs.out.join(name));
            compiler.args(sources).arg("-o").arg(&linked).run(&dirs.log)?;
            let copy = Tool::new("aarch64-linux-gnu-objcopy").args(["-O", "binary"]);
            copy.arg(linked).arg(dirs.out.join("payload.bin")).run(&dirs.log)
        })?;
        Ok(folder.join("payload.bin"))
    }

    /// BL31 for QEMU with NXP's services in it.
    fn monitor_of_boards(&self, source: &Source) -> Result<PathBuf> {
        let flags = self.board.tfa.flags.iter().flat_map(|(name, value)| [name, value]);
        let key = Key::new("monitor-of-boards").text(&source.key).text(BOARD).text(MAKEFILE).texts(flags);
        let folder = self.cached("monitor-of-boards", &key.finish(), |dirs| {
            // Its makefiles are changed, so it is a copy.
            let tree = dirs.out.join("source");
            Tool::new("cp").arg("-a").arg(&source.folder).arg(&tree).run(&dirs.log)?;
            fs::create_dir_all(tree.join("plat/qemu/nxp_services"))?;
            fs::write(tree.join("plat/qemu/nxp_services/board.c"), BOARD)?;
            let makefile = tree.join("plat/qemu/qemu/platform.mk");
            fs::write(&makefile, fs::read_to_string(&makefile)? + MAKEFILE)?;
            let copy = Source { folder: tree.clone(), key: source.key.clone() };
            let work = dirs.out.join("work");
            self.tfa_base(&copy, &work).assign("E", "0").arg("bl31").run(&dirs.log)?;
            let built = work.join(&self.board.tfa.platform).join("release/bl31.bin");
            crate::firmware::copy(&built, &dirs.out.join("bl31.bin"))?;
            fs::remove_dir_all(tree)?;
            Ok(fs::remove_dir_all(work)?)
        })?;
        Ok(folder.join("bl31.bin"))
    }
}

/// Words that the normal world must never see: the device's key, what is planted in the monitor, also as NXP's service copies
/// it, and words all over the images of monitor and OP-TEE. What the calling program has is no secret: names of TAs, which it
/// writes into messages itself.
fn secret_words(key: &[u8], monitor: &[u8], optee: &[u8], program: &[u8]) -> BTreeSet<u64> {
    let public: BTreeSet<&[u8]> = program.windows(8).collect();
    let secret = |word: &u64| varied(*word) && !public.contains(&word.to_le_bytes()[..]);
    let halves: Vec<u8> = PATTERN.iter().step_by(2).copied().collect();
    let whole = [key, PATTERN, &halves].into_iter().flat_map(words).filter(secret);
    let samples = [monitor, optee].into_iter().flat_map(|image| {
        let words: Vec<_> = words(image).filter(secret).collect();
        let step = (words.len() / SAMPLES).max(1);
        words.into_iter().step_by(step).take(SAMPLES).collect::<Vec<_>>()
    });
    whole.chain(samples).collect()
}

fn words(octets: &[u8]) -> impl Iterator<Item = u64> + '_ {
    octets.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word))
}

/// Words that nothing else is by chance.
fn varied(word: u64) -> bool {
    word.to_le_bytes().into_iter().collect::<BTreeSet<_>>().len() >= 7
}

/// What OP-TEE and the monitor say when they are at an end.
fn panicked(log: &str) -> Option<String> {
    let line = log
        .lines()
        .find(|line| ["Panic '", "Core data-abort", "assertion '"].iter().any(|word| line.contains(word)));
    line.map(|line| format!("the secure log says: {}", line.trim()))
}

impl Summary {
    /// What the program said, which must have come to its end.
    fn read(log: &str, turns: u64, seed: u64) -> Result<Self> {
        let failures = log.lines().filter(|line| line.contains(FINDING)).map(|line| line.trim().to_owned());
        let failures: Vec<_> = failures.collect();
        let Some(line) = log.lines().find_map(|line| line.split_once(DONE)) else {
            bail!("the trial did not come to its end:\n{}\n{}", failures.join("\n"), end_of(log));
        };
        let numbers = line.1.split(|letter: char| !letter.is_ascii_digit()).filter(|text| !text.is_empty());
        let numbers: Vec<u64> = numbers.map(str::parse).collect::<Result<_, _>>()?;
        let [calls, answered, sessions, served, requests, findings] = numbers[..] else {
            bail!("the trial ended with: {}", line.1);
        };
        // It says the first ones only.
        let said = failures.len() as u64;
        ensure!(said <= findings && (said > 0) == (findings > 0), "{findings} findings, {said} lines");
        Ok(Self { seed, turns, calls, answered, sessions, served, requests, failures })
    }

    fn add(&mut self, trial: Result<Self>) {
        match trial {
            Ok(trial) => {
                self.turns += trial.turns;
                self.calls += trial.calls;
                self.answered += trial.answered;
                self.sessions += trial.sessions;
                self.served += trial.served;
                self.requests += trial.requests;
                self.failures.extend(trial.failures);
            }
            Err(error) => self.failures.push(format!("{error:#}")),
        }
    }

    fn text(&self) -> String {
        let Self { seed, turns, calls, answered, sessions, served, requests, failures } = self;
        let failed: String = failures.iter().map(|failure| format!("{failure}\n")).collect();
        format!(
            "{failed}smc: {calls} calls in {turns} turns, {answered} answered, {sessions} sessions, {served} messages served, {requests} requests of OP-TEE, \
             {} findings; --count {turns} --seed {seed}",
            failures.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_come_to_its_end_is_no_success() {
        let end = "smc: done, 5 calls, 4 answered, 3 sessions, 3 messages served, 2 requests, 1 findings\r\n";
        let finding = "smc: finding: a secret in a register; call 4 0x1\r\n";
        let summary = Summary::read(&format!("{finding}{end}"), 9, 8).unwrap();
        assert_eq!((summary.calls, summary.requests, summary.failures.len()), (5, 2, 1));
        assert!(Summary::read(end, 9, 8).is_err());
        let error = Summary::read(finding, 9, 8).unwrap_err().to_string();
        assert!(
            error.contains("did not come to its end") && error.contains("a secret in a register"),
            "{error}"
        );
        let mut total = Summary::default();
        total.add(Err(anyhow::anyhow!("stopped")));
        assert_eq!(total.failures, ["stopped"]);
    }

    #[test]
    fn words_of_chance_and_what_the_program_names_are_no_secrets() {
        let (optee, program) = ((0..64).collect::<Vec<u8>>(), (15..30).collect::<Vec<u8>>());
        let words = secret_words(&[7; 32], &[0; 64], &optee, &program);
        assert!(!words.contains(&0x1716_1514_1312_1110) && words.contains(&0x1f1e_1d1c_1b1a_1918));
        assert!(words.contains(&0x0706_0504_0302_0100) && !words.contains(&0x0707_0707_0707_0707));
        assert!(words.contains(&u64::from_le_bytes(*b"TBX-SECR")));
    }
}

//! The hardening report of a board's firmware: each known hole, what closes it, how that was checked on what was built, and
//! what only hardware can show. A check that fails stops the build of a production board.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::board::layout::Extent;
use crate::board::soc::Hardware;
use crate::board::{Board, Profile, STRONG_FLAGS, WEAK_FLAGS};
use crate::builder::Builder;
use crate::tool::Tool;

/// What was built, as far as it is looked at.
pub(crate) struct Built<'a> {
    pub(crate) bl31: Vec<PathBuf>,
    pub(crate) optee: &'a Path,
    pub(crate) u_boot_config: PathBuf,
    pub(crate) tree: PathBuf,
}

/// One known hole.
#[derive(Serialize)]
pub(crate) struct Finding {
    hole: String,
    closed_by: String,
    checked: String,
    state: State,
    only_hardware_shows: &'static str,
}

/// Whether a hole is closed in what was built.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    Closed,
    /// Known, and not closed by this firmware.
    Open,
    /// It should be closed and is not.
    Failed,
}

impl Finding {
    fn of(hole: &str, closed_by: &str, checked: &str, result: Result<bool>, hardware: &'static str) -> Self {
        let (state, checked) = match result {
            Ok(true) => (State::Closed, checked.to_owned()),
            Ok(false) => (State::Failed, checked.to_owned()),
            Err(error) => (State::Failed, format!("{checked}: {error:#}")),
        };
        Self { hole: hole.into(), closed_by: closed_by.into(), checked, state, only_hardware_shows: hardware }
    }

    fn open(hole: &str, closed_by: &str, hardware: &'static str) -> Self {
        let (hole, closed_by) = (hole.to_owned(), closed_by.to_owned());
        Self {
            hole,
            closed_by,
            checked: "not closed yet".into(),
            state: State::Open,
            only_hardware_shows: hardware,
        }
    }
}

/// Looks at what was built.
pub(crate) fn examine(builder: &Builder, hardware: &Hardware<'_>, built: &Built<'_>) -> Result<Vec<Finding>> {
    let board = &builder.board;
    let config = Config::read(&built.optee.join("optee.config"))?;
    let mut findings = vec![monitor(built), unique_key(board, built, &config), memory(hardware, &config)];
    findings.extend(job_rings(hardware, built));
    findings.push(debug_port(hardware));
    findings.push(fuse_supply(built));
    let flags =
        WEAK_FLAGS.iter().map(|flag| (flag, false)).chain(STRONG_FLAGS.iter().map(|flag| (flag, true)));
    findings.extend(flags.map(|((flag, why), on)| option(flag, why, on, &config)));
    findings.extend(open_holes(built)?);
    refuse_failures(board, &findings)?;
    Ok(findings)
}

/// A `-dev` board shows what it leaves open; a production board is not built with it.
fn refuse_failures(board: &Board, findings: &[Finding]) -> Result<()> {
    let failed = findings.iter().find(|finding| finding.state == State::Failed);
    match failed {
        Some(finding) if board.profile == Profile::Production => bail!(
            "{}: {} ({})\nhelp: {} should close it",
            board.name.get_ref(),
            finding.hole,
            finding.checked,
            finding.closed_by
        ),
        _ => Ok(()),
    }
}

/// The handler must look at who calls before it calls anything, and do nothing for the normal world.
fn monitor(built: &Built<'_>) -> Finding {
    let check = || -> Result<bool> {
        let texts = built.bl31.iter().map(|elf| disassembled(elf, "sip_smc_handler"));
        let texts = texts.collect::<Result<Vec<_>>>()?;
        Ok(!texts.is_empty() && texts.iter().all(|text| refuses_the_normal_world(text)))
    };
    Finding::of(
        "Linux can have EL3 write a key to secure memory, and use other services of the secure monitor",
        "platform/patches/arm-trusted-firmware/0001-sip-services-are-secure.patch",
        "instructions of sip_smc_handler in BL31: the caller's world is tested before the first call, and the normal world's way \
         from there to the end has no call and no choice",
        check(),
        "answers of the services to Linux",
    )
}

/// Bit 0 of x7, the flags, is tested before the first `bl`, and where it is set the handler goes straight to its end.
fn refuses_the_normal_world(text: &str) -> bool {
    let instructions: Vec<_> = text.lines().filter_map(instruction).collect();
    let first_call = instructions.iter().position(|(_, text)| text.starts_with("bl "));
    let before = &instructions[..first_call.unwrap_or(instructions.len())];
    let tests = |text: &str| text.contains("w7, #0,") || text.contains("x7, #0,");
    let Some(test) = before.iter().position(|(_, text)| text.starts_with("tb") && tests(text)) else {
        return false;
    };
    let target = instructions[test].1.split([',', ' ']).filter(|word| !word.is_empty()).nth(3);
    let start = match instructions[test].1.starts_with("tbnz ") {
        true => instructions.iter().position(|(address, _)| Some(*address) == target),
        false => Some(test + 1),
    };
    let rest = instructions.get(start.unwrap_or(instructions.len())..).unwrap_or_default();
    let end = rest.iter().position(|(_, text)| text.starts_with("b ") || text.starts_with("ret"));
    let decides =
        |text: &str| ["bl", "b.", "cb", "tb", "cmp", "ccmp"].iter().any(|word| text.starts_with(word));
    end.is_some_and(|end| !rest[..end].iter().any(|(_, text)| decides(text)))
}

/// Address and text of an instruction, blanks made single.
fn instruction(line: &str) -> Option<(&str, String)> {
    let (address, rest) = line.split_once(":\t")?;
    Some((address.trim(), rest.split('\t').skip(1).collect::<Vec<_>>().join(" ")))
}

fn unique_key(board: &Board, built: &Built<'_>, config: &Config) -> Finding {
    let check = || -> Result<bool> {
        let text = disassembled(&built.optee.join("tee.elf"), "tee_otp_get_hw_unique_key")?;
        let asks = text.contains("<huk_state>") || board.profile == Profile::Dev;
        Ok(asks && config.has("CFG_NXP_CAAM", true) && config.has("CFG_HUK_TEST_KEY", false))
    };
    Finding::of(
        "storage and identity rest on a key that all chips have",
        "platform/patches/optee-os/0021-ls-unique-key.patch, CFG_NXP_CAAM",
        "OP-TEE's configuration; tee_otp_get_hw_unique_key asks for the state of the key",
        check(),
        "states of the security monitor before and after fusing; that the key differs between boards",
    )
}

fn memory(hardware: &Hardware<'_>, config: &Config) -> Finding {
    let check = || -> Result<bool> {
        let bl31 = hardware.memory.region("bl31").context("no memory region bl31")?;
        let end = config.number("CFG_DRAM0_BASE")? + config.number("CFG_LS_NSEC_DDR_0_SIZE")?;
        let tee = hardware.memory.region("optee").context("no memory region optee")?;
        Ok(end <= bl31.start && config.number("CFG_TZDRAM_START")? == tee.start && bl31.end() <= tee.start)
    };
    Finding::of(
        "Linux passes memory of BL31 or OP-TEE to OP-TEE as its own",
        "platform/patches/optee-os/0020-ls1028a-normal-memory.patch, memory map in board.toml",
        "ranges in OP-TEE's configuration end before BL31",
        check(),
        "that the address space controller keeps Linux out of the secure ranges",
    )
}

fn job_rings<'a>(hardware: &'a Hardware<'_>, built: &'a Built<'_>) -> impl Iterator<Item = Finding> + 'a {
    hardware.devices.secure.iter().map(|device| {
        let path =
            Tool::new("fdtget").args(["-t", "s"]).arg(&built.tree).args(["/__symbols__", &device.label]);
        let status = || -> Result<bool> {
            let node = path.output()?;
            let tool = Tool::new("fdtget").arg(&built.tree).args([node.trim(), "status"]);
            Ok(tool.output()?.trim() == "disabled")
        };
        Finding::of(
            &format!("Linux uses {}, which is {}", device.label, device.why),
            "devices.secure in board.toml",
            "the node is disabled in linux.dtb; this keeps an honest Linux away, not a hostile one",
            status(),
            "that the job ring's registers refuse the normal world",
        )
    })
}

fn debug_port(hardware: &Hardware<'_>) -> Finding {
    let check = || -> Result<bool> {
        let mut words = hardware.media.keys().map(|kind| hardware.pbl(*kind));
        Ok(words.all(|pbl| pbl.is_ok_and(|pbl| pbl.rcw.get("SDBGEN") == Ok(0))))
    };
    Finding::of(
        "a debugger reads secure memory",
        "SDBGEN is 0 in the RCW",
        "RCW of each medium",
        check(),
        "the debug level in the fuses, without which the RCW decides; who can write the medium can write the RCW",
    )
}

fn fuse_supply(built: &Built<'_>) -> Finding {
    let check = || -> Result<bool> {
        let symbols =
            built.bl31.iter().map(|elf| disassembled(&elf.with_file_name("bl2.elf"), "board_enable_povdd"));
        Ok(symbols.collect::<Result<Vec<_>>>()?.iter().all(|text| !text.contains("#0x1")))
    };
    Finding::of(
        "firmware in the field programs fuses",
        "POVDD_ENABLE=no in TF-A's platform",
        "board_enable_povdd in BL2 is absent or returns false",
        check(),
        "that the supply's pin stays low",
    )
}

fn option(flag: &str, why: &str, on: bool, config: &Config) -> Finding {
    let wanted = if on { "y" } else { "n" };
    let hole = if on { why.to_owned() } else { format!("OP-TEE {why}") };
    let checked = "OP-TEE's configuration as it was built";
    Finding::of(&hole, &format!("{flag}={wanted}"), checked, Ok(config.has(flag, on)), "")
}

/// What this firmware does not close, so that nobody believes it does.
fn open_holes(built: &Built<'_>) -> Result<Vec<Finding>> {
    let u_boot = fs::read_to_string(&built.u_boot_config)?;
    let mut holes = vec![
        Finding::open(
            "who writes the medium writes BL2, BL31 and OP-TEE",
            "`--verified`: signed PBL and FIP, and fuses (SB_EN, ITS)",
            "everything: the boot ROM checks signatures only once fuses are programmed",
        ),
        Finding::open(
            "an old firmware is put back",
            "`--verified`: TF-A's counters in fuses, with signed FIPs",
            "that a counter stops the older one",
        ),
    ];
    if !u_boot.lines().any(|line| line == "CONFIG_FIT_SIGNATURE=y") {
        holes.push(Finding::open(
            "U-Boot has a shell and starts any kernel",
            "`--verified`: a locked U-Boot; invariants of the secure world do not depend on it",
            "",
        ));
    }
    Ok(holes)
}

fn disassembled(elf: &Path, function: &str) -> Result<String> {
    let tool =
        Tool::new("aarch64-linux-gnu-objdump").arg("-d").arg(format!("--disassemble={function}")).arg(elf);
    tool.output()
}

/// OP-TEE's configuration as make has resolved it: lines of `NAME=VALUE`.
struct Config(String);

impl Config {
    fn read(path: &Path) -> Result<Self> {
        Ok(Self(fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?))
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
    }

    /// What make does not know is off.
    fn has(&self, name: &str, on: bool) -> bool {
        (self.value(name) == Some("y")) == on
    }

    fn number(&self, name: &str) -> Result<u64> {
        let text = self.value(name).with_context(|| format!("OP-TEE's configuration has no {name}"))?;
        let digits = text.strip_prefix("0x").with_context(|| format!("{name} is {text}, not 0x…"))?;
        Ok(u64::from_str_radix(digits, 16)?)
    }
}

/// Writes `HARDENING.md` for people and `hardening.json` for programs.
pub(crate) fn write(out: &Path, board: &Board, findings: &[Finding]) -> Result<()> {
    let count = |state| findings.iter().filter(|finding| finding.state == state).count();
    let mut text = format!(
        "# Hardening of the firmware for {}\n\n{} known holes are closed, {} are open, {} should be closed and are not. \
         Nothing was tried on hardware.\n\n| state | hole | closed by | how it was checked | what only hardware shows |\n\
         | --- | --- | --- | --- | --- |\n",
        board.title,
        count(State::Closed),
        count(State::Open),
        count(State::Failed)
    );
    for finding in findings {
        let state = format!("{:?}", finding.state).to_lowercase();
        let Finding { hole, closed_by, checked, only_hardware_shows, .. } = finding;
        writeln!(text, "| {state} | {hole} | {closed_by} | {checked} | {only_hardware_shows} |")?;
    }
    fs::write(out.join("HARDENING.md"), text)?;
    Ok(fs::write(out.join("hardening.json"), serde_json::to_string_pretty(findings)? + "\n")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_normal_world_is_refused_before_the_first_call() {
        let listing = |lines: &[&str]| -> String {
            let number = |(at, text): (usize, &&str)| format!("  fbe{at}:\taa0203f5 \t{text}\n");
            lines.iter().enumerate().map(number).collect()
        };
        let far =
            ["mov\tx21, x2", "tbnz\tw7, #0, fbe4 <x>", "bl\tfc00 <y>", "ret", "mov\tx0, #-1", "b\tfbe9 <z>"];
        let near = ["tbz\tw7, #0, fbe3 <x>", "mov\tx0, #-1", "ret", "bl\tfc00 <y>"];
        assert!([&far[..], &near[..]].iter().all(|lines| refuses_the_normal_world(&listing(lines))));
        let one_service = ["tbz\tw7, #0, fbe4 <x>", "cmp\tw4, w1", "b.eq\tfbe4 <x>", "ret", "bl\tfc00 <y>"];
        let late = ["bl\tfc00 <y>", "tbz\tw7, #0, fbe3 <x>", "ret", "ret"];
        let other = ["tbz\tw0, #30, fbe2 <x>", "ret", "ret"];
        let nowhere = ["tbnz\tw7, #0, fbe9 <x>", "ret"];
        for lines in [&one_service[..], &late, &other, &nowhere, &[]] {
            assert!(!refuses_the_normal_world(&listing(lines)), "{lines:?}");
        }
    }

    #[test]
    fn configuration_is_read_exactly() {
        let config = Config("CFG_A=y\nCFG_AB=n\nCFG_N=0x10\n".to_owned());
        assert!(config.has("CFG_A", true) && config.has("CFG_AB", false) && config.has("CFG_NONE", false));
        assert_eq!(config.number("CFG_N").unwrap(), 16);
        assert!(config.number("CFG_A").is_err());
    }
}

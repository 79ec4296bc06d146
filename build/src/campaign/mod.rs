//! `tb campaign`: long trials: of what an attacker and bad luck can do, reproducible from a seed, and of what packages' scripts would do.

mod disk;
pub(crate) mod hostile;
mod nbd;
pub(crate) mod powercut;
mod scripts;
pub(crate) mod smc;

pub(crate) use scripts::tools_of_no_image;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Subcommand;
use serde::Serialize;
use trustbox_test::random::Random;

use crate::builder::Builder;
use crate::suite::Case;

/// What `tb test` does.
const CUTS: u32 = 20;
const TURNS: u64 = 10_000;
const SEED: u64 = 1;

/// Runs a campaign.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    campaign: Campaign,
}

#[derive(Subcommand)]
enum Campaign {
    /// Cuts the power in the middle of installs, upgrades, removals and writes of sealed data
    Powercut(powercut::Args),
    /// Does what root in Linux can do: races, rewritten memory, damaged and replayed storage, a killed tee-supplicant
    Hostile(hostile::Args),
    /// Makes every call to the secure monitor and to OP-TEE that the normal world can make, with anything in registers and memory
    Smc(smc::Args),
    /// Runs the scripts of the image's packages in a root of their own, and holds what they change against the image, which runs none
    Scripts(scripts::Args),
}

/// What campaigns of chance are told.
#[derive(clap::Args)]
pub(crate) struct Common {
    /// Seed of all random choices; a new one where it is left out
    #[arg(long, value_name = "S")]
    pub(crate) seed: Option<u64>,
    /// Also write the summary to a file, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

impl Common {
    fn seed(&self) -> u64 {
        self.seed.unwrap_or_else(seed_of_today)
    }

    fn write(&self, summary: &impl Serialize) -> Result<()> {
        write_summary(self.json.as_deref(), summary)
    }
}

fn write_summary(path: Option<&Path>, summary: &impl Serialize) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    let text = serde_json::to_string_pretty(summary)? + "\n";
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Runs `tb campaign`; the exit status says whether everything was as it must be.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    match &args.campaign {
        Campaign::Powercut(args) => powercut::run(args),
        Campaign::Hostile(args) => hostile::run(args),
        Campaign::Smc(args) => smc::run(args),
        Campaign::Scripts(args) => scripts::run(args),
    }
}

/// A seed for a campaign that was given none.
fn seed_of_today() -> u64 {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    Random::new(now.as_nanos() as u64).below(1_000_000)
}

/// The power cuts, the calls and the scripts of `tb test`: a few, always the same. Hostile acts are cases of the device suite.
pub(crate) fn check(builder: &Builder) -> Result<Vec<Case>> {
    let calls = smc::check(builder, TURNS, SEED);
    let cuts = powercut::campaign(builder, CUTS, SEED).and_then(|summary| {
        ensure!(summary.failures.is_empty(), "{}", summary.failures.join("\n"));
        Ok(())
    });
    let scripts = scripts::campaign(builder, Some(scripts::QUICK)).and_then(|summary| {
        ensure!(summary.failures.is_empty(), "{}", summary.failures.join("\n"));
        Ok(())
    });
    Ok(vec![
        Case::of("campaign", "the scripts of one package change what is explained", scripts),
        Case::of("campaign", &format!("{CUTS} power cuts"), cuts),
        Case::of(
            "campaign",
            "calls of the normal world: refusals only, and what our patches mend is found",
            calls,
        ),
    ])
}

fn status(good: bool) -> ExitCode {
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Where a campaign keeps what it works with, and what shows a failure.
fn folder(builder: &Builder, name: &str) -> Result<PathBuf> {
    let folder = builder.repo.cache().join("campaign").join(name);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

fn require_some(count: u32, what: &str) -> Result<()> {
    ensure!(count > 0, "{what} is 0\nhelp: a campaign of nothing shows nothing");
    Ok(())
}

fn keep(content: &[u8], path: &Path) -> Result<()> {
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}

//! `tb bench`: figures that can be compared between machines: instructions and bytes, and ratios to what they are compared with.
//!
//! Each is taken in the same run as its reference: on the device the same work on OP-TEE as it comes, without TrustBox, on the
//! same emulated machine; on the host the same cryptography. An emulated device says nothing about time on a board.

mod boot;
mod chart;
mod image;
mod keys;
mod measure;
mod pack;
mod station;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::builder::Builder;
use crate::ui;
use measure::Measured;

/// What a goal is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum About {
    Value,
    Ratio,
}

/// What figures must not exceed.
const GOALS: &[(&str, Part, About, f64)] = &[
    ("gcm_instr_per_byte", Part::Device, About::Value, 18.0),
    ("install", Part::Device, About::Ratio, 1.25),
    ("launch", Part::Device, About::Ratio, 1.2),
    ("invoke_4k", Part::Device, About::Ratio, 1.6),
    ("attest_beyond_signature", Part::Device, About::Value, 30_000_000.0),
    ("ta_bytes", Part::Device, About::Value, 163_840.0),
    ("secure_mem_idle", Part::Device, About::Value, 524_288.0),
    ("secure_mem_peak_extra", Part::Device, About::Value, 524_288.0),
    ("boot_verification", Part::Boot, About::Value, 1500.0),
    ("image_build", Part::Image, About::Value, 90.0),
    ("image_build_beside", Part::Image, About::Ratio, 1.0),
    ("image_flash", Part::Image, About::Ratio, 1.05),
    ("image_read_back", Part::Image, About::Ratio, 1.1),
    ("image_root", Part::Image, About::Value, 60.0),
    ("image_first_boot", Part::Image, About::Value, 40.0),
    ("image_restart", Part::Image, About::Value, 20.0),
    ("pack_10mib", Part::Pack, About::Ratio, 1.3),
    ("keys_release", Part::Keys, About::Ratio, 2.0),
    ("keys_p99_million", Part::Keys, About::Ratio, 2.0),
    ("keys_verify", Part::Keys, About::Value, 500.0),
    ("keys_lost_records", Part::Keys, About::Value, 0.0),
    ("keys_page", Part::Keys, About::Value, 200.0),
    ("keys_page_postgres", Part::Keys, About::Value, 200.0),
    ("station_three", Part::Station, About::Ratio, 1.3),
    ("station_overhead", Part::Station, About::Value, 2.0),
];

/// Takes all figures in one run, or those of a part.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only the figures of this part
    part: Option<Part>,
    /// Board to measure
    #[arg(long, value_name = "BOARD", default_value = crate::board::DEFAULT)]
    platform: String,
    /// Also write the figures to a file, as a JSON array
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// A part that has figures of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// What runs on the emulated device
    Device,
    /// Verified boot of the emulated device
    Boot,
    /// `tb pack`, on this host
    Pack,
    /// The key service, on this host
    Keys,
    /// `tb image` and `tb flash` on this host, and the emulated device's start from an image
    Image,
    /// A factory's line with emulated devices
    Station,
}

/// A figure and what it is held against.
#[derive(Clone, Debug, Serialize)]
struct Figure {
    name: String,
    value: f64,
    unit: String,
    /// The same without TrustBox.
    reference: Option<f64>,
    ratio: Option<f64>,
    goal: Option<f64>,
    /// Whether the goal is about the value or the ratio.
    goal_of: Option<About>,
}

/// Runs `tb bench`; the exit status says whether every goal is met.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let wanted = |part| args.part.is_none_or(|only| only == part);
    let builder = Builder::open(&args.platform)?;
    let (mut ours, mut references) = (Vec::new(), Vec::new());
    if wanted(Part::Device) {
        ours.extend(measure::ours(&builder)?);
        ours.push(measure::inference(&builder)?);
        references.extend(measure::references(&builder)?);
    }
    if wanted(Part::Boot) {
        let (verified, plain) = boot::figures(&builder)?;
        ours.extend(verified);
        references.extend(plain);
    }
    if wanted(Part::Pack) {
        let (packed, by_ring) = ui::step("figures of tb pack", pack::figures)?;
        ours.extend(packed);
        references.extend(by_ring);
    }
    if wanted(Part::Keys) {
        let (served, by_itself) = ui::step("figures of the key service", || keys::figures(&builder))?;
        ours.extend(served);
        references.extend(by_itself);
    }
    if wanted(Part::Image) {
        let (by_us, by_others) = image::figures(&builder)?;
        ours.extend(by_us);
        references.extend(by_others);
    }
    if wanted(Part::Station) {
        let (three, one) = station::figures(&builder)?;
        ours.extend(three);
        references.extend(one);
    }
    let figures: Vec<_> = ours.into_iter().map(|ours| Figure::new(ours, &references)).collect();
    show(&figures);
    let chart = write_chart(&builder, &figures)?;
    println!("chart: {}", chart.display());
    if let Some(path) = &args.json {
        write(path, &format!("{}\n", serde_json::to_string_pretty(&figures)?))?;
    }
    let mut goals = GOALS.iter().filter(|(_, part, ..)| wanted(*part));
    let missed = figures.iter().any(Figure::is_missed) || goals.any(|(name, ..)| lacks(&figures, name));
    Ok(if missed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn lacks(figures: &[Figure], name: &str) -> bool {
    figures.iter().all(|figure| figure.name != name || figure.held().is_none())
}

fn write_chart(builder: &Builder, figures: &[Figure]) -> Result<PathBuf> {
    let folder = builder.repo.cache().join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let path = folder.join("bench.svg");
    write(&path, &chart::document(figures))?;
    Ok(path)
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

impl Figure {
    fn new(ours: Measured, references: &[Measured]) -> Self {
        let reference = references.iter().find(|reference| reference.name == ours.name);
        let reference = reference.map(|reference| reference.value);
        let goal = GOALS.iter().find(|(name, ..)| *name == ours.name);
        Self {
            ratio: reference.map(|reference| ours.value / reference),
            reference,
            goal: goal.map(|(.., goal)| *goal),
            goal_of: goal.map(|(_, _, about, _)| *about),
            name: ours.name,
            value: ours.value,
            unit: ours.unit,
        }
    }

    /// What the goal is about; none where it was not measured.
    fn held(&self) -> Option<f64> {
        match self.goal_of? {
            About::Value => Some(self.value),
            About::Ratio => self.ratio,
        }
    }

    fn is_missed(&self) -> bool {
        matches!((self.held(), self.goal), (Some(held), Some(goal)) if held > goal)
    }
}

fn show(figures: &[Figure]) {
    println!("{:<24}{:>14}{:>14}{:>8}{:>10}  unit", "figure", "value", "reference", "ratio", "goal");
    for figure in figures {
        let goal = figure.goal.map(|goal| match figure.goal_of {
            Some(About::Ratio) => format!("×{goal}"),
            _ => format!("{goal}"),
        });
        println!(
            "{:<24}{:>14}{:>14}{:>8}{:>10}  {}{}",
            figure.name,
            number(figure.value),
            figure.reference.map_or_else(String::new, number),
            figure.ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}")),
            goal.unwrap_or_default(),
            figure.unit,
            if figure.is_missed() { "  MISSED" } else { "" }
        );
    }
}

/// Whole where it is large.
fn number(value: f64) -> String {
    if value >= 1000.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(name: &str, value: f64) -> Measured {
        Measured { name: name.to_owned(), value, unit: "instructions".to_owned() }
    }

    #[test]
    fn goals_are_held_against_value_or_ratio() {
        let references = [measured("install", 100.0), measured("gcm_instr_per_byte", 20.0)];
        let install = Figure::new(measured("install", 126.0), &references);
        assert!(install.is_missed() && install.ratio == Some(1.26));
        assert!(!Figure::new(measured("install", 125.0), &references).is_missed());
        assert!(!Figure::new(measured("gcm_instr_per_byte", 18.0), &references).is_missed());
        assert!(Figure::new(measured("ta_bytes", 163_841.0), &references).is_missed());
    }

    #[test]
    fn a_goal_without_its_reference_is_missed() {
        let figures = [Figure::new(measured("launch", 5.0), &[])];
        assert!(lacks(&figures, "launch") && lacks(&figures, "install"));
        assert!(!lacks(&[Figure::new(measured("ta_bytes", 5.0), &[])], "ta_bytes"));
    }
}

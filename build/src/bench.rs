//! `tb bench`: figures that can be compared between machines, because they count instructions and bytes, not seconds; and of the
//! publisher's tools, ratios of times taken in the same run.

mod pack;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::builder::Builder;
use crate::device::BootOptions;
use crate::suite::examples::inference_figure;
use crate::suite::on_device::{TEST_PROGRAM, prepared};
use crate::ui;

/// What figures must not exceed.
const GOALS: [(&str, f64); 5] = [
    ("gcm_instr_per_byte", 20.0),
    ("ta_bytes", 163_840.0),
    ("secure_mem_idle", 524_288.0),
    ("secure_mem_peak_extra", 524_288.0),
    ("pack_ratio", 1.3),
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
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// What runs on the emulated device
    Device,
    /// `tb pack`, on this host
    Pack,
}

#[derive(Debug, Deserialize, Serialize)]
struct Figure {
    name: String,
    value: f64,
    unit: String,
    #[serde(default)]
    goal: Option<f64>,
}

/// Runs `tb bench`; the exit status says whether every goal is met.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let mut figures = Vec::new();
    if args.part != Some(Part::Pack) {
        let builder = Builder::open(&args.platform)?;
        figures.extend(ui::step("figures", || on_device(&builder))?);
        figures.push(ta_size(&builder)?);
        figures.push(ui::step("inference", || inference(&builder))?);
    }
    if args.part != Some(Part::Device) {
        figures.extend(ui::step("figures of tb pack", pack::figures)?);
    }
    for figure in &mut figures {
        figure.goal = GOALS.iter().find(|(name, _)| *name == figure.name).map(|(_, goal)| *goal);
    }
    show(&figures);
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&figures)?;
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let missed = figures.iter().any(|figure| figure.goal.is_some_and(|goal| figure.value > goal));
    Ok(if missed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn on_device(builder: &Builder) -> Result<Vec<Figure>> {
    let mut device = prepared(builder, &BootOptions { icount: true, ..BootOptions::default() })?;
    let argv: Vec<&str> = TEST_PROGRAM.into_iter().chain(["--bench"]).collect();
    let output = device.exec(&argv)?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status == 0, "figures: exit status {}\n{}", output.status, stderr.trim());
    device.power_off()?;
    let text = String::from_utf8(output.stdout)?;
    text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("figure {line:?}"))).collect()
}

/// What the example of confidential inference spends on one image.
fn inference(builder: &Builder) -> Result<Figure> {
    let line = inference_figure(builder)?;
    serde_json::from_str(&line).with_context(|| format!("figure {line:?}"))
}

fn ta_size(builder: &Builder) -> Result<Figure> {
    let ta = builder.trustbox_ta(&builder.dev_kit(false)?)?;
    let value = fs::metadata(&ta.stripped)?.len() as f64;
    Ok(Figure { name: "ta_bytes".to_owned(), value, unit: "bytes".to_owned(), goal: None })
}

impl Figure {
    fn new(name: &str, value: f64, unit: &str) -> Self {
        Self { name: name.to_owned(), value, unit: unit.to_owned(), goal: None }
    }
}

fn show(figures: &[Figure]) {
    for Figure { name, value, unit, goal } in figures {
        let goal = goal.map_or_else(String::new, |goal| format!("  (goal: at most {goal})"));
        println!("{name:<24} {value:>12.2} {unit}{goal}");
    }
}

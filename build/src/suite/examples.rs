//! The example enclaves with their host programs, on the emulated device: numbered cases 9xxx, one family an example.

mod projects;
mod registry;
mod weights;

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use trustbox_api::Uuid;
use trustbox_api::key::KeyRef;
use trustbox_api::message::Version;
use trustbox_keys::dev;

use crate::builder::Builder;
use crate::cargo::TARGET;
use crate::device::{BootOptions, Device};
use crate::guest::GuestKind;
use crate::owned::{CLASS, Description, Owned};
use crate::suite::{Case, Outcome, tap};
use crate::ta::Enclave;
use crate::ui;

/// The package of the host programs.
pub(crate) const PROGRAMS: &str = "trustbox-example-programs";
/// Enclaves and their host programs.
const EXAMPLES: [(&str, &str); 5] = [
    ("trustbox-meter", "example-meter"),
    ("trustbox-activity", "example-activity"),
    ("trustbox-sensor", "example-sensor"),
    INFERENCE,
    ("c-echo", "example-c-echo"),
];

/// The one whose data arrive after it is installed.
const INFERENCE: (&str, &str) = ("trustbox-inference", "example-inference");

/// Every example on one device.
pub(crate) fn run(builder: &Builder) -> Result<Vec<Case>> {
    let mut examples = Examples::prepare(builder, &EXAMPLES, &BootOptions::default())?;
    let mut cases = Vec::new();
    for (_, program) in EXAMPLES {
        cases.extend(examples.cases(program)?);
    }
    examples.owned.device.power_off()?;
    cases.extend(projects::run(builder));
    Ok(cases)
}

/// What one inference costs, as a line of JSON, on a device whose time counts instructions.
pub(crate) fn inference_figure(builder: &Builder) -> Result<String> {
    let options = BootOptions { icount: true, ..BootOptions::default() };
    let mut examples = Examples::prepare(builder, &[INFERENCE], &options)?;
    let output = examples.owned.device.exec(&[place(INFERENCE.1).as_str(), "--figure"])?;
    examples.owned.device.power_off()?;
    Ok(String::from_utf8(output.stdout)?)
}

struct Examples {
    owned: Owned,
}

impl Examples {
    /// A device with these enclaves installed and their programs on it.
    fn prepare(builder: &Builder, wanted: &[(&str, &str)], options: &BootOptions) -> Result<Self> {
        let enclaves = builder.enclaves()?;
        let find = |name: &str| {
            let found = enclaves.iter().find(|enclave| enclave.name == name);
            found.with_context(|| format!("tests/enclaves has no {name}"))
        };
        let wanted_enclaves = wanted.iter().map(|(name, _)| find(name)).collect::<Result<Vec<&Enclave>>>()?;
        let programs = programs(builder)?;
        let keys = dev::ensure(&builder.repo.dev_keys())?;
        let device = Device::boot(&builder.images(GuestKind::Plain, false)?, options)?;
        let uuids =
            wanted_enclaves.iter().map(|enclave| uuid_of(&enclave.uuid)).collect::<Result<Vec<_>>>()?;
        let mut owned = Owned::take(device, keys, &uuids)?;
        for (enclave, (_, program)) in wanted_enclaves.into_iter().zip(wanted) {
            owned.install(&std::fs::read(&enclave.signed)?, &description(&enclave.name)?)?;
            owned.device.push(&programs.join(program), &place(program))?;
            if *program == INFERENCE.1 {
                weights::deliver(builder, &mut owned.device, &place(program), &enclave.uuid)?;
            }
        }
        Ok(Self { owned })
    }

    fn cases(&mut self, program: &str) -> Result<Vec<Case>> {
        let output = self.owned.device.exec(&[place(program)])?;
        let mut cases = tap::parse("examples", &String::from_utf8_lossy(&output.stdout));
        let any_failed = cases.iter().any(|case| matches!(case.outcome, Outcome::Failed(_)));
        if output.status != 0 && !any_failed {
            let stderr = String::from_utf8_lossy(&output.stderr);
            let what = format!("{program} ended with status {}\n{}", output.status, stderr.trim());
            cases.push(Case::new("examples", program, Outcome::Failed(what)));
        }
        Ok(cases)
    }
}

fn place(program: &str) -> String {
    format!("/tmp/{program}")
}

fn uuid_of(text: &str) -> Result<Uuid> {
    text.parse().map_err(|error| anyhow!("{text}: {error}"))
}

fn description(name: &str) -> Result<Description<'_>> {
    let class_key = KeyRef::new(CLASS, 1).context("the class key's name is too long")?;
    Ok(Description { name, vendor: "", class_key, min_optee: Version(4, 10, 0), min_ta: Version(0, 1, 0) })
}

/// Builds the host programs; returns their folder.
fn programs(builder: &Builder) -> Result<PathBuf> {
    let tool = builder.cargo_for_device()?.args(["build", "--release", "--target", TARGET, "-p", PROGRAMS]);
    let log = builder.log(PROGRAMS);
    let _ = std::fs::remove_file(&log);
    ui::step(PROGRAMS, || tool.help("the compiler's message above names the line").run(&log))?;
    Ok(builder.repo.root().join("target/device").join(TARGET).join("release"))
}

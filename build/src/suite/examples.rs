//! The example enclaves with their host programs, on the emulated device: numbered cases 9xxx, one family an example.

mod weights;

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, ensure};
use trustbox_api::Uuid;
use trustbox_api::key::KeyRef;
use trustbox_api::message::Version;
use trustbox_keys::dev;

use crate::builder::Builder;
use crate::cargo::TARGET;
use crate::device::{BootOptions, Device};
use crate::guest::GuestKind;
use crate::new::{self, New};
use crate::owned::{CLASS, Description, Owned};
use crate::project::{Language, Profile, Project};
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

/// UUID of the project that `tb new` makes here.
const NEW_PROJECT: &str = "0d9a4c7e-6b15-4f28-93e0-a8c2f1d65b37";

/// Every example on one device.
pub(crate) fn run(builder: &Builder) -> Result<Vec<Case>> {
    let mut examples = Examples::prepare(builder, &EXAMPLES, &BootOptions::default())?;
    let mut cases = Vec::new();
    for (_, program) in EXAMPLES {
        cases.extend(examples.cases(program)?);
    }
    cases.push(Case::of(
        "examples",
        "9601 a new project is built, tested, installed and run",
        new_project(builder, &mut examples.owned),
    ));
    examples.owned.device.power_off()?;
    Ok(cases)
}

/// What `tb new` makes, from its sources to its output. Its folder stays, so that only what changed is built again.
fn new_project(builder: &Builder, owned: &mut Owned) -> Result<()> {
    let root = builder.work("new-project")?.join("demo");
    let uuid = uuid_of(NEW_PROJECT)?;
    let new = New { name: "demo", language: Language::Rust, uuid, checkout: builder.repo.root() };
    for file in new.files()? {
        let path = root.join(&file.path);
        if std::fs::read(&path).ok().as_ref() != Some(&file.content)
            && !(file.path == "Cargo.lock" && path.exists())
        {
            new::write(&path, &file.content, file.executable)?;
        }
    }
    let project = Project::open(&root)?;
    let built = project.build(builder, Profile::Run)?;
    project.host_tests(builder)?;
    owned.install(&built.image, &project.description())?;
    owned.device.push(&built.program, &place("demo"))?;
    let output = owned.device.exec(&[place("demo").as_str(), "Ada"])?;
    let text = String::from_utf8_lossy(&output.stdout);
    let want = "hello Ada, from inside OP-TEE (greeting number 1)\n";
    ensure!(output.status == 0 && text == want, "status {}, output {text:?}, want {want:?}", output.status);
    Ok(())
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
        let texts = wanted_enclaves.iter().map(|enclave| enclave.uuid.as_str()).chain([NEW_PROJECT]);
        let uuids = texts.map(uuid_of).collect::<Result<Vec<_>>>()?;
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

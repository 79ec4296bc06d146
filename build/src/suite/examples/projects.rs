//! What `tb new` makes, by `tb run` from its sources to its output: on a device of its own, as its author sees it.

use std::path::PathBuf;

use anyhow::{Result, ensure};

use super::{registry, uuid_of};
use crate::builder::Builder;
use crate::new::{self, New};
use crate::project::{Language, Project};
use crate::run::{self, Args};
use crate::suite::Case;

/// The projects keep their UUIDs, so that only what changed is built again.
const RUST: &str = "0d9a4c7e-6b15-4f28-93e0-a8c2f1d65b37";
const C: &str = "7c1e5b90-3a46-4d0f-8b29-64f0d8a1c3e5";

/// One project in each language.
pub(super) fn run(builder: &Builder) -> Vec<Case> {
    vec![
        Case::of("examples", "9601 a new project is built, tested, installed and run", rust(builder)),
        Case::of("examples", "9602 a new project in C is built, installed and tested", c(builder)),
        Case::of("examples", "9603 a new project's package is pushed to a registry", push(builder)),
    ]
}

fn rust(builder: &Builder) -> Result<()> {
    let project = project(builder, "hello", Language::Rust, RUST)?;
    project.host_tests(builder)?;
    expect(
        run::once(builder, &project, &Args::on_new_device(false, &["Ada"]))?,
        "hello Ada, from inside OP-TEE (greeting number 1)\n",
    )
}

fn c(builder: &Builder) -> Result<()> {
    let project = project(builder, "hello-c", Language::C, C)?;
    expect(
        run::once(builder, &project, &Args::on_new_device(true, &[]))?,
        "ok - text is turned around\nok - 257 bytes are refused\n",
    )
}

fn push(builder: &Builder) -> Result<()> {
    let project = project(builder, "hello", Language::Rust, RUST)?;
    registry::takes(builder, project.root(), "hello")
}

fn expect((status, text): (i32, String), want: &str) -> Result<()> {
    ensure!(status == 0 && text == want, "status {status}, output {text:?}, want {want:?}");
    Ok(())
}

/// The project's folder stays from run to run; what differs from the templates is written again.
fn project(builder: &Builder, name: &str, language: Language, uuid: &str) -> Result<Project> {
    let root: PathBuf = builder.work("new-project")?.join(name);
    let new = New { name, language, uuid: uuid_of(uuid)?, checkout: builder.repo.root() };
    for file in new.files()? {
        let path = root.join(&file.path);
        let kept = file.path == "Cargo.lock" && path.exists();
        if !kept && std::fs::read(&path).ok().as_ref() != Some(&file.content) {
            new::write(&path, &file.content, file.executable)?;
        }
    }
    Project::open(&root)
}

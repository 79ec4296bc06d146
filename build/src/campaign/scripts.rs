//! `tb campaign scripts`: what packages' scripts would have done, held against the image, in which none of them runs.
//!
//! The pinned packages of the image are installed by dpkg, emulated, in a root of its own ([`root`]); before and after each package
//! that has scripts the root is looked at ([`snapshot`]), and what is different is judged ([`judge`]). Packages of the plain image
//! come first, so that their scripts meet nothing of what `--containers` adds.

mod judge;
mod root;
mod snapshot;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::builder::Builder;
use crate::campaign::{folder, status, write_summary};
use crate::image::description::Description;
use crate::image::parts::Edition;
use crate::image::tree::Tree;
use crate::ui;
use judge::{Explained, Explanations, Judge};
use root::Root;
use snapshot::Snapshot;

/// The images that are judged: what differs in one for development is one package without scripts.
const PLAIN: Edition = Edition { dev: false, containers: false };
const CONTAINERS: Edition = Edition { dev: false, containers: true };
/// The package of `tb test`: its script enables a unit, as ours does.
pub(crate) const QUICK: &str = "tee-supplicant";
/// Whose scripts make the accounts and folders that every root has.
const BASE: [&str; 2] = ["base-passwd", "base-files"];
/// What runs after packages are there, as explanations name it.
const TRIGGERS: &str = "triggers";

/// Runs the scripts of the image's packages where they do no harm, and compares.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Scripts of this package alone, in a root where most of what it needs is unpacked and not configured: quick, and less than the whole
    #[arg(long, value_name = "PACKAGE")]
    only: Option<String>,
    /// Also write the summary to a file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What came of it.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Summary {
    packages: usize,
    /// Scripts that ran.
    scripts: usize,
    /// What they changed, and what the images have there.
    explained: Vec<Explained>,
    pub(crate) failures: Vec<String>,
}

/// Runs `tb campaign scripts`.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let builder = Builder::open(crate::board::DEFAULT)?;
    let summary = campaign(&builder, args.only.as_deref())?;
    write_summary(args.json.as_deref(), &summary)?;
    println!("{}", summary.text());
    Ok(status(summary.failures.is_empty()))
}

/// All packages, or one.
pub(crate) fn campaign(builder: &Builder, only: Option<&str>) -> Result<Summary> {
    let explanations = Explanations::load(&builder.image_folder())?;
    let packages = Packages::of(builder, &explanations)?;
    let state = builder.board.verified()?.state.context("the emulated board has no verified.state")?;
    let (plain, containers) = (builder.root_tree(PLAIN, state)?, builder.root_tree(CONTAINERS, state)?);
    let images = [("the plain image", &plain), ("the image with containers", &containers)];
    let place = folder(builder, "scripts")?;
    let before = packages.before(only)?;
    let root =
        ui::step("a root with what scripts need", || Root::new(builder, &place.join("root"), &before))?;
    let judge = Judge::new(&explanations);
    let mut trial =
        Trial { builder, root, judge, ran: BTreeSet::new(), seen: Snapshot::default(), packages: 0 };
    match only {
        Some(name) => {
            trial.others(&BASE.map(str::to_owned))?;
            trial.installed(name, packages.images_of(name, &images))?;
        }
        None => {
            trial.stage(&packages, &packages.plain, &images)?;
            trial.stage(&packages, &packages.containers, &images[1..])?;
        }
    }
    let summary = trial.finish(only.is_none())?;
    // What shows a failure stays.
    if summary.failures.is_empty() {
        fs::remove_dir_all(place)?;
    }
    Ok(summary)
}

/// Packages that are pinned only because scripts need them to run.
pub(crate) fn tools_of_no_image(builder: &Builder) -> Result<Vec<String>> {
    let folder = builder.image_folder();
    let (description, tools) = (Description::load(&folder)?, Explanations::load(&folder)?.tools);
    let of_images = description.names(CONTAINERS);
    Ok(tools.into_iter().map(|tool| tool.name).filter(|name| !of_images.contains(&name.as_str())).collect())
}

/// Which packages there are, in the order in which they are installed, and what each needs of the others.
struct Packages {
    tools: Vec<String>,
    images: Vec<String>,
    plain: Vec<String>,
    containers: Vec<String>,
    needs: BTreeMap<String, Vec<String>>,
}

impl Packages {
    fn of(builder: &Builder, explanations: &Explanations) -> Result<Self> {
        let description = Description::load(&builder.image_folder())?;
        let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect::<Vec<_>>();
        let tools: Vec<_> = explanations.tools.iter().map(|tool| tool.name.clone()).collect();
        let mut plain = owned(description.names(PLAIN));
        plain.push(builder.board.linux.package.clone());
        let mut containers = owned(description.names(CONTAINERS));
        containers.retain(|name| !plain.contains(name));
        let mut needs = BTreeMap::new();
        for name in tools.iter().chain(&plain).chain(&containers) {
            let control = fs::read_to_string(builder.control(name)?.join("control"))?;
            needs.insert(name.clone(), needed(&control));
        }
        let images = plain.iter().chain(&containers).cloned().collect();
        let first: Vec<_> = tools.iter().chain(&plain).cloned().collect();
        let plain = ordered(&first, &needs, &first);
        let containers = ordered(&containers, &needs, &containers);
        Ok(Self { tools, images, plain, containers, needs })
    }

    /// What is unpacked before anything is installed: dpkg and the other tools, and what a package that comes alone needs.
    fn before(&self, only: Option<&str>) -> Result<Vec<String>> {
        let mut wanted = self.tools.clone();
        if let Some(name) = only {
            ensure!(
                self.needs.contains_key(name),
                "{name} is no package of an image\nhelp: platform/image/root.toml names them"
            );
            wanted.push(name.to_owned());
        }
        let known: Vec<_> = self.needs.keys().cloned().collect();
        let mut before = ordered(&wanted, &self.needs, &known);
        before.retain(|name| Some(name.as_str()) != only);
        Ok(before)
    }

    /// The images that a package is in.
    fn images_of<'a, 'b>(&self, name: &str, images: &'b [(&'a str, &'a Tree)]) -> &'b [(&'a str, &'a Tree)] {
        let first = usize::from(self.containers.iter().any(|other| other == name));
        images.get(first..).unwrap_or_default()
    }

    fn of_images(&self, name: &str) -> bool {
        self.images.iter().any(|package| package == name)
    }
}

/// Names in `Pre-Depends` and `Depends` of a control file; of alternatives all.
fn needed(control: &str) -> Vec<String> {
    let fields = control
        .lines()
        .filter_map(|line| line.strip_prefix("Depends: ").or_else(|| line.strip_prefix("Pre-Depends: ")));
    let names = fields.flat_map(|field| field.split([',', '|']));
    names.filter_map(|name| Some(name.trim().split([' ', ':']).next()?.to_owned())).collect()
}

/// These packages and what they need of `known`, each after what it needs; where needs go in a circle, as they come.
fn ordered(wanted: &[String], needs: &BTreeMap<String, Vec<String>>, known: &[String]) -> Vec<String> {
    fn visit(
        name: &String,
        needs: &BTreeMap<String, Vec<String>>,
        known: &[String],
        seen: &mut BTreeSet<String>,
        order: &mut Vec<String>,
    ) {
        if !known.contains(name) || !seen.insert(name.clone()) {
            return;
        }
        needs.get(name).into_iter().flatten().for_each(|other| visit(other, needs, known, seen, order));
        order.push(name.clone());
    }
    let (mut seen, mut order) = (BTreeSet::new(), Vec::new());
    wanted.iter().for_each(|name| visit(name, needs, known, &mut seen, &mut order));
    order
}

/// The root, and what was found in it so far.
struct Trial<'a> {
    builder: &'a Builder,
    root: Root<'a>,
    judge: Judge<'a>,
    ran: BTreeSet<String>,
    seen: Snapshot,
    packages: usize,
}

type Images<'a> = [(&'a str, &'a Tree)];

impl Trial<'_> {
    /// Installs packages; those of images that have scripts one by one, and the others together.
    fn stage(&mut self, packages: &Packages, names: &[String], images: &Images) -> Result<()> {
        let mut together = Vec::new();
        for name in names {
            if !packages.of_images(name) || self.builder.scripts(name)?.is_empty() {
                together.push(name.clone());
                continue;
            }
            self.others(&std::mem::take(&mut together))?;
            self.installed(name, images)?;
        }
        self.others(&together)?;
        self.seen = self.root.look(&self.seen)?;
        let done = ui::step(TRIGGERS, || Ok(self.root.triggers()))?;
        self.compare(TRIGGERS, None, done, images)?;
        self.ran.insert(TRIGGERS.to_owned());
        Ok(())
    }

    fn others(&mut self, names: &[String]) -> Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        self.packages += names.len();
        let what = format!("{} packages whose scripts nobody judges", names.len());
        ui::step(&what, || self.root.unpack(names).and_then(|()| self.root.configure(names)))
    }

    /// Installs a package and judges what each of its scripts did; where it has none, nothing may be different.
    fn installed(&mut self, name: &str, images: &Images) -> Result<()> {
        self.packages += 1;
        let scripts = self.builder.scripts(name)?;
        let one = [name.to_owned()];
        self.seen = self.root.look(&self.seen)?;
        let unpacked = ui::step(&format!("unpack {name}"), || Ok(self.root.unpack(&one)))?;
        self.compare("preinst", Some(name), unpacked, images)?;
        let configured = ui::step(&format!("configure {name}"), || Ok(self.root.configure(&one)))?;
        self.compare("postinst", Some(name), configured, images)?;
        self.ran.extend(scripts.iter().map(|script| format!("{name} {script}")));
        Ok(())
    }

    fn compare(
        &mut self,
        script: &str,
        package: Option<&str>,
        done: Result<()>,
        images: &Images,
    ) -> Result<()> {
        let name = package.map_or_else(|| script.to_owned(), |package| format!("{package} {script}"));
        let after = self.root.look(&self.seen)?;
        let changes = self.root.of_scripts(self.seen.changes(&after), package)?;
        self.judge.judge(&name, &changes, images);
        if let Err(error) = done {
            self.judge.failures.push(format!("{name}: {error:#}"));
        }
        self.seen = after;
        Ok(())
    }

    fn finish(mut self, all: bool) -> Result<Summary> {
        self.judge.finish(&self.ran, all);
        let listed = self.builder.listed_scripts()?;
        let missing = listed.iter().filter(|script| all && !self.ran.contains(*script));
        self.judge.failures.extend(missing.map(|script| {
            format!("{script} is listed in platform/image/scripts.allow and did not run: no package of an image has it")
        }));
        let (packages, scripts) = (self.packages, self.ran.iter().filter(|name| *name != TRIGGERS).count());
        let Judge { explained, failures, .. } = self.judge;
        Ok(Summary { packages, scripts, explained, failures })
    }
}

impl Summary {
    fn text(&self) -> String {
        let Self { packages, scripts, explained, failures } = self;
        let failed: String = failures.iter().map(|failure| format!("{failure}\n")).collect();
        let count = |word| explained.iter().filter(|change| change.image == word).count();
        format!(
            "{failed}scripts: {scripts} scripts ran, {packages} packages; of what they changed the image has the same in {} places, \
             something else in {}, nothing in {}; {} wrong",
            count("same"),
            count("other"),
            count("nothing"),
            failures.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn what_is_needed_is_named_without_versions() {
        let control = "Package: p\nPre-Depends: a (>= 1), b\nDepends: c:any | d (= 2)\nRecommends: e\n";
        assert_eq!(needed(control), ["a", "b", "c", "d"]);
    }

    #[test]
    fn what_is_needed_comes_first_and_a_circle_ends() {
        let needs = BTreeMap::from([
            ("a".to_owned(), names("b x")),
            ("b".to_owned(), names("c")),
            ("c".to_owned(), names("b")),
        ]);
        assert_eq!(ordered(&names("a"), &needs, &names("a b c")), ["c", "b", "a"]);
        assert_eq!(ordered(&names("a"), &needs, &names("a")), ["a"]);
    }
}

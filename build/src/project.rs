//! A project that `tb new` made: what its package.toml says, and how its two halves are built.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use serde::Deserialize;
use trustbox_api::key::KeyRef;
use trustbox_api::message::Version;
use trustbox_api::{Bytes, Uuid};
use trustbox_keys::class_keys::parse_key_ref;

use crate::builder::Builder;
use crate::cargo::TARGET;
use crate::owned::Description;
use crate::sign_ta::{self, Algorithm};
use crate::tool::Tool;
use crate::{elf, pack, ta, ui};

const FILE: &str = "package.toml";

/// What the package says of the enclave; names as in the options of `tb pack`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Package {
    name: String,
    #[serde(default)]
    vendor: String,
    version: u32,
    class_key: String,
    #[serde(default = "oldest_optee")]
    min_optee: String,
    #[serde(default = "oldest_ta")]
    min_ta: String,
}

fn oldest_optee() -> String {
    "4.10.0".to_owned()
}

fn oldest_ta() -> String {
    "0.1.0".to_owned()
}

/// The language of an enclave.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum Language {
    /// Rust, with an interface and a typed client
    Rust,
    /// C, with OP-TEE's development kit
    C,
}

/// A project.
pub(crate) struct Project {
    root: PathBuf,
    package: Package,
    class_key: KeyRef,
    versions: [Version; 2],
}

/// How much time building may take.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Profile {
    /// Little: for the edit loop.
    Run,
    /// What it takes to be small.
    Publish,
}

/// The built enclave.
pub(crate) struct Built {
    /// With symbols.
    pub(crate) elf: PathBuf,
    /// Without.
    pub(crate) stripped: PathBuf,
    pub(crate) uuid: Uuid,
    /// Signed with the development key.
    pub(crate) image: Vec<u8>,
    /// The host program, and the tests that run on the device where the project has such.
    pub(crate) program: PathBuf,
    pub(crate) tests: Option<PathBuf>,
}

impl Project {
    /// The project that the working folder is in.
    pub(crate) fn find() -> Result<Self> {
        let here = std::env::current_dir()?;
        let root = here.ancestors().find(|folder| folder.join(FILE).is_file());
        let root = root.with_context(|| {
            format!("no {FILE} in {} or above it\nhelp: `tb new NAME` makes a project", here.display())
        })?;
        Self::open(root)
    }

    /// The project in a folder.
    pub(crate) fn open(root: &Path) -> Result<Self> {
        let path = root.join(FILE);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let package: Package =
            toml::from_str(&text).map_err(|error| anyhow!("{}: {error}", path.display()))?;
        ensure!(package.version > 0, "{}: version is 0, the lowest is 1", path.display());
        let class_key =
            parse_key_ref(&package.class_key).map_err(|error| anyhow!("{}: {error}", path.display()))?;
        let versions = [pack::parse_version(&package.min_optee)?, pack::parse_version(&package.min_ta)?];
        Ok(Self { root: root.to_path_buf(), package, class_key, versions })
    }

    /// Where it is.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// What `tb run` keeps of it.
    pub(crate) fn kept(&self) -> PathBuf {
        self.root.join("target/trustbox")
    }

    /// What its packages say.
    pub(crate) fn description(&self) -> Description<'_> {
        let [min_optee, min_ta] = self.versions;
        let Package { name, vendor, .. } = &self.package;
        Description { name, vendor, class_key: self.class_key, min_optee, min_ta }
    }

    /// An enclave with a makefile is one in C.
    pub(crate) fn language(&self) -> Language {
        if self.root.join("enclave/Makefile").is_file() { Language::C } else { Language::Rust }
    }

    /// Builds enclave and host program; signs the enclave with the development key.
    pub(crate) fn build(&self, builder: &Builder, profile: Profile) -> Result<Built> {
        fs::create_dir_all(self.kept()).with_context(|| format!("cannot make {}", self.kept().display()))?;
        let kit = builder.dev_kit(false)?;
        let made = match self.language() {
            Language::Rust => self.rust_enclave(builder, &kit, profile)?,
            Language::C => {
                builder.c_enclave(&kit, &self.root.join("enclave"), &self.root.join("target/ta"))?.elf
            }
        };
        let elf = self.kept().join("enclave.elf");
        fs::copy(&made, &elf).with_context(|| format!("cannot read {}", made.display()))?;
        let stripped = builder.strip(&elf, &self.kept().join("enclave.stripped.elf"))?;
        let bytes = fs::read(&stripped)?;
        needs_nothing(&bytes)?;
        let uuid = ta::uuid_of(&bytes).context("the enclave has no header: is its entry point there?")?;
        let key = builder.ta_signing_key()?;
        let image = sign_ta::sign(&key, Algorithm::Pss, &uuid, self.package.version, &bytes)?;
        let (program, tests) = self.programs(builder)?;
        Ok(Built { elf, stripped, uuid: Uuid(Bytes(uuid)), image, program, tests })
    }

    fn rust_enclave(&self, builder: &Builder, kit: &Path, profile: Profile) -> Result<PathBuf> {
        let name = format!("{}-enclave", self.package.name);
        let profile = if profile == Profile::Run { "ta" } else { "ta-publish" };
        let target = self.root.join("target/ta");
        let tool = builder.cargo_for_ta(kit)?.dir(&self.root).env("CARGO_TARGET_DIR", &target);
        let tool = tool.args(["build", "--profile", profile, "--target", TARGET, "-p", &name]);
        self.step("enclave", tool.args(["--no-default-features", "--features", "optee"]))?;
        Ok(target.join(TARGET).join(profile).join(name))
    }

    fn programs(&self, builder: &Builder) -> Result<(PathBuf, Option<PathBuf>)> {
        if self.language() == Language::C {
            let tests = self.root.join("host/test");
            return Ok((self.root.join("host/run"), tests.is_file().then_some(tests)));
        }
        let target = self.root.join("target/device");
        let tool = builder.cargo_for_device()?.dir(&self.root).env("CARGO_TARGET_DIR", &target);
        let tool = tool.args(["build", "--release", "--target", TARGET, "-p", &self.package.name]);
        self.step("host program", tool)?;
        Ok((target.join(TARGET).join("release").join(&self.package.name), None))
    }

    /// Runs the project's tests that need no device; returns what they say.
    pub(crate) fn host_tests(&self, builder: &Builder) -> Result<String> {
        fs::create_dir_all(self.kept()).with_context(|| format!("cannot make {}", self.kept().display()))?;
        self.step("tests", builder.cargo().dir(&self.root).arg("test"))?;
        Ok(fs::read_to_string(self.kept().join("tests.log"))?)
    }

    fn step(&self, name: &str, tool: Tool) -> Result<()> {
        let log = self.kept().join(format!("{}.log", name.replace(' ', "-")));
        let _ = fs::remove_file(&log);
        ui::step(name, || tool.help("the compiler's message above names the line").run(&log))
    }
}

/// OP-TEE loads an enclave alone: a shared library of Linux would be looked for in vain, when it is launched.
fn needs_nothing(elf_file: &[u8]) -> Result<()> {
    let names = elf::section(elf_file, ".dynstr").unwrap_or_default();
    let library = names.split(|byte| *byte == 0).find(|name| name.windows(4).any(|part| part == b".so."));
    ensure!(
        library.is_none(),
        "the enclave asks for the shared library {}, and OP-TEE has none\nhelp: keep `lto = \"fat\"` in Cargo.toml's profile.ta, and crates that need std out",
        String::from_utf8_lossy(library.unwrap_or_default())
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(text: &str) -> Result<Project> {
        let root = std::env::temp_dir().join(format!("tb-project-{}-{}", std::process::id(), text.len()));
        fs::create_dir_all(&root).unwrap();
        fs::write(root.join(FILE), text).unwrap();
        let project = Project::open(&root);
        fs::remove_dir_all(root).unwrap();
        project
    }

    #[test]
    fn an_enclave_that_wants_a_library_is_refused_before_it_is_installed() {
        let bad = elf::tests::sample(".dynstr", b"\0libc.so.6\0TA_Entry\0");
        assert!(needs_nothing(&bad).unwrap_err().to_string().contains("libc.so.6"));
        assert!(needs_nothing(&elf::tests::sample(".dynstr", b"\0TA_Entry\0")).is_ok());
        assert!(needs_nothing(&elf::tests::sample(".text", b"x")).is_ok());
    }

    #[test]
    fn a_description_is_whole_or_refused_with_its_place() {
        let good = "name = \"demo\"\nversion = 3\nclass-key = \"demo-class@2\"\n";
        let project = opened(good).unwrap();
        let description = project.description();
        assert_eq!((description.name, description.class_key.version), ("demo", 2));
        assert_eq!(description.min_optee, Version(4, 10, 0));
        for (bad, word) in [
            (good.replace("version = 3", "version = 0"), "the lowest is 1"),
            (good.replace("version", "verson"), "verson"),
            (good.replace("@2", "@x"), "package.toml"),
            (format!("{good}min-ta = \"1\"\n"), "three numbers"),
        ] {
            let error = opened(&bad).err().unwrap().to_string();
            assert!(error.contains(word), "{bad}: {error}");
        }
    }
}

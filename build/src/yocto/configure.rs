//! A build folder for bitbake: which layers, which machine, who runs it. Nothing is fetched in it.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::builder::Repo;
use crate::tool::Tool;
use crate::yocto::layers::Layers;
use crate::yocto::outcome::Step;

/// Without a network. The C library that oe-core's uninative fetches for the host is not there either; it would say so each
/// time, and change the configuration between parsing and planning, so that everything was parsed twice.
const OFFLINE: &str =
    "BB_NO_NETWORK = \"1\"\nCONNECTIVITY_CHECK_URIS = \"\"\nINHERIT_DISTRO:remove = \"uninative\"\n";

/// Of the two thousand recipes of meta-openembedded only those are parsed that ours need, by folder: for three machines, and
/// up to five times each by yocto-check-layer, the others would take hours and say nothing of ours.
const NEEDED: [&str; 7] = [
    "crypto/cryptsetup",
    "extended/jansson",
    "filter/libnftnl",
    "filter/nftables",
    "support/libssh",
    "support/lvm2",
    "test/cmocka",
];

/// What other layers have that needs more of meta-openembedded than that: `world`, of which yocto-check-layer compares all, is
/// without it.
const APART: [&str; 8] = [
    "packagegroup-fsl-network",
    "packagegroup-ts-tests",
    "spc",
    "ts-service-test",
    "ts-sp-crypto",
    "ts-sp-se-proxy",
    "ts-uefi-test",
    "tsntool",
];

/// What meta-freescale adds to recipes of meta-openembedded that are not there then.
const APPENDS: &str = "/meta-freescale/dynamic-layers/openembedded-layer/";

/// That nothing of this layer is left then is no fault.
const EMPTY: &str = "BBFILE_PATTERN_IGNORE_EMPTY_meta-python = \"1\"\n";

/// What openembedded-core hands to wic names every layer: an image of a machine with wic would have another signature with any layer
/// more, whatever is in it, and yocto-check-layer compares signatures.
const LAYERS_UNNAMED: &str = "WICVARS:remove = \"BBLAYERS\"\n";

/// What kas puts behind a machine's file to build our programs where they are.
const EXTERNALSRC: &str = "yocto/kas/externalsrc.yml";

/// A machine of the layers.
#[derive(Clone, Copy)]
pub(crate) struct Machine {
    pub(crate) name: &'static str,
    /// Whether it is in meta-trustbox-bsp.
    pub(crate) bsp: bool,
    /// Whether yocto-check-layer starts from it: it is there without our layers, and stands for the others of its layer.
    pub(crate) first: bool,
}

impl Machine {
    /// Our layers that it needs; the last is the one it is described in.
    fn ours(self) -> &'static [&'static str] {
        if self.bsp { &["meta-trustbox", "meta-trustbox-bsp"] } else { &["meta-trustbox"] }
    }

    /// What is checked of it.
    pub(crate) fn steps(self) -> impl Iterator<Item = Step> {
        Step::ALL.into_iter().filter(move |step| self.first || *step != Step::Layer)
    }
}

/// The lines that kas would write for our programs to be built where they are.
pub(crate) fn externalsrc(repo: &Repo) -> Result<String> {
    let path = repo.root().join(EXTERNALSRC);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let (_, lines) = text.split_once(": |\n").with_context(|| format!("{} has no lines", path.display()))?;
    Ok(lines.lines().map(|line| format!("{}\n", line.trim_start())).collect())
}

/// A configured folder.
pub(crate) struct BuildFolder {
    path: PathBuf,
    layers: PathBuf,
    others: Vec<PathBuf>,
    ours: Vec<PathBuf>,
    machine: Machine,
    /// Who runs bitbake, if that is somebody else.
    user: Option<String>,
    /// More lines of the configuration.
    more: String,
}

impl BuildFolder {
    /// Writes the configuration of a machine below `target/yocto/check`.
    pub(crate) fn make(
        repo: &Repo,
        pinned: &Layers,
        layers: &Path,
        machine: &Machine,
        user: &str,
        more: &str,
    ) -> Result<Self> {
        let path = repo.root().join("target/yocto/check").join(machine.name);
        let root = Tool::new("id").arg("-u").output()?.trim() == "0";
        let folder = Self {
            path,
            layers: layers.to_path_buf(),
            others: pinned.needed(machine.bsp).flat_map(|one| one.folders(layers)).collect(),
            ours: machine.ours().iter().map(|name| repo.root().join("yocto").join(name)).collect(),
            machine: *machine,
            user: root.then(|| user.to_owned()),
            more: more.to_owned(),
        };
        folder.configure(&folder.path, "trustbox", folder.others.iter().chain(&folder.ours))?;
        Ok(folder)
    }

    fn configure<'a>(
        &self,
        path: &Path,
        distro: &str,
        layers: impl Iterator<Item = &'a PathBuf>,
    ) -> Result<()> {
        fs::create_dir_all(path.join("conf")).with_context(|| format!("cannot make {}", path.display()))?;
        self.share_cache(path)?;
        let mut list = String::from("BBPATH = \"${TOPDIR}\"\nBBFILES ?= \"\"\nBBLAYERS = \"\\\n");
        for layer in layers {
            writeln!(list, "    {} \\", layer.display())?;
        }
        list.push_str("\"\n");
        let mask = format!("/meta-openembedded/.*/recipes-(?!({})/) {APPENDS}", NEEDED.join("|"));
        let apart = APART.map(|name| format!("EXCLUDE_FROM_WORLD:pn-{name} = \"1\"\n")).concat();
        let local = format!(
            "MACHINE = \"{}\"\nDISTRO = \"{distro}\"\nBBMASK = \"{mask}\"\n{EMPTY}{OFFLINE}{LAYERS_UNNAMED}{apart}{}",
            self.machine.name, self.more
        );
        fs::write(path.join("conf/bblayers.conf"), list)?;
        fs::write(path.join("conf/local.conf"), local)?;
        self.give(path)
    }

    /// What bitbake keeps of functions it has parsed is true of every machine, so one folder has it: later parses are shorter.
    fn share_cache(&self, path: &Path) -> Result<()> {
        let (shared, link) = (self.path.with_file_name("cache"), path.join("cache"));
        fs::create_dir_all(&shared).with_context(|| format!("cannot make {}", shared.display()))?;
        if !link.is_symlink() {
            let _ = fs::remove_dir_all(&link);
            symlink(&shared, &link).with_context(|| format!("cannot make {}", link.display()))?;
        }
        self.give(&shared)
    }

    /// The folder belongs to whoever runs bitbake.
    fn give(&self, path: &Path) -> Result<()> {
        let Some(user) = &self.user else { return Ok(()) };
        let help = "--user names somebody who may not be root and who may read the layers";
        Tool::new("chown").args(["-R", user]).arg(path).help(help).output().map(drop)
    }

    /// A program of bitbake or of openembedded-core, with an environment of its own.
    pub(crate) fn tool(&self, program: &str) -> Tool {
        self.tool_in(&self.path, program)
    }

    fn tool_in(&self, path: &Path, program: &str) -> Tool {
        let tool = match &self.user {
            Some(user) => Tool::new("runuser").args(["-u", user, "--", "env", "-i"]),
            None => Tool::new("env").arg("-i"),
        };
        let (scripts, bitbake) =
            (self.layers.join("openembedded-core/scripts"), self.layers.join("bitbake/bin"));
        let search = format!("{}:{}:/usr/sbin:/usr/bin:/sbin:/bin", scripts.display(), bitbake.display());
        let tool = ["HOME", "BBPATH", "BUILDDIR"].iter().fold(tool, |tool, name| tool.assign(name, path));
        let tool = tool.assign("PATH", search).assign("LANG", "en_US.UTF-8").assign("LC_ALL", "en_US.UTF-8");
        tool.arg(program).dir(path).help("the log has what bitbake says")
    }

    /// yocto-check-layer on the layer that the machine is described in, from a folder without it, for all its machines.
    pub(crate) fn check_layer<'a>(&self, machines: impl Iterator<Item = &'a Machine>) -> Tool {
        let path = self.path.join("layer");
        let before = self.others.iter().filter(|layer| self.first(layer));
        // What cannot be written here shows when it is run
        let _ = self.configure(&path, "nodistro", before);
        let Some((tested, needed)) = self.ours.split_last() else { return self.tool("false") };
        let tool = self.tool_in(&path, "yocto-check-layer").args(["--no-auto", "--no-auto-dependency"]);
        let tool = tool.arg("--machines").args(machines.map(|machine| machine.name));
        tool.arg("--dependency").args(&self.others).args(needed).arg("--").arg(tested)
    }

    /// Layers that must be there before: openembedded-core, and whatever the machine is in if it is not ours.
    fn first(&self, layer: &Path) -> bool {
        let core = layer.ends_with("openembedded-core/meta");
        core || layer.starts_with(self.layers.join("meta-arm")) || layer.ends_with("meta-freescale")
    }

    /// Which machine it is for.
    pub(crate) fn machine(&self) -> &Machine {
        &self.machine
    }

    /// What bitbake keeps of recipes is gone: it parses every one of them again then, and says how many there are.
    pub(crate) fn without_recipes(&self) -> &Self {
        let _ = fs::remove_dir_all(self.path.join("tmp/cache"));
        self
    }

    /// The log of a step.
    pub(crate) fn log(&self, step: Step) -> PathBuf {
        self.path.with_extension(format!("{}.log", step.name()))
    }
}

//! The OS image on the emulated device: what `tb image` makes boots from power-on to an enclave's answer, is closed as it should be, and
//! nobody takes it once an octet of it is another one.

mod containers;
mod development;
mod flash;
mod outside;
mod power_on;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::boot::chain::FIP_OFFSET;
use crate::builder::Builder;
use crate::guest::TEST_TAS;
use crate::image::evidence;
use crate::image::parts::Edition;
use crate::image::verify::{Medium, verify_with};
use crate::image::{ImageRequest, Made};
use crate::suite::firmware::rebuilt;
use crate::suite::{Case, Outcome};
use crate::tool::{Tool, find_program};
use crate::ui;
use crate::verify::{self, Expected};

const GROUP: &str = "image";
/// The octets that a compressed root may have, without a container runtime and with it.
const MOST: [u64; 2] = [60 << 20, 120 << 20];
/// What production lacks of an image with containers: 33 files of packages, 7 of ours, a kernel module.
const CONTAINER_FILES: usize = 41;
/// What production lacks of a -dev image, but for xtest's trusted applications.
const DEV_FILES: [&str; 18] = [
    "etc/systemd/system/multi-user.target.wants/trustbox-shell.service",
    "etc/systemd/system/multi-user.target.wants/trustbox-ssh.service",
    "usr/bin/busybox",
    "usr/bin/dropbearkey",
    "usr/bin/sh",
    "usr/bin/xtest",
    "usr/lib/aarch64-linux-gnu/libckteec.so.0",
    "usr/lib/aarch64-linux-gnu/libckteec.so.0.1",
    "usr/lib/aarch64-linux-gnu/libckteec.so.0.1.0",
    "usr/lib/aarch64-linux-gnu/libtomcrypt.so.1",
    "usr/lib/aarch64-linux-gnu/libtomcrypt.so.1.0.1",
    "usr/lib/aarch64-linux-gnu/libtommath.so.1",
    "usr/lib/aarch64-linux-gnu/libtommath.so.1.3.0",
    "usr/lib/systemd/system/tmp.mount.d/programs.conf",
    "usr/lib/systemd/system/trustbox-firewall.service.d/ssh.conf",
    "usr/lib/systemd/system/trustbox-shell.service",
    "usr/lib/systemd/system/trustbox-ssh.service",
    "usr/sbin/dropbear",
];
/// Steps of the firmware, which are not made again elsewhere.
const FIRMWARE: [&str; 11] = [
    "optee-os-source",
    "arm-trusted-firmware-source",
    "mbedtls-source",
    "u-boot-source",
    "ta-dev-kit",
    "optee-os",
    "verifying-tfa",
    "verifying-u-boot",
    "verifying-firmware",
    "cert-create",
    "machine-tree",
];
/// More than 5.0 of 10 is not closed.
const EXPOSURE: &str = "--threshold=50";

/// Runs the group.
pub(crate) fn run(builder: &Builder) -> Result<Vec<Case>> {
    let bench = Bench::new(builder)?;
    let mut cases = Vec::new();
    let mut add = |name: &str, result: Result<Outcome>| {
        let outcome = result.unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")));
        let case = Case::new(GROUP, name, outcome);
        ui::line(&crate::suite::tap::line(cases.len() + 1, &case));
        cases.push(case);
    };
    let mut case = |name: &str, result: Result<()>| add(name, result.map(|()| Outcome::Passed));
    case("an image verifies, and its root is small", bench.good());
    case("two builds of an image are the same, whatever the host is like", bench.reproducible());
    case("production lacks what the list for development brings", bench.production());
    case("what is written beside an image is of this image, and each service is closed", bench.evidence());
    case("a changed octet is found, wherever it is", bench.changed());
    case("another key did not sign it", bench.other_key());
    case("veritysetup refuses a root with a changed octet", bench.veritysetup());
    case("a medium that is too small is refused", bench.small());
    case("on a larger medium the data take what is left, and it verifies", bench.larger());
    case(
        "power-on to the enclave's answer: after power cuts in the first boot, after a restart, and closed",
        bench.boots(),
    );
    case("U-Boot takes the other slot where an octet of the FIT is changed", bench.changed_fit());
    case(
        "the kernel restarts where an octet of the root is changed, and the third time ends in the other slot",
        bench.changed_root(),
    );
    case(
        "an image with containers starts them closed, has the addresses of its own file, and the firewall stops who knocks",
        bench.containers(),
    );
    case(
        "a -dev image lets in who has its key and nobody else; xtest and the device suite run there, and an updater chooses the slot",
        bench.development(),
    );
    add("a disk without room ends writing, with the place", bench.full());
    add("a disk of the kernel's is written, read back, verified, and refused while it is used", bench.disk());
    Ok(cases)
}

struct Bench<'a> {
    builder: &'a Builder,
    made: Made,
    image: PathBuf,
    folder: PathBuf,
    tools: PathBuf,
}

impl<'a> Bench<'a> {
    fn new(builder: &'a Builder) -> Result<Self> {
        let folder = builder.work("suite-image")?;
        let made = builder.image(&ImageRequest::development(builder, Edition::default())?)?;
        let image = folder.join("a.img");
        made.write(&image)?;
        let (tools, _) = builder.emulated_u_boot(&builder.boot_keys()?)?;
        Ok(Self { builder, made, image, folder, tools })
    }

    /// The reasons against an image.
    fn reason(&self, image: &Path, key: Option<&Path>) -> Result<Option<String>> {
        let expected = Expected { image_key: key.map(Path::to_path_buf), ..Expected::default() };
        Ok(verify_with(image, &expected, &self.tools)?.reason())
    }

    fn good(&self) -> Result<()> {
        let verdict = verify_with(&self.image, &Expected::default(), &self.tools)?;
        ensure!(verdict.reason().is_none(), "{}", verdict.reason().unwrap_or_default());
        let open = verdict.checks.iter().find(|check| check.result != verify::Outcome::Holds);
        ensure!(
            open.is_none(),
            "not checked: {}",
            open.map(|check| check.what.to_string()).unwrap_or_default()
        );
        let octets = self.made.root_octets();
        ensure!(octets <= MOST[0], "the root has {octets} octets, {} are allowed", MOST[0]);
        Ok(())
    }

    /// Programs, root, RAM disk and everything signed are made again elsewhere, as by another host; the firmware is what it is here,
    /// which has a check of its own. A difference is shown by diffoscope if it is there.
    fn reproducible(&self) -> Result<()> {
        let root = rebuilt::elsewhere(self.builder)?;
        for name in FIRMWARE {
            rebuilt::link(&self.builder.repo.cache().join(name), &root.join("target/tb").join(name))?;
        }
        let (again, log) = (root.join("again.img"), self.builder.log("image-elsewhere"));
        let _ = fs::remove_file(&log);
        rebuilt::hostile(self.builder, &root)?.args(["image", "--out"]).arg(&again).run(&log)?;
        let (a, b) = (fs::read(&self.image)?, fs::read(&again)?);
        if a == b {
            return Ok(fs::remove_dir_all(&root)?);
        }
        let at = a.iter().zip(&b).position(|(a, b)| a != b).unwrap_or_default();
        let summary = find_program("diffoscope").and_then(|program| {
            let tool =
                Tool::new(program).args(["--max-text-report-size", "2000"]).arg(&self.image).arg(&again);
            tool.command().output().ok().map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        });
        anyhow::bail!(
            "they differ from octet 0x{at:x}\n{}",
            summary.unwrap_or_else(|| "diffoscope is not here".to_owned())
        )
    }

    fn production(&self) -> Result<()> {
        let tree = |dev, containers| self.builder.root_tree(Edition { dev, containers }, 0);
        let (production, dev, containers) = (tree(false, false)?, tree(true, false)?, tree(false, true)?);
        // xtest's trusted applications are many.
        let more = dev.paths().filter(|path| !production.has(path) && !path.starts_with(TEST_TAS));
        let more: Vec<_> = more.collect();
        ensure!(more == DEV_FILES, "-dev has besides: {more:?}");
        for (name, other) in [("-dev", &dev), ("the image with containers", &containers)] {
            let lacking = production.paths().find(|path| !other.has(path));
            ensure!(lacking.is_none(), "{name} lacks {lacking:?}");
        }
        let runtime = ["usr/bin/podman", "usr/bin/crun", "usr/bin/conmon", "usr/lib/podman/netavark"];
        ensure!(runtime.iter().all(|path| containers.has(path)), "no {runtime:?}");
        let more: Vec<_> = containers.paths().filter(|path| !production.has(path)).collect();
        ensure!(more.len() == CONTAINER_FILES, "{} files for containers: {more:?}", more.len());
        Ok(())
    }

    /// The bills name every package and crate; systemd's own measure of each service of ours is low.
    fn evidence(&self) -> Result<()> {
        let folder = self.folder.join("evidence");
        evidence::write(self.builder, &self.made.manifest, &folder)?;
        let read =
            |name: &str| -> Result<Value> { Ok(serde_json::from_slice(&fs::read(folder.join(name))?)?) };
        let (cyclonedx, spdx) = (read("sbom.cdx.json")?, read("sbom.spdx.json")?);
        let components = cyclonedx["components"].as_array().context("no components")?;
        for wanted in ["systemd", "libc6", "optee-os", "u-boot", "rustix", "postcard"] {
            ensure!(components.iter().any(|part| part["name"] == wanted), "the bill does not name {wanted}");
        }
        ensure!(
            spdx["packages"].as_array().map(Vec::len) == Some(components.len() + 1),
            "the two bills differ"
        );
        ensure!(
            read("manifest.json")? == serde_json::to_value(&self.made.manifest)?,
            "another image's manifest"
        );
        let units = self.builder.image_folder().join("files");
        let names = fs::read_dir(units.join("usr/lib/systemd/system"))?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        for name in names.collect::<Result<Vec<_>>>()?.iter().filter(|name| name.ends_with(".service")) {
            let tool = Tool::new("systemd-analyze")
                .args(["security", "--no-pager", "--offline=yes", EXPOSURE])
                .arg(name);
            let mut root = std::ffi::OsString::from("--root=");
            root.push(&units);
            let output = tool
                .arg(root)
                .command()
                .output()
                .context("cannot start systemd-analyze\nhelp: install Debian package systemd")?;
            let said =
                String::from_utf8_lossy(&output.stdout).lines().next_back().unwrap_or_default().to_owned();
            ensure!(output.status.success(), "{said}");
        }
        Ok(())
    }

    fn changed(&self) -> Result<()> {
        let manifest = Medium::open(&self.image)?.manifest()?.manifest;
        let mut places: Vec<(String, u64)> = manifest
            .regions
            .iter()
            .map(|region| (format!("region {}", region.name), region.start + region.size / 2))
            .collect();
        let firmware = manifest.regions.iter().find(|region| region.name == "firmware");
        let fip = firmware.context("no firmware")?.start + FIP_OFFSET as u64;
        for (name, at) in [
            ("nothing in", 0x51_1000),
            ("region firmware", fip),
            ("partition tee", self.made.plan.partition("tee")?.start + 4096),
        ] {
            places.push((name.to_owned(), at));
        }
        for (what, at) in places {
            let copy = self.copy("changed.img", &[at])?;
            let verdict = verify_with(&copy, &Expected::default(), &self.tools)?;
            let found = verdict.checks.iter().any(|check| check.result != verify::Outcome::Holds);
            ensure!(found, "a changed octet at 0x{at:x}, in {what}, is not found");
            // Tables and manifest are found damaged before regions are looked at.
            let early = what.contains("gpt") || what.contains("mbr");
            let named = verdict
                .checks
                .iter()
                .any(|check| check.what.starts_with(&what) && check.result != verify::Outcome::Holds);
            ensure!(early || named, "a changed octet at 0x{at:x} is not found in {what}");
        }
        Ok(())
    }

    fn other_key(&self) -> Result<()> {
        let other = self.folder.join("other.pub.pem");
        let private = self.folder.join("other.key");
        crate::boot::keys::ensure_pair(&private, &other, "3072", &self.builder.log("suite-image"))?;
        let reason = self.reason(&self.image, Some(&other))?.context("another key's image verifies")?;
        ensure!(reason.contains("its signature is not of this key"), "{reason}");
        Ok(())
    }

    fn veritysetup(&self) -> Result<()> {
        let program = find_program("veritysetup")
            .context("no veritysetup\nhelp: install Debian package cryptsetup-bin")?;
        let (root, hash, data) = self.made.root();
        let copy = self.folder.join("root.img");
        let verify = |content: &[u8]| -> Result<bool> {
            fs::write(&copy, content)?;
            let tool = Tool::new(&program)
                .arg("verify")
                .arg(&copy)
                .arg(&copy)
                .arg(&hash)
                .arg(format!("--hash-offset={data}"));
            Ok(tool.command().output()?.status.success())
        };
        let mut content = fs::read(root)?;
        ensure!(verify(&content)?, "veritysetup refuses a good root");
        for at in [0, content.len() / 2, content.len() - 4096] {
            content[at] ^= 1;
            ensure!(!verify(&content)?, "veritysetup takes a root with a changed octet at {at}");
            content[at] ^= 1;
        }
        Ok(())
    }

    fn file(&self, name: &str) -> PathBuf {
        let file = self.folder.join(name);
        let _ = fs::remove_file(&file);
        file
    }

    /// A copy of the image with some octets changed.
    fn copy(&self, name: &str, places: &[u64]) -> Result<PathBuf> {
        let copy = self.copy_of(&self.image, name)?;
        change(&copy, places)?;
        Ok(copy)
    }

    fn copy_of(&self, from: &Path, name: &str) -> Result<PathBuf> {
        let copy = self.file(name);
        Tool::new("cp").arg("--sparse=always").arg(from).arg(&copy).output()?;
        Ok(copy)
    }
}

/// Changes octets of a file; twice is not at all.
fn change(file: &Path, places: &[u64]) -> Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(file)?;
    for at in places {
        let mut octet = [0];
        file.read_exact_at(&mut octet, *at)?;
        file.write_all_at(&[octet[0] ^ 1], *at)?;
    }
    Ok(())
}

//! A device's firmware: OP-TEE with the TrustBox TA inside, TF-A around it, U-Boot behind it.
//!
//! What is common to the emulated device and to boards is here, and the emulated device; boards are in `firmware/`. Build trees of OP-TEE and TF-A stay warm, so that a changed TA costs a link and not a compilation.

pub(crate) mod boards;
pub(crate) mod facts;
mod hardening;
pub(crate) mod images;
mod manifest;
mod measurement;
pub(crate) mod parts;
pub(crate) mod reference;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::anchors::Anchors;
use crate::boot::certificates::Counters;
use crate::boot::root_keys::Choice;
use crate::builder::Builder;
use crate::guest::GuestKind;
use crate::hash::Key;
use crate::sources::Source;
use crate::ta::TrustedApplication;
use crate::tool::Tool;

/// The three files that OP-TEE gives to TF-A.
pub(crate) const OPTEE_IMAGES: [&str; 3] = ["tee-header_v2.bin", "tee-pager_v2.bin", "tee-pageable_v2.bin"];
const CROSS: &str = "aarch64-linux-gnu-";
/// When everything says it was built, in seconds since 1970: the same source gives the same bytes.
pub(crate) const EPOCH: &str = "1735689600";

/// Builds firmware for a board.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Board to build for
    #[arg(long, value_name = "BOARD", default_value = crate::board::DEFAULT)]
    platform: String,
    /// The firmware that figures are compared with: OP-TEE as Debian has it, without the TrustBox TA
    #[arg(long)]
    reference: bool,
    /// The firmware that verifies what it boots, and an image for both slots of a medium; development keys sign them
    #[arg(long, conflicts_with_all = ["reference", "part"])]
    verified: bool,
    /// With --verified: a device takes no firmware with a counter below the highest it ran
    #[arg(long, value_name = "N", requires = "verified", default_value_t = 0)]
    counter: u32,
    #[command(flatten)]
    root_keys: Choice,
    /// With --verified, keys of certificates and of the signed FIT: a folder with ROLE.pub.pem, and ROLE.key or ROLE.uri
    /// (pkcs11:…), for each role; development keys where it is left out
    #[arg(long, value_name = "DIR", requires = "verified")]
    boot_keys: Option<PathBuf>,
    #[command(flatten)]
    anchors: Anchors,
    /// Only this file; a real board has it for each medium
    #[arg(long, value_name = "PART", requires = "out")]
    part: Option<boards::Part>,
    /// The medium that the part is for
    #[arg(long, value_name = "MEDIUM", requires = "part", default_value = "sd")]
    medium: String,
    /// Where the part, or everything, is copied to
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
}

/// Runs `tb firmware`.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut builder = Builder::open(&args.platform)?;
    builder.anchors = args.anchors.clone();
    if args.verified {
        return verified(&builder, args);
    }
    if builder.board.hardware().is_some() {
        let request = boards::Request { part: args.part, medium: &args.medium, out: args.out.as_deref() };
        return boards::run(&builder, &request);
    }
    ensure!(
        args.part.is_none() && args.out.is_none(),
        "the emulated device's firmware is one file\nhelp: --part and --out are for real boards"
    );
    if args.reference {
        println!("{}", builder.reference_firmware()?.join("firmware.bios").display());
        return Ok(());
    }
    println!("{}", builder.firmware(false)?.join("firmware.bios").display());
    println!("{}", builder.write_reference(&builder.work("reference")?)?.display());
    Ok(())
}

/// The firmware that verifies what it boots: of a real board signed for its boot ROM, of the emulated one with an image.
fn verified(builder: &Builder, args: &Args) -> Result<()> {
    let counters = Counters { trusted: args.counter, normal: args.counter };
    let out = args.out.as_deref().context("--verified needs a folder\nhelp: --out names one")?;
    let keys = builder.boot_keys_of(args.boot_keys.as_deref())?;
    if builder.board.hardware().is_some() {
        builder.signed_board(&builder.root_keys(&args.root_keys)?, &keys, counters, out)?;
    } else {
        let set = builder.verified_set(keys, GuestKind::Plain, counters)?;
        fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
        copy(&set.images.firmware, &out.join("firmware.bios"))?;
        copy(&set.image, &out.join("image.fit"))?;
    }
    builder.write_reference(out)?;
    println!("{}", out.display());
    Ok(())
}

impl Builder {
    /// The firmware's folder: `firmware.bios`, `tee.elf`, and the TA that is inside.
    pub(crate) fn firmware(&self, debug: bool) -> Result<PathBuf> {
        let optee = self.optee_of_firmware(debug)?;
        let u_boot = self.u_boot()?;
        self.trusted_firmware(&optee, &u_boot)
    }

    /// OP-TEE with the TrustBox TA inside.
    pub(crate) fn optee_of_firmware(&self, debug: bool) -> Result<PathBuf> {
        let kit = self.dev_kit(debug)?;
        let ta = self.trustbox_ta(&kit)?;
        self.optee(debug, &ta)
    }

    /// Firmware with OP-TEE as Debian has it, neither patched nor with the TrustBox TA: what figures are compared with.
    pub(crate) fn reference_firmware(&self) -> Result<PathBuf> {
        let source = self.source_of_debian("optee-os")?;
        let tree = self.optee_key(&source, false)?;
        let optee = self.cached("optee-os-reference", &tree, |dirs| {
            let work = self.build_tree("optee", &tree)?;
            self.optee_make(&source, &work, false)?.run(&dirs.log)?;
            copy_images(&work, &dirs.out)
        })?;
        self.trusted_firmware(&optee, &self.u_boot()?)
    }

    /// OP-TEE's development kit for trusted applications.
    pub(crate) fn dev_kit(&self, debug: bool) -> Result<PathBuf> {
        let source = self.source("optee-os")?;
        let key = self.optee_key(&source, debug)?;
        self.cached("ta-dev-kit", &key, |dirs| {
            let work = self.build_tree("optee", &key)?;
            self.optee_make(&source, &work, debug)?.arg("ta_dev_kit").run(&dirs.log)?;
            let kit = work.join("export-ta_arm64/.");
            Tool::new("cp").arg("-a").arg(kit).arg(&dirs.out).run(&dirs.log)
        })
    }

    fn optee(&self, debug: bool, ta: &TrustedApplication) -> Result<PathBuf> {
        let source = self.source("optee-os")?;
        let tree = self.optee_key(&source, debug)?;
        let key = Key::new("optee").text(&tree).file(&ta.stripped)?.finish();
        self.cached("optee-os", &key, |dirs| {
            let work = self.build_tree("optee", &tree)?;
            let early = self.work("early-ta")?.join(format!("{}.stripped.elf", crate::TRUSTBOX_UUID));
            copy_if_changed(&ta.stripped, &early)?;
            // OP-TEE counts builds and says the number: the first one is as good as any.
            let _ = fs::remove_file(work.join("core/.buildcount"));
            self.optee_make(&source, &work, debug)?.assign("EARLY_TA_PATHS", &early).run(&dirs.log)?;
            copy_images(&work, &dirs.out)
        })
    }

    fn optee_key(&self, source: &Source, debug: bool) -> Result<String> {
        let flags = self.board.optee_flags(debug);
        let version = self.lock.package("optee-os")?.upstream_version();
        let key = Key::new("optee-tree").text(&source.key).text(version).text(&self.board.optee.platform);
        let key = key.texts(flags.iter().flat_map(|(name, value)| [name, value]));
        let key = key.text(OPTIMIZATION).texts([NO_HISTORY.0, NO_HISTORY.1]);
        Ok(key.file(&self.ta_public_key()?)?.finish())
    }

    fn optee_make(&self, source: &Source, work: &Path, debug: bool) -> Result<Tool> {
        // A source package has no history that OP-TEE could read its version from; it would take that of this repository.
        let version = self.lock.package("optee-os")?.upstream_version();
        let mut make = make(&source.folder)
            .assign("TEE_IMPL_VERSION", version)
            .assign(NO_HISTORY.0, NO_HISTORY.1)
            .assign("CROSS_COMPILE64", CROSS)
            .assign("PYTHON3", "/usr/bin/python3")
            .assign("PLATFORM", &self.board.optee.platform)
            .assign("O", work)
            .assign("TA_PUBLIC_KEY", self.ta_public_key()?)
            .assign("CFG_BUILD_IN_TREE_TA", "n")
            .assign("platform-cflags-optimization", OPTIMIZATION)
            .assign("CFG_EARLY_TA", "y")
            // Each session would inflate it again.
            .assign("CFG_EARLY_TA_COMPRESS", "n");
        for (name, value) in &self.board.optee_flags(debug) {
            make = make.assign(name, value);
        }
        Ok(make)
    }

    fn trusted_firmware(&self, optee: &Path, u_boot: &Path) -> Result<PathBuf> {
        let source = self.source("arm-trusted-firmware")?;
        let tfa = &self.board.tfa;
        let flags = tfa.flags.iter().flat_map(|(name, value)| [name, value]);
        let tree = Key::new("tfa-tree").text(&source.key).text(&tfa.platform).texts(flags).finish();
        let mut key = Key::new("firmware").text(&tree).file(u_boot)?;
        for name in OPTEE_IMAGES {
            key = key.file(&optee.join(name))?;
        }
        self.cached("firmware", &key.finish(), |dirs| {
            let work = self.build_tree("tfa", &tree)?;
            let release = work.join(&tfa.platform).join("release");
            // Make goes by times, and an image from the cache is older than what was packed from another one.
            forget(&release.join("fip.bin"))?;
            self.tfa_make(&source, &work, optee, u_boot).run(&dirs.log)?;
            let built = release.join("qemu_fw.bios");
            ensure_holds(&built, &optee.join(OPTEE_IMAGES[1]))?;
            copy(&built, &dirs.out.join("firmware.bios"))?;
            copy(&optee.join("tee.elf"), &dirs.out.join("tee.elf"))?;
            self.mark(&dirs.out)
        })
    }

    fn tfa_make(&self, source: &Source, work: &Path, optee: &Path, u_boot: &Path) -> Tool {
        let [header, pager, pageable] = OPTEE_IMAGES.map(|name| optee.join(name));
        let make = self.tfa_base(source, work).assign("BL32", header).assign("BL32_EXTRA1", pager);
        make.assign("BL32_EXTRA2", pageable).assign("BL33", u_boot).args(["all", "fip"])
    }

    /// What every build of TF-A is told. Its version text would be this repository's otherwise, and its time that of the build.
    pub(crate) fn tfa_base(&self, source: &Source, work: &Path) -> Tool {
        let make = make(&source.folder)
            .assign("CROSS_COMPILE", CROSS)
            .assign("BUILD_BASE", work)
            .assign("PLAT", &self.board.tfa.platform)
            .assign("SPD", "opteed")
            .assign("DEBUG", "0")
            .assign("BUILD_STRING", "trustbox")
            .assign("BUILD_MESSAGE_TIMESTAMP", "\"reproducible\"");
        self.board.tfa.flags.iter().fold(make, |make, (name, value)| make.assign(name, value))
    }

    /// U-Boot's pinned binary with the board's default environment.
    fn u_boot(&self) -> Result<PathBuf> {
        let facts = self.board.u_boot.get_ref();
        let file = facts.file.as_ref().context("the board has no binary of U-Boot")?;
        let original = self.binary(&facts.package)?.join(file);
        let changes = facts.environment.iter().map(|(name, value)| {
            let value = value.get_ref();
            (format!("{name}={}", value.from), format!("{name}={}", value.to))
        });
        let changes: Vec<_> = changes.collect();
        let words = changes.iter().flat_map(|(from, to)| [from, to]);
        let key = Key::new("u-boot").file(&original)?.texts(words).finish();
        let folder = self.cached("u-boot", &key, |dirs| {
            let mut image = fs::read(&original)?;
            changes.iter().try_for_each(|(from, to)| replace_once(&mut image, from, to))?;
            Ok(fs::write(dirs.out.join("u-boot.bin"), image)?)
        })?;
        Ok(folder.join("u-boot.bin"))
    }

    /// A development board's artefacts say what they are.
    pub(crate) fn mark(&self, out: &Path) -> Result<()> {
        if self.board.profile == crate::board::Profile::Dev {
            fs::write(out.join("NOT-TRUSTED"), "development firmware: its keys protect nothing\n")?;
        }
        Ok(())
    }
}

/// OP-TEE would report the commit that this repository is at as its own.
pub(crate) const NO_HISTORY: (&str, &str) = ("CFG_OS_REV_REPORTS_GIT_SHA1", "n");
/// Sections of their own also for libutee, so that a TA links only what it uses of it: 20 KiB of the TrustBox TA.
pub(crate) const OPTIMIZATION: &str = "-O$(CFG_CC_OPT_LEVEL) -ffunction-sections -fdata-sections";

fn copy_images(work: &Path, out: &Path) -> Result<()> {
    let mut names = OPTEE_IMAGES.iter().chain(&["tee.elf"]);
    names.try_for_each(|name| copy(&work.join("core").join(name), &out.join(name)))
}

/// Make in a source folder, on every core or with `TRUSTBOX_JOBS` jobs, deaf to flags of an outer make.
pub(crate) fn make(folder: &Path) -> Tool {
    let jobs = std::env::var("TRUSTBOX_JOBS").ok().and_then(|text| text.parse().ok());
    let cores = jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let tool = Tool::new("make").arg("-s").arg(format!("-j{cores}")).arg("-C").arg(folder);
    let deaf = ["MAKEFLAGS", "MFLAGS", "CFLAGS", "CPPFLAGS", "LDFLAGS", "ARCH", "CROSS_COMPILE", "LANGUAGE"]
        .iter()
        .fold(tool, |tool, name| tool.without_env(name));
    deaf.env("LC_ALL", "C").env("TZ", "UTC").env("SOURCE_DATE_EPOCH", EPOCH)
}

/// Replaces one environment default, which must be there exactly once.
fn replace_once(image: &mut [u8], from: &str, to: &str) -> Result<()> {
    let wanted: Vec<u8> = from.bytes().chain([0]).collect();
    let places: Vec<_> = image
        .windows(wanted.len())
        .enumerate()
        .filter(|(_, window)| *window == wanted)
        .map(|(at, _)| at)
        .collect();
    ensure!(
        places.len() == 1,
        "u-boot has the default {from} {} times, not once\nhelp: correct u-boot.environment in board.toml",
        places.len()
    );
    for at in places {
        image[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    Ok(())
}

pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

fn forget(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", file.display()))
        }
        _ => Ok(()),
    }
}

/// What was packed must be what was built.
fn ensure_holds(image: &Path, part: &Path) -> Result<()> {
    let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let (whole, bytes) = (read(image)?, read(part)?);
    let found = !bytes.is_empty() && whole.windows(bytes.len()).any(|window| window == bytes);
    ensure!(found, "{} does not hold {}", image.display(), part.display());
    Ok(())
}

/// Leaves an equal file alone, so that make sees no change.
pub(crate) fn copy_if_changed(from: &Path, to: &Path) -> Result<()> {
    let new = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    fs::write(to, new).with_context(|| format!("cannot write {}", to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_is_replaced_exactly_once() {
        let mut image = b"\0bootdelay=2\0bootdelay=25\0".to_vec();
        replace_once(&mut image, "bootdelay=2", "bootdelay=0").unwrap();
        assert_eq!(image, b"\0bootdelay=0\0bootdelay=25\0");
        let error = replace_once(&mut image, "bootdelay=2", "bootdelay=0").unwrap_err();
        assert!(error.to_string().contains("0 times"));
    }

    #[test]
    fn firmware_with_another_part_in_it_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let [image, part] = ["image", "part"].map(|name| folder.path().join(name));
        fs::write(&image, b"..OP-TEE, new..").unwrap();
        fs::write(&part, b"OP-TEE, new").unwrap();
        assert!(ensure_holds(&image, &part).is_ok());
        fs::write(&part, b"OP-TEE, old").unwrap();
        let error = ensure_holds(&image, &part).unwrap_err().to_string();
        assert!(error.ends_with("part"), "{error}");
        forget(&part).unwrap();
        forget(&part).unwrap();
        assert!(ensure_holds(&image, &part).is_err());
    }

    #[test]
    fn patches_and_builder_name_the_same_ta() {
        let patch = include_str!("../../platform/patches/optee-os/0001-secstor-only-trustbox.patch");
        assert!(patch.contains(crate::TRUSTBOX_UUID));
        let digits: String = patch
            .lines()
            .skip_while(|line| !line.contains("CLIENT_UUID {"))
            .take(3)
            .flat_map(|line| line.split("0x").skip(1))
            .flat_map(|word| word.chars().take_while(char::is_ascii_hexdigit))
            .collect();
        assert_eq!(digits, crate::TRUSTBOX_UUID.replace('-', ""));
    }
}

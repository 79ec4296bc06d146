//! The OS image: building it beside genimage, mksquashfs and veritysetup, writing it beside bmaptool, reading it back beside a plain
//! read, and from power-on of the emulated device to its enclave's answer.
//!
//! The two sides of a ratio take turns, and the best turn of each counts: what else the machine does hits both. Times from power-on
//! are wall time of this host, and mean something only where nothing else runs.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::measure::Measured;
use crate::builder::Builder;
use crate::firmware::EPOCH;
use crate::hash::hex;
use crate::image::bmap::{self, Bmap};
use crate::image::emulate::{self, Boot, Options};
use crate::image::factory::Factory;
use crate::image::flash;
use crate::image::layout::{Fill, Placed};
use crate::image::parts::{COMPRESSION, Edition};
use crate::image::verity::{SALT, UUID};
use crate::image::{ImageRequest, Made};
use crate::tool::Tool;
use crate::ui;

const TURNS: usize = 5;
/// Building is mostly mksquashfs on every core, on both sides: what else runs changes it more than what is compared.
const BUILDS: usize = 12;
/// Reading back is over in a tenth of a second.
const READS: usize = 20;
/// The image that others make.
const OTHERS: &str = "others.img";
const OTHERS_ROOT: &str = "root.img";
const OTHERS_FIT: &str = "image.fit";
/// Steps that are made anew for the build's time: everything behind programs and packages.
const STEPS: [&str; 3] = ["image-root", "image-early", "signed-image"];
const PRODUCTION: Edition = Edition { dev: false, containers: false };

/// The figures, and what some are compared with.
pub(super) fn figures(builder: &Builder) -> Result<(Vec<Measured>, Vec<Measured>)> {
    let folder = builder.work("bench-image")?;
    let image = folder.join("a.img");
    let (made, build) = ui::step("image", || builds(builder, &image))?;
    let (beside, by_others) =
        ui::step("the same beside other builders", || both_build(builder, &made, &folder, &image))?;
    let map = flash::map_of(&image)?;
    let (write, bmaptool) = ui::step("flash beside bmaptool", || writes(&folder, &image, &map))?;
    let (read_back, plain) = ui::step("read back beside a plain read", || reads(&image, &map))?;
    let [first, restart] = boots(builder, &folder, &image)?;
    let root = made.root_octets() as f64 / f64::from(1 << 20);
    let _ = fs::remove_dir_all(&folder);
    let seconds = |name: &str, value: Duration| Measured::new(name, value.as_secs_f64(), "s");
    let ours = vec![
        seconds("image_build", build),
        seconds("image_build_beside", beside),
        seconds("image_flash", write),
        seconds("image_read_back", read_back),
        Measured::new("image_root", root, "MiB compressed"),
        Measured::new("image_first_boot", first, "s from power-on to the enclave's answer"),
        Measured::new("image_restart", restart, "s from power-on to the enclave's answer"),
    ];
    let references = vec![
        seconds("image_build_beside", by_others),
        seconds("image_flash", bmaptool),
        seconds("image_read_back", plain),
    ];
    Ok((ours, references))
}

fn timed<A>(work: impl FnOnce() -> Result<A>) -> Result<(A, Duration)> {
    let start = Instant::now();
    let done = work()?;
    Ok((done, start.elapsed()))
}

/// The image from packages.
fn builds(builder: &Builder, image: &Path) -> Result<(Made, Duration)> {
    let request = ImageRequest::development(builder, PRODUCTION)?;
    // Programs and firmware are there before the clock starts.
    builder.image(&request)?;
    for step in STEPS {
        let _ = fs::remove_dir_all(builder.repo.cache().join(step));
    }
    timed(|| {
        let made = builder.image(&request)?;
        made.write(image)?;
        Ok(made)
    })
}

/// From the tree of the root to a file on the disk, by us and by others, with the same octets in each partition. What only one side
/// makes, firmware, FIT and manifest, is there before the clock starts; ours makes the map of blocks besides.
fn both_build(builder: &Builder, made: &Made, folder: &Path, image: &Path) -> Result<(Duration, Duration)> {
    let staged = folder.join("staged");
    let config = genimage_config(made, folder)?;
    let state = builder.board.verified()?.state.context("the emulated board has no verified.state")?;
    let tree = builder.root_tree(PRODUCTION, state)?;
    let (mut ours, mut others) = (Duration::MAX, Duration::MAX);
    for _ in 0..BUILDS {
        let _ = fs::remove_dir_all(builder.repo.cache().join("image-root"));
        let (_, taken) = timed(|| {
            builder.root_of(&tree)?;
            made.write(image)
        })?;
        ours = ours.min(taken);
        let (_, taken) = timed(|| {
            tree.write(&staged)?;
            by_others(folder, &staged, &config)?;
            Ok(File::open(folder.join(OTHERS))?.sync_all()?)
        })?;
        others = others.min(taken);
        fs::remove_dir_all(&staged)?;
    }
    same_partitions(made, image, &folder.join(OTHERS))?;
    Ok((ours, others))
}

fn by_others(folder: &Path, staged: &Path, config: &str) -> Result<()> {
    let log = folder.join("others.log");
    let file = |name: &str| folder.join(name);
    fs::create_dir_all(file("none"))?;
    fs::write(file("genimage.cfg"), config)?;
    let root = file(OTHERS_ROOT);
    let tool = Tool::new("mksquashfs").without_env("SOURCE_DATE_EPOCH").arg(staged).arg(&root);
    let tool = tool.args(["-noappend", "-no-progress", "-no-xattrs", "-all-root"]).args(COMPRESSION);
    tool.args(["-all-time", EPOCH, "-mkfs-time", EPOCH]).run(&log)?;
    let tool = Tool::new("veritysetup").arg("format").arg(&root).arg(&root);
    let tool = tool.args(["--salt", &hex(&SALT), "--uuid", &uuid()]);
    tool.arg(format!("--hash-offset={}", fs::metadata(&root)?.len())).run(&log)?;
    let part = |name: &str, path: PathBuf| format!("--{name}={}", path.display());
    let words = [
        part("rootpath", file("none")),
        part("inputpath", folder.to_path_buf()),
        part("outputpath", folder.to_path_buf()),
        part("tmppath", file("temporary")),
        part("config", file("genimage.cfg")),
    ];
    Tool::new("genimage").args(&words).help("install Debian package genimage").run(&log)
}

/// As veritysetup takes what our header has.
fn uuid() -> String {
    let digits = hex(&UUID);
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

/// The same partitions, with the same FIT.
fn genimage_config(made: &Made, folder: &Path) -> Result<String> {
    let content = |part: &Placed| match part.fills {
        Some(Fill::Root) => format!("image = \"{OTHERS_ROOT}\""),
        Some(Fill::Boot) => format!("image = \"{OTHERS_FIT}\""),
        None => String::new(),
    };
    fs::write(folder.join(OTHERS_FIT), made.fit().context("no FIT")?)?;
    let lines = made.plan.partitions.iter().map(|part| {
        let (name, start, size, kind) = (&part.name, part.start, part.size, &part.kind);
        let more = content(part);
        format!(
            "partition {name} {{ offset = {start} size = {size} {more} partition-type-uuid = \"{kind}\" }}\n"
        )
    });
    Ok(format!(
        "image {OTHERS} {{\nhdimage {{ partition-table-type = gpt gpt-location = {} }}\n{}}}\n",
        made.plan.boot_region,
        lines.collect::<String>()
    ))
}

/// Both sides made the same.
fn same_partitions(made: &Made, ours: &Path, theirs: &Path) -> Result<()> {
    let (ours, theirs) = (File::open(ours)?, File::open(theirs)?);
    for part in made.plan.partitions.iter().filter(|part| part.fills.is_some()) {
        let read = |file| bmap::read(file, part.start, part.size);
        ensure!(read(&ours)? == read(&theirs)?, "genimage made another partition {}", part.name);
    }
    Ok(())
}

/// A new file each time, and on the medium at the end.
fn writes(folder: &Path, image: &Path, map: &Bmap) -> Result<(Duration, Duration)> {
    let (target, log) = (folder.join("medium"), folder.join("bmaptool.log"));
    let (mut ours, mut theirs) = (Duration::MAX, Duration::MAX);
    for _ in 0..TURNS {
        let _ = fs::remove_file(&target);
        let source = flash::Source::new(image, map.clone(), map.size)?;
        ours = ours.min(
            timed(|| {
                let out = File::create(&target)?;
                out.set_len(map.size)?;
                source.write(&out)
            })?
            .1,
        );
        let _ = fs::remove_file(&target);
        let tool = Tool::new("bmaptool").args(["-q", "copy", "--bmap"]).arg(Bmap::beside(image));
        let tool = tool.arg(image).arg(&target).help("install Debian package bmap-tools");
        theirs = theirs.min(timed(|| tool.run(&log))?.1);
    }
    fs::remove_file(&target)?;
    Ok((ours, theirs))
}

/// Of a file that the kernel has not in memory.
fn reads(image: &Path, map: &Bmap) -> Result<(Duration, Duration)> {
    let (mut ours, mut plain) = (Duration::MAX, Duration::MAX);
    for _ in 0..READS {
        forget(image)?;
        ours = ours.min(timed(|| flash::verify(image, map))?.1);
        forget(image)?;
        plain = plain.min(
            timed(|| {
                let file = File::open(image)?;
                map.ranges.iter().try_for_each(|range| bmap::read(&file, range.start, range.size).map(drop))
            })?
            .1,
        );
    }
    Ok((ours, plain))
}

/// The kernel gives up what it keeps of a file.
fn forget(file: &Path) -> Result<()> {
    let mut input = std::ffi::OsString::from("if=");
    input.push(file);
    Tool::new("dd").arg(input).args(["iflag=nocache", "count=0", "status=none"]).output().map(drop)
}

/// A new device, and the same one again.
fn boots(builder: &Builder, folder: &Path, image: &Path) -> Result<[f64; 2]> {
    let state = folder.join("device");
    let factory = Factory::prepare(builder)?;
    let options = Options::of(image, Some(state));
    let first = ui::step("first boot", || emulate::boot(builder, Some(&factory), &options))?;
    let restart = ui::step("restart", || emulate::boot(builder, None, &options))?;
    Ok([answered(&first)?, answered(&restart)?])
}

/// Seconds from power-on to the enclave's answer: the report, which comes later, says how much later.
fn answered(boot: &Boot) -> Result<f64> {
    let report = boot.report.as_ref().context("a boot without a report")?;
    ensure!(report["enclave"].is_string(), "the enclave does not answer: {}", report["failed"]);
    let seconds = |value: &Value| value.as_f64().context("the report says no time");
    let later = seconds(&report["seconds"])? - seconds(&report["units"]["trustbox-enclave.service"])?;
    Ok(boot.took.as_secs_f64() - later)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_comes_before_the_report() {
        let report = serde_json::json!({
            "enclave": "total=1", "seconds": 9.0, "units": {"trustbox-enclave.service": 6.5}
        });
        let boot = |report| Boot { report, log: String::new(), took: Duration::from_secs(12) };
        assert!((answered(&boot(Some(report))).unwrap() - 9.5).abs() < 1e-9);
        assert!(answered(&boot(Some(serde_json::json!({"enclave": null})))).is_err());
        assert!(answered(&boot(None)).is_err());
    }
}

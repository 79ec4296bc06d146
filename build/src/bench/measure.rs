//! Takes the figures: one boot of our firmware, one of OP-TEE as it comes.

use std::fs::{self, File};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::builder::Builder;
use crate::device::{BootOptions, Device};
use crate::guest::GuestKind;
use crate::suite::examples::inference_figure;
use crate::suite::on_device::{PROGRAM, TEST_PROGRAM, prepared};
use crate::ui;

/// Bytes of the image whose install is measured, header included.
const IMAGE_SIZE: u64 = 1 << 20;
/// Where the device has it, and the plain trusted application.
const SIZED: &str = "/tmp/sized.ta";
const PLAIN: &str = "/tmp/plain.ta";
/// UUID of the plain trusted application, as in its header.
const PLAIN_UUID: &str = "7c1d0e5a-2f4b-4c68-9a3e-5b6d8f0a1c2e";
/// GCM in OP-TEE's own test program: a mebibyte at once, ten times, with the key size of ours and nothing before it.
const AES_PERF: [&str; 12] =
    ["xtest", "--aes-perf", "-m", "GCM", "-k", "256", "-s", "1048576", "-n", "10", "-w", "0"];
const AES_PERF_BYTES: f64 = 1_048_576.0;

/// A figure as it was taken.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Measured {
    pub(super) name: String,
    pub(super) value: f64,
    pub(super) unit: String,
}

impl Measured {
    pub(super) fn new(name: &str, value: f64, unit: &str) -> Self {
        Self { name: name.to_owned(), value, unit: unit.to_owned() }
    }
}

/// With TrustBox.
pub(super) fn ours(builder: &Builder) -> Result<Vec<Measured>> {
    let (sized, plain) = (sized(builder)?, plain(builder)?);
    let mut figures = ui::step("figures", || {
        let mut device = prepared(builder, &options())?;
        device.push(&sized, SIZED)?;
        device.push(&plain, &format!("/usr/lib/optee_armtz/{PLAIN_UUID}.ta"))?;
        let bench = ["--bench", "--sized", SIZED, "--signer", PLAIN_UUID];
        let argv: Vec<_> = TEST_PROGRAM.into_iter().chain(bench).collect();
        let figures = taken(&mut device, &argv)?;
        device.power_off()?;
        Ok(figures)
    })?;
    let ta = builder.trustbox_ta(&builder.dev_kit(false)?)?;
    let value = fs::metadata(&ta.stripped)?.len() as f64;
    figures.push(Measured::new("ta_bytes", value, "bytes"));
    Ok(figures)
}

/// What the example of confidential inference spends on one image.
pub(super) fn inference(builder: &Builder) -> Result<Measured> {
    let line = ui::step("inference", || inference_figure(builder))?;
    serde_json::from_str(&line).with_context(|| format!("figure {line:?}"))
}

/// Without it.
pub(super) fn references(builder: &Builder) -> Result<Vec<Measured>> {
    let (sized, plain) = (sized(builder)?, plain(builder)?);
    let images = builder.images_with(&builder.reference_firmware()?, GuestKind::Xtest)?;
    ui::step("references", || {
        let mut device = Device::boot(&images, &options())?;
        device.push(&sized, SIZED)?;
        device.push(&plain, PLAIN)?;
        let mut figures = taken(&mut device, &[PROGRAM, "--bench", "--sized", SIZED, "--plain", PLAIN])?;
        figures.push(aes_perf(&mut device)?);
        device.power_off()?;
        Ok(figures)
    })
}

/// Time counts instructions.
pub(super) fn options() -> BootOptions {
    BootOptions { icount: true, ..BootOptions::default() }
}

fn taken(device: &mut Device, argv: &[&str]) -> Result<Vec<Measured>> {
    let output = device.exec(argv)?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status == 0, "figures: exit status {}\n{}", output.status, stderr.trim());
    let text = String::from_utf8(output.stdout)?;
    text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("figure {line:?}"))).collect()
}

fn aes_perf(device: &mut Device) -> Result<Measured> {
    let output = device.exec(&AES_PERF)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mean = mean_microseconds(&text).filter(|_| output.status == 0);
    let mean = mean.with_context(|| format!("xtest --aes-perf: exit status {}\n{text}", output.status))?;
    let (name, unit) = ("gcm_instr_per_byte".to_owned(), "instructions per byte".to_owned());
    Ok(Measured { name, value: mean * 1000.0 / AES_PERF_BYTES, unit })
}

/// `min=… max=… mean=123.4us …`.
fn mean_microseconds(text: &str) -> Option<f64> {
    let rest = text.split("mean=").nth(1)?;
    rest.split("us").next()?.trim().parse().ok()
}

/// The probe with zeros behind it, so that its signed image has the size that is measured.
fn sized(builder: &Builder) -> Result<PathBuf> {
    let enclaves = builder.enclaves()?;
    let probe = enclaves.iter().find(|enclave| enclave.name.contains("probe"));
    let probe = probe.context("tests/enclaves has no probe")?;
    let overhead = fs::metadata(&probe.signed)?.len() - fs::metadata(&probe.stripped)?.len();
    let padded = probe.stripped.with_file_name("sized.elf");
    fs::copy(&probe.stripped, &padded)?;
    File::options().write(true).open(&padded)?.set_len(IMAGE_SIZE - overhead)?;
    builder.sign_as(&padded, &probe.uuid, probe.version + 3)
}

fn plain(builder: &Builder) -> Result<PathBuf> {
    let folder = builder.repo.root().join("tests/device/c/plain");
    let elf = builder.c_enclave(&builder.dev_kit(false)?, &folder, &builder.work("plain")?)?.elf;
    let stripped = builder.strip(&elf, &builder.work("ta")?.join("plain.stripped.elf"))?;
    builder.sign_as(&stripped, PLAIN_UUID, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_is_found_in_what_xtest_prints() {
        let text = "AES-256-GCM\nmin=17.5us max=19us mean=18.25us stddev=0.5us (cv 2%) (52MiB/s)\n";
        assert_eq!(mean_microseconds(text), Some(18.25));
        assert_eq!(mean_microseconds("no figures"), None);
    }
}

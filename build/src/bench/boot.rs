//! What verified boot takes: the time from power-on to Linux's first moment, with everything verified and with nothing.

use std::fs;

use anyhow::{Context, Result, ensure};

use super::measure::{Measured, options};
use crate::boot::certificates::Counters;
use crate::builder::Builder;
use crate::device::Device;
use crate::guest::{GuestKind, Images};
use crate::suite::on_device::in_c;
use crate::ui;

const CLOCK: &str = "/tmp/clock";

/// The figures, and what the first of them is compared with.
pub(super) fn figures(builder: &Builder) -> Result<(Vec<Measured>, Vec<Measured>)> {
    let set = builder.verified_set(builder.boot_keys()?, GuestKind::Plain, Counters::default())?;
    let medium = builder.work("bench-boot")?.join("medium.img");
    set.medium(&medium)?;
    let verified = before_linux(builder, &set.images_for(&medium));
    let _ = fs::remove_file(&medium);
    let (verified, plain) = (verified?, before_linux(builder, &builder.images(GuestKind::Plain, false)?)?);
    let figure = |name, value| Measured::new(name, value, "ms");
    let ours = vec![figure("boot_to_linux", verified), figure("boot_verification", verified - plain)];
    Ok((ours, vec![figure("boot_to_linux", plain)]))
}

fn before_linux(builder: &Builder, images: &Images) -> Result<f64> {
    let clock = in_c(builder, "clock")?;
    ui::step("boot", || {
        let mut device = Device::boot(images, &options())?;
        device.push(&clock, CLOCK)?;
        let output = device.exec(&["sh", "-c", &format!("chmod +x {CLOCK} && {CLOCK}")])?;
        device.power_off()?;
        ensure!(output.status == 0, "{CLOCK} ended with status {}", output.status);
        let text = String::from_utf8(output.stdout)?;
        text.trim().parse().with_context(|| format!("{CLOCK} says {text:?}"))
    })
}

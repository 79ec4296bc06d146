//! A program in Linux that leaves TrustBox aside, and an enclave that does not talk to it.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use super::talk::say;
use crate::TRUSTBOX_UUID;
use crate::builder::Builder;
use crate::device::Device;
use crate::tool::Tool;
use crate::ui;

const NAME: &str = "direct-open";
/// `TEE_ERROR_ACCESS_DENIED`, said by a trusted application (`TEE_ORIGIN_TRUSTED_APP`).
const DENIED: &str = "0xffff0001 4";

/// Builds the program: nothing but C, libc and the kernel's interface.
pub(super) fn build(builder: &Builder) -> Result<PathBuf> {
    let source = builder.repo().root().join("build/src/demo/direct_open.c");
    let program = builder.work("demo")?.join(NAME);
    let options = ["-static", "-O1", "-Wall", "-Wextra", "-Werror", "-o"];
    let gcc = Tool::new("aarch64-linux-gnu-gcc").args(options).arg(&program).arg(source);
    ui::step(NAME, || gcc.run(&builder.log(NAME)))?;
    Ok(program)
}

/// The enclave must refuse the program itself; the TrustBox TA shows that the program is able to open a session.
pub(super) fn show(device: &mut Device, program: &Path, enclave: &str) -> Result<()> {
    let path = format!("/tmp/{NAME}");
    device.push(program, &path)?;
    let trustbox = device.exec(&[&path, TRUSTBOX_UUID])?;
    ensure!(trustbox.status == 0, "{NAME} of the TrustBox TA: exit status {}, not 0", trustbox.status);
    let output = device.exec(&[&path, enclave])?;
    let answer = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status == 1 && answer.trim() == DENIED,
        "{NAME} of the enclave: exit status {}, answer {answer:?}, not {DENIED:?}",
        output.status
    );
    say(
        "a program in Linux opens a session to the TrustBox TA, but to the meter itself: access denied, says the meter",
    );
    Ok(())
}

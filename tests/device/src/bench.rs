//! Figures taken inside the device. They are instruction counts only where time counts instructions, which is how
//! `build/tb bench` boots the device; anywhere else they are nanoseconds and compare with nothing.

use std::time::Instant;

use trustbox_api::{Bytes, Command, Error};

use crate::case::Stop;
use crate::check_eq;
use crate::context::{Context, Image, info, install, send, send_chunk};
use crate::forge::unsigned_image;
use crate::package::Package;

/// Bytes of the image that is decrypted.
const SIZE: usize = 1 << 20;

/// A figure.
#[derive(Debug)]
pub struct Figure {
    /// Its name.
    pub name: &'static str,
    /// Its value.
    pub value: f64,
    /// What it counts.
    pub unit: &'static str,
}

/// All figures.
pub fn all(context: &mut Context<'_>) -> Result<Vec<Figure>, Stop> {
    context.installed()?;
    let gcm = decryption(context)?;
    let (idle, extra) = secure_memory(context)?;
    let bytes = |name, value: u64| Figure { name, value: value as f64, unit: "bytes" };
    Ok(vec![
        Figure { name: "gcm_instr_per_byte", value: gcm, unit: "instructions per byte" },
        bytes("secure_mem_idle", idle),
        bytes("secure_mem_peak_extra", extra),
    ])
}

/// What an idle session costs of OP-TEE's heap and the memory of TAs, and what an install costs beside its payload.
pub fn secure_memory(context: &mut Context<'_>) -> Result<(u64, u64), Stop> {
    context.keyed()?;
    let none = Stop::Skipped("the firmware keeps no statistics");
    let memory = |reset| context.target.secure_memory(reset);
    let before = memory(false).ok_or(none)?.allocated;
    let mut link = context.connect()?;
    info(link.as_mut())?;
    let idle = memory(true).map_or(0, |now| now.allocated);
    let package = context.package(&context.image);
    install(link.as_mut(), &package.0, &package.1)?;
    let peak = memory(false).map_or(0, |now| now.peak);
    Ok((idle - before, (peak - idle).saturating_sub(package.1.len() as u64)))
}

/// AES-256-GCM of an image in the TA, per byte, the SHA-256 of the plaintext included.
///
/// Two installs that are refused on purpose: one after decrypting and hashing the image, one just before.
fn decryption(context: &mut Context<'_>) -> Result<f64, Stop> {
    let (uuid, version) = (context.image.uuid, context.image.version);
    let image = Image { bytes: unsigned_image(&uuid, version, &vec![7; SIZE]), uuid, version };
    let mut wrong_key = context.draft(&image);
    wrong_key.class_key = [9; 32];
    let before = finish(context, &wrong_key.seal(), Error::Decryption)?;
    let after =
        finish(context, &context.draft(&image).seal_with_digest(Bytes([0; 32])), Error::PlaintextDigest)?;
    Ok((after - before) / image.bytes.len() as f64)
}

/// Nanoseconds of an install's last step, which must be refused with `want`.
fn finish(context: &Context<'_>, package: &Package, want: Error) -> Result<f64, Stop> {
    let mut link = context.connect()?;
    send(link.as_mut(), Command::InstallBegin, &package.0)?;
    let mut offset = 0;
    for chunk in package.1.chunks(SIZE / 2) {
        send_chunk(link.as_mut(), offset, chunk)?;
        offset += chunk.len();
    }
    let start = Instant::now();
    let answer = send(link.as_mut(), Command::InstallFinish, &[]);
    let time = start.elapsed();
    check_eq!(answer, Err(want.into()), "finish");
    Ok(time.as_nanos() as f64)
}

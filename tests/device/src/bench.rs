//! Figures taken inside the device. They are instruction counts only where time counts instructions, which is how
//! `build/tb bench` boots the device; anywhere else they are nanoseconds and compare with nothing.

use std::time::Instant;

use trustbox_api::message::OpenRequest;
use trustbox_api::{Bytes, Command, Error};

use crate::case::Stop;
use crate::cases::attestation::attest;
use crate::check_eq;
use crate::context::{Context, Image};
use crate::forge::unsigned_image;
use crate::package::Package;
use crate::requests::{encode, info, install, send, send_chunk};
use crate::target::{Code, Link};

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

/// The command of an echo, in the enclave c-echo and in the plain TA.
pub const ECHO: u32 = 1;
/// Bytes that an echo takes and gives.
pub const INVOKE_BYTES: usize = 4096;

/// The command of a signature in the plain TA, and the bytes that it takes and gives.
pub const SIGN: u32 = 2;
const DIGEST: [u8; 32] = [0x5a; 32];
const SIGNATURE: usize = 64;

/// All figures; `sized` is the image that is installed, `plain` the plain TA on the same OP-TEE.
pub fn all(context: &mut Context<'_>, sized: &Image, plain: &mut dyn Link) -> Result<Vec<Figure>, Stop> {
    context.installed()?;
    let gcm = decryption(context)?;
    let (idle, extra) = secure_memory(context)?;
    let bytes = |name, value: u64| Figure { name, value: value as f64, unit: "bytes" };
    let mut figures = vec![
        Figure { name: "gcm_instr_per_byte", value: gcm, unit: "instructions per byte" },
        bytes("secure_mem_idle", idle),
        bytes("secure_mem_peak_extra", extra),
    ];
    figures.push(installation(context, sized)?);
    figures.extend(launch(context)?);
    figures.extend(attestation(context, plain)?);
    Ok(figures)
}

/// A token, the first of a boot and later ones; a signature alone; and what a token costs beyond it.
fn attestation(context: &mut Context<'_>, plain: &mut dyn Link) -> Result<[Figure; 4], Stop> {
    let mut link = context.connect()?;
    let mut token = || attest(link.as_mut(), &[0x5a; 32]);
    let first = median(1, &mut token)?;
    let later = median(9, &mut token)?;
    let signature = signature(plain)?;
    let beyond = Figure { name: "attest_beyond_signature", value: later - signature, unit: "instructions" };
    let figures = [("attest_first", first), ("attest", later), ("signature", signature)];
    let [a, b, c] = figures.map(|(name, time)| in_instructions(name, time));
    Ok([a, b, c, beyond])
}

/// A signature by the plain TA, whose key is there already.
pub fn signature(plain: &mut dyn Link) -> Result<f64, Code> {
    let mut sign = || plain.call(SIGN, &DIGEST, None, SIGNATURE);
    sign()?;
    median(9, sign)
}

/// A figure that counts instructions.
pub fn in_instructions(name: &'static str, value: f64) -> Figure {
    Figure { name, value, unit: "instructions" }
}

/// Nanoseconds of the middle one of `times` runs.
pub fn median<A, E>(times: usize, mut work: impl FnMut() -> Result<A, E>) -> Result<f64, E> {
    let mut all = Vec::new();
    for _ in 0..times {
        let start = Instant::now();
        work()?;
        all.push(start.elapsed().as_nanos());
    }
    all.sort_unstable();
    Ok(all[times / 2] as f64)
}

/// As [`median`], after two that do not count: the first times, Linux makes the pages of the file, which is half of the work.
pub fn warm<A, E>(times: usize, mut work: impl FnMut() -> Result<A, E>) -> Result<f64, E> {
    (0..2).try_for_each(|_| work().map(drop))?;
    median(times, work)
}

/// An install from opening the session to the end.
fn installation(context: &mut Context<'_>, sized: &Image) -> Result<Figure, Stop> {
    context.keyed()?;
    let package = context.package(sized);
    let time = warm(5, || -> Result<(), Stop> {
        Ok(install(context.connect()?.as_mut(), &package.0, &package.1)?)
    })?;
    Ok(in_instructions("install", time))
}

/// A session to the TA, a launch in it, and a call of what was launched.
fn launch(context: &mut Context<'_>) -> Result<[Figure; 3], Stop> {
    let c_echo = context.c_echo.clone();
    context.with(&c_echo)?;
    let open = encode(&OpenRequest { uuid: c_echo.uuid });
    // Closing is not part of opening: sessions stay until all are open.
    let mut links = Vec::new();
    let session = median(5, || context.connect().map(|link| links.push(link)))?;
    let mut idle = links.iter_mut();
    let launch = median(5, || -> Result<(), Stop> {
        let link = idle.next().ok_or(Stop::Skipped("no session"))?;
        Ok(send(link.as_mut(), Command::OpenEnclave, &open)?)
    })?;
    let link = links.last_mut().ok_or(Stop::Skipped("no session"))?;
    let request = [0x5a; INVOKE_BYTES];
    let invoke = median(9, || match link.invoke(ECHO, &request, INVOKE_BYTES) {
        None => Err(Stop::Skipped("enclaves do not run here")),
        Some(reply) => {
            check_eq!(reply?.as_slice(), request, "echo");
            Ok(())
        }
    })?;
    let figures = [("session", session), ("launch", launch), ("invoke_4k", invoke)];
    Ok(figures.map(|(name, time)| in_instructions(name, time)))
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

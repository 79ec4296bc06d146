//! Root calls what is not meant for it, changes the memory of calls that are under way, and uses everything up.

use std::fs;
use std::path::Path;
use std::process::Command as Process;

use trustbox_api::limits::MAX_SESSIONS;
use trustbox_api::message::{InstallChunkRequest, OpenRequest};
use trustbox_api::{Command, Error};

use crate::case::Stop;
use crate::context::Context;
use crate::hostile::{back, healthy};
use crate::random::Random;
use crate::requests::{encode, send, send_chunk};
use crate::steps::view;
use crate::target::{Code, RawParam};
use crate::{check, check_eq};

/// Pseudo-TAs that serve Linux nothing: secstor and system.
const CLOSED: [&str; 2] = ["6e256cba-fc4d-4941-ad09-2ca1860342dd", "3a2f8978-5dc0-11e8-9c2d-fa7ae01bbebc"];
/// Pseudo-TAs that may answer: attestation, list of devices, statistics of a `-dev` firmware.
const OPEN: [&str; 3] = [
    "39800861-182a-4720-9b67-2bcd622bc0b5",
    "7011a688-ddde-4053-a5a9-7b3c4ddf13b8",
    "d96a5b40-e2c7-b1af-8794-1002a5d5c61b",
];
/// Calls of each that answers, and the commands they have.
const CALLS: u64 = 40;
const COMMANDS: u64 = 12;
/// Times that the memory of each call is rewritten.
const ROUNDS: u64 = 3;
const RECORD: u32 = 1;

/// Changes manifest and ciphertext of an install while the TA reads them: what is installed is what was signed.
pub fn rewrite_install(context: &mut Context<'_>, random: &mut Random) -> Result<(), Stop> {
    let before = healthy(context)?;
    let (manifest, ciphertext) = context.package(&context.image);
    let folder = Scratch::new()?;
    let manifest = folder.file("manifest", &manifest)?;
    let chunk = folder.file("chunk", &encode(&InstallChunkRequest { offset: 0 }))?;
    let ciphertext = folder.file("ciphertext", &ciphertext)?;
    let calls = [
        format!("{}:{manifest}", Command::InstallBegin as u32),
        format!("{}:{chunk}:{ciphertext}", Command::InstallChunk as u32),
        format!("{}:-", Command::InstallFinish as u32),
        format!("{}:-", Command::InstallAbort as u32),
    ];
    for (command, code) in rewrite(context, random, &calls)? {
        let ours = code == 0 || Error::from_code(code).is_some();
        check!(ours, "command {command} with memory that changes: {:?}", Code(code));
    }
    back(context, &before, "an install with memory that changes")
}

/// Changes what an enclave is sent while it reads it: each accepted reading counts once.
pub fn rewrite_call(context: &mut Context<'_>, random: &mut Random) -> Result<(), Stop> {
    let before = healthy(context)?;
    let folder = Scratch::new()?;
    let open = folder.file("open", &encode(&OpenRequest { uuid: context.image.uuid }))?;
    let reading = folder.file("reading", b"0000000000001")?;
    let record = format!("{}.{RECORD}:{reading}", Command::InvokeEnclave as u32);
    let calls = [
        format!("{}:{open}", Command::OpenEnclave as u32),
        record.clone(),
        record,
        format!("{}:-", Command::CloseEnclave as u32),
    ];
    let answers = rewrite(context, random, &calls)?;
    let taken = answers.iter().filter(|answer| **answer == (Command::InvokeEnclave as u32, 0)).count();
    let dead = [Code::TARGET_DEAD.0, Error::EnclavePanicked.code()];
    let died = answers.iter().find(|(_, code)| dead.contains(code));
    check!(died.is_none(), "with memory that changes: {died:?}");
    let after = view(context)?;
    let readings = |view: &crate::steps::View| view.meter.unwrap_or_default().readings;
    check_eq!(readings(&after), readings(&before) + taken as u64, "readings after {taken} were taken");
    Ok(())
}

/// Opens what is not for Linux, and calls what answers with parameters of any kind.
pub fn direct(context: &mut Context<'_>, random: &mut Random) -> Result<(), Stop> {
    let before = healthy(context)?;
    let enclave = context.image.uuid.to_string();
    for uuid in CLOSED.iter().copied().chain([enclave.as_str()]) {
        let answer = context.target.connect_to(uuid).ok_or(Stop::Skipped("there is no OP-TEE"))?;
        check!(answer.is_err(), "{uuid} serves Linux");
    }
    for uuid in OPEN {
        let Some(Ok(mut link)) = context.target.link_to(uuid) else { continue };
        for _ in 0..CALLS {
            let params = std::array::from_fn(|_| parameter(random));
            // Whatever it says: the TEE must stand it.
            let _ = link.raw(random.below(COMMANDS) as u32, params);
        }
    }
    back(context, &before, "calls of pseudo-TAs")
}

/// Takes every session, and secure memory with an install and with enclaves, then more.
pub fn exhaust(context: &mut Context<'_>, random: &mut Random) -> Result<(), Stop> {
    let before = healthy(context)?;
    let (manifest, _) = context.package(&context.image);
    let open = encode(&OpenRequest { uuid: context.image.uuid });
    let mut links = Vec::new();
    let refused = loop {
        match context.target.connect() {
            Ok(link) => links.push(link),
            Err(code) => break code,
        }
        check!(links.len() <= MAX_SESSIONS, "{} sessions", links.len());
    };
    check!(refused != Code::TARGET_DEAD, "a session too many: {refused:?}");
    for link in &mut links {
        let answer = match random.below(3) {
            0 => send(link.as_mut(), Command::InstallBegin, &manifest),
            1 => send_chunk(link.as_mut(), 0, &[0x5a; 4096]),
            _ => send(link.as_mut(), Command::OpenEnclave, &open),
        };
        check!(answer != Err(Code::TARGET_DEAD), "with everything used up: {answer:?}");
    }
    drop(links);
    back(context, &before, "everything was used up")
}

fn parameter(random: &mut Random) -> RawParam {
    let size = random.below(9000) as usize;
    match random.below(9) {
        0 => RawParam::None,
        1 => RawParam::ValueInput(random.below(16) as u32, u32::MAX),
        2 => RawParam::ValueOutput,
        3 => RawParam::ValueInout(size as u32, 0),
        4 => RawParam::Input(vec![0xa5; size]),
        5 => RawParam::Output(size),
        6 => RawParam::Inout(vec![0; size]),
        7 => RawParam::NullInput(size),
        _ => RawParam::NullOutput(size),
    }
}

/// Commands and codes of calls whose memory was rewritten.
fn rewrite(context: &Context<'_>, random: &mut Random, calls: &[String]) -> Result<Vec<(u32, u32)>, Stop> {
    let program = context.rewrite.as_ref().ok_or(Stop::Skipped("no program that rewrites memory"))?;
    let (seed, rounds) = (random.below(u64::MAX).to_string(), ROUNDS.to_string());
    let output = Process::new(program).args([seed, rounds]).args(calls).output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    check!(output.status.success(), "{}: {stderr}", output.status);
    let text = String::from_utf8(output.stdout)?;
    let answers: Option<Vec<_>> = text.lines().map(answer).collect();
    let answers = answers.ok_or_else(|| Stop::Failed(format!("no answers: {text:?}")))?;
    check_eq!(answers.len(), calls.len() * ROUNDS as usize, "answers");
    Ok(answers)
}

/// `COMMAND 0xCODE`.
fn answer(line: &str) -> Option<(u32, u32)> {
    let (command, code) = line.split_once(' ')?;
    Some((command.parse().ok()?, u32::from_str_radix(code.strip_prefix("0x")?, 16).ok()?))
}

/// A folder for what a program reads.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new() -> std::io::Result<Self> {
        let folder = std::env::temp_dir().join(format!("trustbox-test-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }

    fn file(&self, name: &str, content: &[u8]) -> std::io::Result<String> {
        let path = self.0.join(name);
        fs::write(&path, content)?;
        Ok(Path::new(&path).display().to_string())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A folder of leftovers in /tmp is no reason to fail.
        let _ = fs::remove_dir_all(&self.0);
    }
}

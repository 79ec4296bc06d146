//! Many threads at once: each answer is a number, and the device is as before.

use std::fs;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use trustbox_api::command::{Shape, TABLE};
use trustbox_api::key::Uuid;
use trustbox_api::limits::MAX_REPLY;
use trustbox_api::message::{
    AttestRequest, ChallengeRequest, InstallChunkRequest, OpenRequest, Purpose, UninstallRequest,
};
use trustbox_api::{Command, Error};

use crate::case::Stop;
use crate::context::Context;
use crate::hostile::{back, healthy};
use crate::package::Package;
use crate::random::Random;
use crate::requests::{encode, install, send};
use crate::target::{Code, Connector, Link};

/// Threads at once.
const THREADS: usize = 8;
/// Sessions of each thread, and calls in each session.
const SESSIONS: u64 = 3;
const CALLS: u64 = 8;
/// How long a thread may take: calls wait for each other, and a device that hangs must not take the suite with it.
const LIMIT: Duration = Duration::from_secs(300);
/// The meter's command that shows its total.
const QUERY: u32 = 2;

/// Every command, right and wrong, from eight threads.
pub fn everything(context: &mut Context<'_>, random: &mut Random) -> Result<(), Stop> {
    let before = healthy(context)?;
    in_threads(context, random, |link, random, uuid, package| {
        for _ in 0..CALLS {
            fair(any_call(link, random, uuid, package))?;
        }
        Ok(())
    })?;
    back(context, &before, "a race over all commands")
}

/// Installs, launches and removals of one enclave from eight threads.
pub fn one_enclave(context: &mut Context<'_>, random: &mut Random) -> Result<(), Stop> {
    let before = healthy(context)?;
    in_threads(context, random, |link, random, uuid, package| match random.below(4) {
        0 => fair(install(link, &package.0, &package.1)),
        1 => {
            let request = UninstallRequest { uuid, erase: false };
            fair(send(link, Command::Uninstall, &encode(&request)))
        }
        _ => {
            fair(send(link, Command::OpenEnclave, &encode(&OpenRequest { uuid })))?;
            fair(link.invoke(QUERY, &[], MAX_REPLY).map_or(Ok(()), |answer| answer.map(drop)))
        }
    })?;
    healthy(context)?;
    back(context, &before, "a race for one enclave")
}

type Work = fn(&mut dyn Link, &mut Random, Uuid, &Package) -> Result<(), String>;

/// The work in sessions of eight threads; the first complaint ends the act, as does a thread that does not end.
fn in_threads(context: &Context<'_>, random: &mut Random, work: Work) -> Result<(), Stop> {
    let (sender, receiver) = channel();
    for _ in 0..THREADS {
        let connect = context.target.connector().ok_or(Stop::Skipped("the fake has one thread"))?;
        let (uuid, package) = (context.image.uuid, context.package(&context.image));
        let mut random = Random::new(random.below(u64::MAX));
        let sender = sender.clone();
        thread::spawn(move || sender.send(sessions(&connect, &mut random, work, uuid, &package)));
    }
    for _ in 0..THREADS {
        let answer = receiver.recv_timeout(LIMIT);
        answer
            .map_err(|_| Stop::Failed(format!("a thread had not ended after {LIMIT:?}")))?
            .map_err(Stop::Failed)?;
    }
    Ok(())
}

fn sessions(
    connect: &Connector,
    random: &mut Random,
    work: Work,
    uuid: Uuid,
    package: &Package,
) -> Result<(), String> {
    let target = connect().map_err(|code| format!("no TEE: {code:?}"))?;
    for _ in 0..SESSIONS {
        match target.connect() {
            Ok(mut link) => work(link.as_mut(), random, uuid, package)?,
            Err(code) => fair(Err(code))?,
        }
    }
    Ok(())
}

/// Done or refused, but no end of the TA or of an enclave.
fn fair(answer: Result<(), Code>) -> Result<(), String> {
    match answer {
        Err(code) if code == Code::TARGET_DEAD || code == Error::EnclavePanicked.into() => {
            Err(format!("in a race: {code:?}"))
        }
        _ => Ok(()),
    }
}

/// One command with a request that is right, wrong or no request at all.
fn any_call(link: &mut dyn Link, random: &mut Random, uuid: Uuid, package: &Package) -> Result<(), Code> {
    match random.below(10) {
        0 => send(link, Command::InstallBegin, &package.0),
        1 => chunk(link, &package.1),
        2 => send(link, Command::InstallFinish, &[]),
        3 => send(link, Command::OpenEnclave, &encode(&OpenRequest { uuid })),
        4 => link.invoke(QUERY, &[], MAX_REPLY).map_or(Ok(()), |answer| answer.map(drop)),
        5 => send(link, Command::Challenge, &encode(&ChallengeRequest { purpose: Purpose::ImportKey })),
        6 => send(link, Command::Attest, &encode(&AttestRequest { nonce: [7; 32].into_iter().collect() })),
        7 => send(link, Command::List, &[]),
        _ => garbage(link, random),
    }
}

fn chunk(link: &mut dyn Link, ciphertext: &[u8]) -> Result<(), Code> {
    let request = encode(&InstallChunkRequest { offset: 0 });
    link.call(Command::InstallChunk as u32, &request, Some(ciphertext), MAX_REPLY).map(drop)
}

fn garbage(link: &mut dyn Link, random: &mut Random) -> Result<(), Code> {
    let rule = &TABLE[random.below(TABLE.len() as u64) as usize];
    let request: Vec<u8> = (0..random.below(64)).map(|_| random.below(256) as u8).collect();
    let data = (rule.shape == Shape::MessageWithData).then_some(&request[..]);
    match rule.shape {
        Shape::Forward => link.invoke(9999, &request, 64).map_or(Ok(()), |answer| answer.map(drop)),
        _ => link.call(rule.command as u32, &request, data, MAX_REPLY).map(drop),
    }
}

/// Where in the kernel the threads in a folder of /proc wait, as far as it says.
pub(crate) fn waiting(folder: &str) -> String {
    let threads = fs::read_dir(folder).into_iter().flatten().flatten();
    let stack = |thread: fs::DirEntry| {
        let stack = fs::read_to_string(thread.path().join("stack")).ok()?;
        let calls: Vec<_> = stack.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
        Some(format!("; thread {} waits in {}", thread.file_name().display(), calls.join(" < ")))
    };
    threads.filter_map(stack).collect()
}

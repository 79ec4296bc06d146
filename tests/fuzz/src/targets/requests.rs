//! One target for each command: any request, at any point of a device's and a session's life.
//!
//! An input is three bytes that say where the device and the session stand and how the rest is wrapped, then the rest: the
//! request, the payload of a statement that is signed on the way, or what follows an enclave's ticket. Where a command takes
//! bulk data, one byte more says how long the request is.

use trustbox_api::command::{Command, Rule, Shape, TABLE};
use trustbox_api::log::Channel;
use trustbox_api::message::{
    AttestRequest, ChallengeRequest, CsrRequest, DestroyKeyRequest, InstallChunkRequest, LogRequest,
    OpenRequest, Purpose, UninstallRequest,
};
use trustbox_api::statement::{Audience, Decommission, Kind, Lock, Revocation, Revoked, RotateRoot};
use trustbox_api::{Bytes, Error};

use crate::oracle;
use crate::quick::key;
use crate::target::Target;
use crate::words::{
    AUTHORITY, ENCLAVE, NEXT_ROOT, PUBLISHER, RELEASER, REVOKER, ROOT, bundle, class_key, delegations, envelope,
    legacy_package, package, pin_root, said,
};
use crate::world::{Link, Stage, World, encode, on, send};

/// How the rest of an input becomes a request.
const RAW: u8 = 0;
/// Numbers up to here sign it.
const LAST_SIGNER: u8 = NEXT_ROOT;
/// The enclave's ticket in front of it.
const WITH_TICKET: u8 = LAST_SIGNER + 1;

/// Where a session stands.
const IDLE: u8 = 0;
const INSTALLING: u8 = 1;
const ENCLAVE_OPEN: u8 = 2;
const OF_ENCLAVE: u8 = 3;

/// A target for each command.
pub fn targets() -> Vec<Target> {
    TABLE.iter().map(target).collect()
}

fn target(rule: &'static Rule) -> Target {
    let about = format!("command {}, with any request", rule.command as u32);
    Target::new(rule.name, &about, seeds(rule.command), move |input| run(rule, input))
}

fn run(rule: &Rule, input: &[u8]) {
    let [stage, situation, wrapping, rest @ ..] = input else { return };
    on(Stage::of(*stage), |world| {
        let Ok(mut link) = session(world, *situation) else { return };
        let (request, data) = parts(rule.shape, rest);
        let request = wrapped(world, *wrapping, request);
        let answer = oracle::call(world, &mut link, rule.command as u32, &request, data);
        if answer.is_ok() {
            drop(link);
            oracle::look(world);
        } else if rule.shape == Shape::Forward {
            let open = link.enclave().is_ok();
            assert!(!open || situation % 4 == ENCLAVE_OPEN, "an enclave that nobody opened");
        }
    });
}

/// A session in a situation, where the device lets it come there.
fn session(world: &World, situation: u8) -> Result<Link, Error> {
    let caller = (situation % 4 == OF_ENCLAVE).then_some(ENCLAVE);
    let mut link = world.open(caller)?;
    match situation % 4 {
        INSTALLING => send(&mut link, Command::InstallBegin, &envelope(&package(9).0, PUBLISHER))?,
        ENCLAVE_OPEN => send(&mut link, Command::OpenEnclave, &encode(&OpenRequest { uuid: ENCLAVE }))?,
        _ => {}
    }
    Ok(link)
}

fn parts(shape: Shape, rest: &[u8]) -> (&[u8], &[u8]) {
    match (shape, rest) {
        (Shape::MessageWithData, [length, rest @ ..]) => {
            rest.split_at_checked(usize::from(*length)).unwrap_or((rest, &[]))
        }
        _ => (rest, &[]),
    }
}

fn wrapped(world: &World, wrapping: u8, rest: &[u8]) -> Vec<u8> {
    match (wrapping % (WITH_TICKET + 1), world.ticket) {
        (signer @ AUTHORITY..=LAST_SIGNER, _) => envelope(rest, signer),
        (WITH_TICKET, Some(ticket)) => [&encode(&ticket), rest].concat(),
        _ => rest.to_vec(),
    }
}

/// For each command, requests that are granted.
fn seeds(command: Command) -> Vec<Vec<u8>> {
    match command {
        Command::Info | Command::DeviceKey | Command::DiskKey | Command::List => {
            Stage::ALL.iter().map(|stage| seed(*stage, IDLE, RAW, &[])).collect()
        }
        Command::Challenge => challenges(),
        Command::Provision | Command::Lock | Command::RotateRoot | Command::Decommission => life(command),
        Command::Authorise => {
            delegations(2).iter().map(|said| seed(Stage::Provisioned, IDLE, ROOT, said)).collect()
        }
        Command::ImportKey => on(Stage::Locked, |world| {
            let bundle = bundle(world.id().expect("an id"), world.import_nonce, 2);
            vec![seed(Stage::Locked, IDLE, RELEASER, &bundle)]
        }),
        Command::Revoke => vec![seed(Stage::Locked, IDLE, REVOKER, &revocation())],
        Command::InstallBegin => vec![seed(Stage::Locked, IDLE, PUBLISHER, &package(9).0)],
        Command::InstallLegacy => vec![seed(Stage::Locked, IDLE, RAW, &encode(&legacy_package(4).0))],
        Command::InstallChunk => vec![seed(Stage::Locked, INSTALLING, RAW, &chunk())],
        Command::InstallFinish | Command::InstallAbort => {
            vec![seed(Stage::Locked, INSTALLING, RAW, &[]), seed(Stage::Interrupted, INSTALLING, RAW, &[])]
        }
        Command::InvokeEnclave | Command::CloseEnclave => vec![seed(Stage::Locked, ENCLAVE_OPEN, RAW, &[])],
        Command::OpenEnclave => of_all_stages(&encode(&OpenRequest { uuid: ENCLAVE })),
        Command::Uninstall => {
            [true, false].map(|erase| encode(&UninstallRequest { uuid: ENCLAVE, erase })).iter().flat_map(|request| of_all_stages(request)).collect()
        }
        Command::DestroyKey => of_all_stages(&encode(&DestroyKeyRequest { key: class_key() })),
        Command::Log => Channel::ALL.iter().map(|channel| encode(&LogRequest { channel: *channel })).flat_map(|request| of_all_stages(&request)).collect(),
        Command::Attest => of_all_stages(&encode(&AttestRequest { nonce: [4; 32].into_iter().collect() })),
        Command::Csr => of_all_stages(&encode(&CsrRequest { nonce: Bytes([4; 32]) })),
        Command::EnclaveReport => of_an_enclave(&[&[4; 32][..], &[3, 1, 2, 3, 0]].concat()),
        Command::EnclaveCounter => of_an_enclave(&[1, 5]),
        Command::EnclaveNote | Command::EnclaveKey => of_an_enclave(b"\x04text"),
    }
}

fn challenges() -> Vec<Vec<u8>> {
    use Purpose::{Decommission, ImportKey, Lock, Provision, RotateRoot};
    let all = [Provision, ImportKey, Lock, RotateRoot, Decommission];
    all.iter().flat_map(|purpose| of_all_stages(&encode(&ChallengeRequest { purpose: *purpose }))).collect()
}

/// The statement that each of four stages waits for.
fn life(command: Command) -> Vec<Vec<u8>> {
    let stage = match command {
        Command::Provision => Stage::Blank,
        Command::Lock => Stage::Provisioned,
        Command::RotateRoot => Stage::Rotating,
        _ => Stage::Retiring,
    };
    on(stage, |world| {
        let (id, nonce) = (world.id().expect("an id"), world.nonce);
        let audience = Audience::Device(id);
        let (payload, signer) = match command {
            Command::Provision => (pin_root(id, nonce), AUTHORITY),
            Command::Lock => (said(Kind::Lock, audience, 0, &Lock { nonce }), AUTHORITY),
            Command::RotateRoot => {
                (said(Kind::RotateRoot, audience, 0, &RotateRoot { nonce, root: key(NEXT_ROOT) }), ROOT)
            }
            _ => (said(Kind::Decommission, audience, 0, &Decommission { nonce }), ROOT),
        };
        vec![seed(stage, IDLE, signer, &payload)]
    })
}

fn revocation() -> Vec<u8> {
    let items = [
        Revoked::Key(key(RELEASER).id()),
        Revoked::Enclave { uuid: ENCLAVE, floor: 3 },
        Revoked::ClassKey { name: class_key().name, floor: 2 },
    ];
    said(Kind::Revocation, Audience::Fleet, 1, &Revocation { items: items.into_iter().collect() })
}

fn chunk() -> Vec<u8> {
    let request = encode(&InstallChunkRequest { offset: 0 });
    [&[request.len() as u8], &request[..], &package(9).1].concat()
}

fn of_all_stages(request: &[u8]) -> Vec<Vec<u8>> {
    Stage::ALL.iter().map(|stage| seed(*stage, IDLE, RAW, request)).collect()
}

fn of_an_enclave(rest: &[u8]) -> Vec<Vec<u8>> {
    vec![seed(Stage::Locked, OF_ENCLAVE, WITH_TICKET, rest)]
}

fn seed(stage: Stage, situation: u8, wrapping: u8, rest: &[u8]) -> Vec<u8> {
    [&[stage as u8, situation, wrapping], rest].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A seed that is refused starts nowhere: of each command at least one is granted.
    #[test]
    fn seeds_are_granted() {
        for rule in TABLE.iter().filter(|rule| rule.shape != Shape::Forward) {
            let granted = seeds(rule.command).iter().any(|seed| {
                let [stage, situation, wrapping, rest @ ..] = &seed[..] else { return false };
                on(Stage::of(*stage), |world| {
                    let mut link = session(world, *situation).expect("a session");
                    let (request, data) = parts(rule.shape, rest);
                    let request = wrapped(world, *wrapping, request);
                    let answer = oracle::call(world, &mut link, rule.command as u32, &request, data);
                    answer.is_ok() || rule.command == Command::InstallFinish && answer == Err(Error::Incomplete)
                })
            });
            assert!(granted, "{}", rule.name);
        }
    }
}

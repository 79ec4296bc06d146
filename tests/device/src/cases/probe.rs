//! 82xx: what enclaves may ask of the TA, and what nobody may ask of an enclave; the probe of `tests/enclaves` asks.

use std::process::Command as Process;
use std::time::Instant;
use std::{fs, thread};

use trustbox_api::command::{Caller, Shape, TABLE};
use trustbox_api::launch::Enclave;
use trustbox_api::limits::MAX_REPLY;
use trustbox_api::log::{Channel, Event, LogReply};
use trustbox_api::message::{LogRequest, OpenRequest};
use trustbox_api::{Command, Error, PublicKey, TRUSTBOX_UUID, token};
use trustbox_verifier::Token;

use super::removal::remove;
use crate::case::{Case, Stop};
use crate::context::{Context, Image, optee_only};
use crate::forge::{flip, public};
use crate::requests::{ask, encode, info, install, send};
use crate::target::{Code, Link};
use crate::{check, check_eq};

/// Where tee-supplicant looks for trusted applications.
const TA_FOLDER: &str = "/lib/optee_armtz";

/// The cases.
pub const CASES: &[Case] = &[
    Case {
        id: 8200,
        name: "an old session finishes as the old version while the new one is installed",
        invariants: &["INV-6", "INV-8"],
        run: upgrade_under_way,
    },
    Case { id: 8201, name: "an enclave learns what it is", invariants: &["INV-9"], run: identity },
    Case {
        id: 8202,
        name: "a report says which enclave, version and digest speaks",
        invariants: &["INV-8", "INV-9"],
        run: report,
    },
    Case { id: 8203, name: "counters only rise", invariants: &["INV-5", "INV-11"], run: counters },
    Case {
        id: 8204,
        name: "notes and keys are the enclave's own",
        invariants: &["INV-1", "INV-9"],
        run: notes_and_keys,
    },
    Case {
        id: 8205,
        name: "an enclave may use the commands of enclaves only",
        invariants: &["INV-9", "INV-10"],
        run: forbidden,
    },
    Case { id: 8206, name: "a forged ticket is refused", invariants: &["INV-9"], run: forged_ticket },
    Case {
        id: 8207,
        name: "a ticket is good for its own UUID only",
        invariants: &["INV-9"],
        run: borrowed_ticket,
    },
    Case {
        id: 8209,
        name: "a panicking enclave is reported and hurts nobody",
        invariants: &["INV-10"],
        run: panic,
    },
    Case {
        id: 8210,
        name: "an enclave that asks stops at its time limit",
        invariants: &["INV-11"],
        run: time_limit,
    },
    Case {
        id: 8215,
        name: "an enclave that asks stops when its client cancels",
        invariants: &["INV-11"],
        run: cancelled,
    },
    Case { id: 8211, name: "two enclaves run at once", invariants: &["INV-11"], run: two_at_once },
    Case {
        id: 8212,
        name: "an enclave in C keeps to the same rules",
        invariants: &["INV-9"],
        run: c_enclave,
    },
    Case {
        id: 8213,
        name: "an older TrustBox TA in Linux's file system never runs",
        invariants: &["INV-3", "INV-5"],
        run: impostor,
    },
    Case {
        id: 8214,
        name: "sealed data survive removal, unless they are erased",
        invariants: &["INV-1", "INV-6"],
        run: sealed_data,
    },
];

const IDENTITY: u32 = 1;
const SPIN: u32 = 2;
const PANIC: u32 = 3;
const REPORT: u32 = 4;
const COUNTER: u32 = 5;
const NOTE: u32 = 6;
const KEY: u32 = 7;
const PUT: u32 = 8;
const GET: u32 = 9;
const BUSY: u32 = 10;
const FORBIDDEN: u32 = 11;
const FORGED: u32 = 12;
const TICKET: u32 = 13;
const WITH_TICKET: u32 = 14;

/// A session with an enclave open.
fn open<'a>(context: &Context<'a>, image: &Image) -> Result<Box<dyn Link + 'a>, Stop> {
    let mut link = context.connect()?;
    send(link.as_mut(), Command::OpenEnclave, &encode(&OpenRequest { uuid: image.uuid }))?;
    Ok(link)
}

/// The probe in its second version, installed and open.
fn probing<'a>(context: &mut Context<'a>) -> Result<Box<dyn Link + 'a>, Stop> {
    optee_only(context)?;
    let probe = context.probe[1].clone();
    context.with(&probe)?;
    open(context, &probe)
}

fn call(link: &mut dyn Link, command: u32, request: &[u8]) -> Result<Vec<u8>, Code> {
    link.invoke(command, request, MAX_REPLY).expect("on OP-TEE only")
}

fn text(link: &mut dyn Link, command: u32, request: &str) -> Result<String, Stop> {
    Ok(String::from_utf8(call(link, command, request.as_bytes())?)?)
}

/// A result that the probe saw, as it writes it.
fn shown(error: Error) -> String {
    format!("{:#010x}", error.code())
}

fn identity(context: &mut Context<'_>) -> Result<(), Stop> {
    let mut link = probing(context)?;
    let Image { uuid, version, bytes } = &context.probe[1];
    let digest = trustbox_api::Bytes::<32>(<sha2::Sha256 as sha2::Digest>::digest(bytes).into());
    let want = format!("uuid={uuid} version={version} digest={digest}");
    check_eq!(text(link.as_mut(), IDENTITY, "")?, want, "identity");
    Ok(())
}

/// The nonce of every report.
const NONCE: [u8; 32] = [0x5a; 32];

/// A report over these data, and the key that should have signed it.
fn report_of(context: &Context<'_>, link: &mut dyn Link, data: &[u8]) -> Result<(Vec<u8>, PublicKey), Stop> {
    let token = call(link, REPORT, &[&NONCE, data].concat())?;
    let key = info(context.connect()?.as_mut())?.attestation_key;
    Ok((token, key.ok_or_else(|| Stop::Failed("no attestation key".into()))?))
}

fn report(context: &mut Context<'_>) -> Result<(), Stop> {
    let mut link = probing(context)?;
    let (token, key) = report_of(context, link.as_mut(), b"total=7")?;
    let (probe, device) = (&context.probe[1], info(context.connect()?.as_mut())?);
    let report = Token::parse(&token)?.verify_report(&key, &NONCE)?;
    let digest = trustbox_api::Bytes::<32>(<sha2::Sha256 as sha2::Digest>::digest(&probe.bytes).into());
    let publisher = public(&context.parties.publisher).id();
    let want = Enclave { uuid: probe.uuid, digest, version: probe.version, publisher };
    check_eq!(report.enclave, want, "enclave");
    check_eq!((report.data, report.transport_key), (&b"total=7"[..], None), "what it vouches for");
    let lifecycle = token::lifecycle(device.lifecycle, device.profile);
    check_eq!(report.claims.lifecycle, u64::from(lifecycle), "lifecycle");
    check_eq!(report.claims.components.len(), 3, "components");
    check!(Token::parse(&token)?.verify(&key, &NONCE).is_err(), "a report is taken for the device's token");
    check!(Token::parse(&token)?.verify_report(&key, &[0; 32]).is_err(), "another nonce");
    for bit in context.bits(token.len()) {
        let changed = flip(&token, bit);
        let believed = Token::parse(&changed).and_then(|token| token.verify_report(&key, &NONCE).map(drop));
        check!(believed.is_err(), "bit {bit} flipped and believed");
    }
    check!(call(link.as_mut(), REPORT, &[0; 32 + 65]).is_err(), "65 bytes of data");
    Ok(())
}

fn counters(context: &mut Context<'_>) -> Result<(), Stop> {
    let mut link = probing(context)?;
    let start: u64 = text(link.as_mut(), COUNTER, "2 0")?.parse()?;
    check_eq!(text(link.as_mut(), COUNTER, "2 3")?, (start + 3).to_string(), "after adding 3");
    let mut other = open(context, &context.probe[1])?;
    check_eq!(text(other.as_mut(), COUNTER, "2 1")?, (start + 4).to_string(), "from another session");
    let overflow = format!("2 {}", u64::MAX);
    for request in [overflow.as_str(), "4 0", "255 1"] {
        check!(call(link.as_mut(), COUNTER, request.as_bytes()).is_err(), "{request} was taken");
    }
    check_eq!(text(link.as_mut(), COUNTER, "2 0")?, (start + 4).to_string(), "in the end");
    Ok(())
}

fn notes_and_keys(context: &mut Context<'_>) -> Result<(), Stop> {
    let mut link = probing(context)?;
    text(link.as_mut(), NOTE, "seal broken")?;
    check!(call(link.as_mut(), NOTE, &[b'x'; 65]).is_err(), "a note of 65 bytes");
    let request = encode(&LogRequest { channel: Channel::Enclaves });
    let log: LogReply = ask(context.connect()?.as_mut(), Command::Log, &request)?;
    let last = log.ring.entries.last().map(|entry| entry.event);
    let uuid = context.probe[1].uuid;
    let want = Event::Noted { uuid, text: "seal broken".try_into().expect("a short text") };
    check_eq!(last, Some(want), "the last note");
    let (a, b) = (text(link.as_mut(), KEY, "a")?, text(link.as_mut(), KEY, "b")?);
    check!(a != b, "two labels give one key");
    check_eq!(text(open(context, &context.probe[1])?.as_mut(), KEY, "a")?, a, "the same label");
    Ok(())
}

fn forbidden(context: &mut Context<'_>) -> Result<(), Stop> {
    let mut link = probing(context)?;
    for rule in TABLE {
        let want = match (rule.caller.contains(&Caller::Enclave), rule.shape) {
            (true, _) => Error::BadMessage,
            (false, Shape::Message) => Error::WrongCaller,
            (false, _) => Error::BadParameters,
        };
        let answer = text(link.as_mut(), FORBIDDEN, &(rule.command as u32).to_string())?;
        check_eq!(answer, shown(want), "{}", rule.name);
    }
    Ok(())
}

fn forged_ticket(context: &mut Context<'_>) -> Result<(), Stop> {
    let mut link = probing(context)?;
    let ticket = call(link.as_mut(), TICKET, &[])?;
    for bit in context.bits(ticket.len()) {
        let answer = text(link.as_mut(), FORGED, &bit.to_string())?;
        let refused = answer == shown(Error::TicketInvalid) || answer == shown(Error::BadMessage);
        check!(refused, "bit {bit}: {answer}");
    }
    Ok(())
}

/// Linux carries the ticket of one enclave to another: the UUID that OP-TEE names does not fit. The probe takes its own
/// ticket from another session all the same, since that is what it is.
fn borrowed_ticket(context: &mut Context<'_>) -> Result<(), Stop> {
    let mut link = probing(context)?;
    let mut other = open(context, &context.probe[1])?;
    let own = call(other.as_mut(), TICKET, &[])?;
    let answer = String::from_utf8(call(link.as_mut(), WITH_TICKET, &own)?)?;
    check!(answer.parse::<u64>().is_ok(), "a ticket of its own: {answer}");
    let mut foreign = own;
    let meter = context.image.uuid.0;
    foreign[..16].copy_from_slice(&meter.0);
    let answer = String::from_utf8(call(link.as_mut(), WITH_TICKET, &foreign)?)?;
    check_eq!(answer, shown(Error::TicketInvalid), "a ticket under another UUID");
    Ok(())
}

fn upgrade_under_way(context: &mut Context<'_>) -> Result<(), Stop> {
    optee_only(context)?;
    let [old, new, _] = context.probe.clone();
    match context.with(&old) {
        Err(Stop::Failed(why)) if why.contains("VersionRollback") || why.contains("Revoked") => {
            return Err(Stop::Skipped("an earlier case or run needed the higher version"));
        }
        result => result?,
    }
    let mut running = open(context, &old)?;
    text(running.as_mut(), PUT, "colour green")?;
    let package = context.package(&new);
    install(context.connect()?.as_mut(), &package.0, &package.1)?;
    let mut fresh = open(context, &new)?;
    check_eq!(text(fresh.as_mut(), GET, "colour")?, "green", "sealed data after the upgrade");
    for (link, image) in [(&mut running, &old), (&mut fresh, &new)] {
        let line = text(link.as_mut(), IDENTITY, "")?;
        check!(line.contains(&format!("version={} ", image.version)), "{line}");
        let (token, key) = report_of(context, link.as_mut(), b"")?;
        let report = Token::parse(&token)?.verify_report(&key, &NONCE)?;
        check_eq!(report.enclave.version, image.version, "version in the report");
    }
    Ok(())
}

fn panic(context: &mut Context<'_>) -> Result<(), Stop> {
    let mut link = probing(context)?;
    check_eq!(call(link.as_mut(), PANIC, &[]), Err(Error::EnclavePanicked.into()), "the call");
    check_eq!(call(link.as_mut(), IDENTITY, &[]), Err(Error::WrongSequence.into()), "the next call");
    info(link.as_mut())?;
    send(link.as_mut(), Command::OpenEnclave, &encode(&OpenRequest { uuid: context.probe[1].uuid }))?;
    text(link.as_mut(), IDENTITY, "")?;
    Ok(())
}

fn time_limit(context: &mut Context<'_>) -> Result<(), Stop> {
    let mut link = probing(context)?;
    let start = Instant::now();
    let answer = link.invoke_within(1000, SPIN, &[], MAX_REPLY).expect("on OP-TEE")?;
    let took = start.elapsed();
    check!(answer.starts_with(b"stopped after "), "{:?}", String::from_utf8_lossy(&answer));
    check!(took.as_secs() < 30, "it took {took:?}");
    text(link.as_mut(), IDENTITY, "")?;
    Ok(())
}

fn cancelled(context: &mut Context<'_>) -> Result<(), Stop> {
    probing(context)?;
    let program = context.cancel.clone().ok_or(Stop::Skipped("no program that cancels"))?;
    let uuid = context.probe[1].uuid.to_string();
    let output = Process::new(program).args([&uuid, &SPIN.to_string()]).output()?;
    let answer = String::from_utf8_lossy(&output.stdout);
    check!(output.status.success(), "{}: {answer}", output.status);
    let milliseconds = answer.strip_prefix("stopped after ").and_then(|rest| rest.strip_suffix(" ms"));
    let milliseconds: u64 = milliseconds.ok_or_else(|| Stop::Failed(answer.to_string()))?.parse()?;
    check!((500..30_000).contains(&milliseconds), "it stopped after {milliseconds} ms");
    Ok(())
}

/// While one enclave is busy in a thread of its own, another answers.
fn two_at_once(context: &mut Context<'_>) -> Result<(), Stop> {
    probing(context)?;
    context.installed()?;
    let uuid = context.probe[1].uuid;
    let connect = context.target.connector().ok_or(Stop::Skipped("enclaves run only on OP-TEE"))?;
    let busy = thread::spawn(move || {
        let target = connect()?;
        let mut link = target.connect()?;
        send(link.as_mut(), Command::OpenEnclave, &encode(&OpenRequest { uuid }))?;
        let start = Instant::now();
        call(link.as_mut(), BUSY, b"3000")?;
        Ok::<_, Code>((start, Instant::now()))
    });
    let mut answers = Vec::new();
    while !busy.is_finished() {
        let mut link = open(context, &context.image)?;
        call(link.as_mut(), 2, &[])?;
        answers.push(Instant::now());
    }
    let (start, end) = busy.join().map_err(|_| "the other thread panicked")??;
    let during = answers.iter().filter(|at| **at > start && **at < end).count();
    check!(during >= 2, "{during} answers of the meter while the probe was busy");
    Ok(())
}

fn c_enclave(context: &mut Context<'_>) -> Result<(), Stop> {
    optee_only(context)?;
    let image = context.c_echo.clone();
    context.with(&image)?;
    let direct = context.target.connect_to(&image.uuid.to_string());
    check_eq!(direct, Some(Err(Code::ACCESS_DENIED)), "a session from Linux");
    let mut link = open(context, &image)?;
    check_eq!(call(link.as_mut(), 1, b"hello")?, b"hello", "echo");
    check_eq!(text(link.as_mut(), 2, "")?, image.uuid.to_string(), "the UUID it was launched with");
    let answer = link.invoke_within(1000, 3, &[], MAX_REPLY).expect("on OP-TEE")?;
    check_eq!(answer, b"stopped", "at its time limit");
    Ok(())
}

fn impostor(context: &mut Context<'_>) -> Result<(), Stop> {
    optee_only(context)?;
    let file = context.impostor.clone().ok_or(Stop::Skipped("no image to try with"))?;
    let before = info(context.connect()?.as_mut())?;
    // A file system of its own, as root can lay one over a root that is read-only.
    fs::create_dir_all(TA_FOLDER)?;
    as_root("mount", &["-t", "tmpfs", "tmpfs", TA_FOLDER])?;
    let planted = fs::copy(file, format!("{TA_FOLDER}/{TRUSTBOX_UUID}.ta"));
    let after = context.connect().and_then(|mut link| info(link.as_mut()));
    as_root("umount", &[TA_FOLDER])?;
    planted?;
    check_eq!(after?, before, "info with another TrustBox TA in Linux's file system");
    Ok(())
}

fn as_root(program: &str, words: &[&str]) -> Result<(), Stop> {
    let output = Process::new(program).args(words).output()?;
    check!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn sealed_data(context: &mut Context<'_>) -> Result<(), Stop> {
    let mut link = probing(context)?;
    let image = context.probe[1].clone();
    text(link.as_mut(), PUT, "shape round")?;
    let key = text(link.as_mut(), KEY, "k")?;
    drop(link);
    check_eq!(remove(context, image.uuid, false)?, Ok(()), "removal");
    let mut link = probing(context)?;
    check_eq!(text(link.as_mut(), GET, "shape")?, "round", "after removal");
    check_eq!(text(link.as_mut(), KEY, "k")?, key, "key after removal");
    drop(link);
    check_eq!(remove(context, image.uuid, true)?, Ok(()), "removal with its data");
    let mut link = probing(context)?;
    check!(call(link.as_mut(), GET, b"shape").is_err(), "erased data are back");
    check!(text(link.as_mut(), KEY, "k")? != key, "the key is back");
    Ok(())
}

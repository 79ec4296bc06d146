//! 8xxx: launching and calling an enclave; the meter of `tests/enclaves` is the one.

use trustbox_api::key::Uuid;
use trustbox_api::limits::MAX_REPLY;
use trustbox_api::message::OpenRequest;
use trustbox_api::{Command, Error};

use crate::case::{Case, Stop};
use crate::context::{Context, spare_uuid};
use crate::requests::{encode, send};
use crate::target::{Code, Link, RawParam};
use crate::{check, check_eq};

/// The cases.
pub const CASES: &[Case] = &[
    Case { id: 8001, name: "only what is installed launches", invariants: &["INV-3"], run: not_installed },
    Case {
        id: 8002,
        name: "one enclave per session, closed and opened again",
        invariants: &["INV-10"],
        run: open_close,
    },
    Case { id: 8003, name: "the meter adds up, across sessions", invariants: &["INV-8"], run: meter },
    Case {
        id: 8004,
        name: "the meter refuses what is no reading and keeps its total",
        invariants: &["INV-10"],
        run: meter_refuses,
    },
    Case {
        id: 8005,
        name: "an enclave refuses a session from Linux",
        invariants: &["INV-9"],
        run: direct_open,
    },
    Case {
        id: 8006,
        name: "Linux cannot install through the secstor pseudo-TA",
        invariants: &["INV-3"],
        run: secstor,
    },
    Case {
        id: 8007,
        name: "parameters of any type and size are forwarded or refused",
        invariants: &["INV-4", "INV-10"],
        run: forwarding,
    },
];

const RECORD: u32 = 1;
const QUERY: u32 = 2;

fn open(link: &mut dyn Link, uuid: Uuid) -> Result<(), Code> {
    send(link, Command::OpenEnclave, &encode(&OpenRequest { uuid }))
}

/// A session with the meter open, or a skip where enclaves do not run.
fn metering<'a>(context: &mut Context<'a>) -> Result<Box<dyn Link + 'a>, Stop> {
    context.installed()?;
    let mut link = context.connect()?;
    open(link.as_mut(), context.image.uuid)?;
    call(link.as_mut(), QUERY, "")?;
    Ok(link)
}

fn call(link: &mut dyn Link, command: u32, text: &str) -> Result<String, Stop> {
    match link.invoke(command, text.as_bytes(), MAX_REPLY) {
        Some(reply) => Ok(String::from_utf8(reply?)?),
        None => Err(Stop::Skipped("enclaves run only on OP-TEE")),
    }
}

/// Total and number of readings.
fn totals(link: &mut dyn Link) -> Result<(u64, u64), Stop> {
    let line = call(link, QUERY, "")?;
    let field = |name: &str| {
        let value = line.split_whitespace().find_map(|word| word.strip_prefix(name)).map(str::parse);
        value.ok_or_else(|| Stop::Failed(format!("no {name} in {line:?}")))
    };
    Ok((field("total=")??, field("readings=")??))
}

fn not_installed(context: &mut Context<'_>) -> Result<(), Stop> {
    context.installed()?;
    let mut link = context.connect()?;
    for uuid in [spare_uuid(), trustbox_api::TRUSTBOX_UUID] {
        check_eq!(open(link.as_mut(), uuid), Err(Error::NotInstalled.into()), "{uuid}");
    }
    check_eq!(
        send(link.as_mut(), Command::OpenEnclave, &[1, 2]),
        Err(Error::BadMessage.into()),
        "half a UUID"
    );
    Ok(())
}

fn open_close(context: &mut Context<'_>) -> Result<(), Stop> {
    context.installed()?;
    let uuid = context.image.uuid;
    let mut link = context.connect()?;
    for _ in 0..2 {
        open(link.as_mut(), uuid)?;
        check_eq!(open(link.as_mut(), uuid), Err(Error::WrongSequence.into()), "a second enclave");
        send(link.as_mut(), Command::CloseEnclave, &[])?;
        let again = send(link.as_mut(), Command::CloseEnclave, &[]);
        check_eq!(again, Err(Error::WrongSequence.into()), "closed twice");
    }
    Ok(())
}

fn meter(context: &mut Context<'_>) -> Result<(), Stop> {
    let mut link = metering(context)?;
    let (total, readings) = totals(link.as_mut())?;
    for reading in ["1500", "250", "0"] {
        call(link.as_mut(), RECORD, reading)?;
    }
    drop(link);
    let mut link = metering(context)?;
    check_eq!(totals(link.as_mut())?, (total + 1750, readings + 3), "total and readings");
    Ok(())
}

fn meter_refuses(context: &mut Context<'_>) -> Result<(), Stop> {
    let mut link = metering(context)?;
    let before = totals(link.as_mut())?;
    let long = "1".repeat(5000);
    for text in ["", "-1", "1.5", "watt", "18446744073709551616", "18446744073709551615", &long] {
        let answer = link.invoke(RECORD, text.as_bytes(), MAX_REPLY).expect("on OP-TEE");
        check!(answer.is_err(), "took {} bytes: {text:.20}", text.len());
    }
    let unknown = link.invoke(99, b"", MAX_REPLY).expect("on OP-TEE");
    check!(unknown.is_err(), "took command 99");
    let short = link.invoke(QUERY, b"", 3).expect("on OP-TEE");
    check!(short.is_err(), "a line fits into three bytes");
    check_eq!(totals(link.as_mut())?, before, "total and readings");
    Ok(())
}

fn direct_open(context: &mut Context<'_>) -> Result<(), Stop> {
    context.installed()?;
    match context.target.connect_to(&context.image.uuid.to_string()) {
        None => Err(Stop::Skipped("enclaves run only on OP-TEE")),
        Some(answer) => {
            check_eq!(answer, Err(Code::ACCESS_DENIED), "a session to the meter");
            Ok(())
        }
    }
}

fn secstor(context: &mut Context<'_>) -> Result<(), Stop> {
    match context.target.connect_to("6e256cba-fc4d-4941-ad09-2ca1860342dd") {
        None => Err(Stop::Skipped("pseudo-TAs exist only on OP-TEE")),
        Some(answer) => {
            check_eq!(answer, Err(Code::ACCESS_DENIED), "a session to secstor");
            Ok(())
        }
    }
}

/// Every combination of parameter kinds for the enclave, empty, null and large ones included.
fn forwarding(context: &mut Context<'_>) -> Result<(), Stop> {
    let mut link = metering(context)?;
    let before = totals(link.as_mut())?;
    let kinds = [
        RawParam::None,
        RawParam::ValueInput(1, 2),
        RawParam::ValueOutput,
        RawParam::ValueInout(3, 4),
        RawParam::Input(vec![]),
        RawParam::Input(vec![0x20; 100_000]),
        RawParam::Output(0),
        RawParam::Output(64),
        RawParam::Inout(vec![0; 4096]),
        RawParam::NullInput(0),
        RawParam::NullOutput(0),
    ];
    let invoke = Command::InvokeEnclave as u32;
    for a in &kinds {
        for b in &kinds {
            for c in &kinds {
                let head = RawParam::ValueInput(QUERY, 0);
                let answer = link.raw(invoke, [head, a.clone(), b.clone(), c.clone()]);
                let ours = matches!(answer, Some(Err(Code(code))) if code == Error::EnclavePanicked.code());
                check!(!ours, "the enclave panicked at {a:?} {b:?} {c:?}");
            }
        }
    }
    check_eq!(totals(link.as_mut())?, before, "total and readings");
    Ok(())
}

//! 1xxx: the interface itself. What is no request gets a number and changes nothing.

use trustbox_api::command::{Lifecycle, SessionState, Shape, TABLE};
use trustbox_api::limits::{MAX_REPLY, MAX_REQUEST};
use trustbox_api::message::Purpose;
use trustbox_api::{Command, Error};

use crate::case::{Case, Stop};
use crate::context::Context;
use crate::requests::{challenge, encode, info, send};
use crate::target::{Code, Link, RawParam};
use crate::{check, check_eq};

/// The cases.
pub const CASES: &[Case] = &[
    Case {
        id: 1001,
        name: "info answers the same in two sessions",
        invariants: &["INV-7"],
        run: info_is_stable,
    },
    Case { id: 1002, name: "unknown commands are refused", invariants: &["INV-10"], run: unknown_commands },
    Case { id: 1003, name: "wrong parameter types are refused", invariants: &["INV-10"], run: wrong_types },
    Case {
        id: 1004,
        name: "null and huge buffers are refused",
        invariants: &["INV-10", "INV-11"],
        run: hostile_buffers,
    },
    Case { id: 1005, name: "garbage requests are refused", invariants: &["INV-10"], run: garbage },
    Case { id: 1006, name: "a short reply buffer is an error", invariants: &["INV-10"], run: short_reply },
    Case { id: 1007, name: "commands out of order are refused", invariants: &["INV-10"], run: out_of_order },
];

fn info_is_stable(context: &mut Context<'_>) -> Result<(), Stop> {
    let first = info(context.connect()?.as_mut())?;
    let second = info(context.connect()?.as_mut())?;
    check_eq!(first, second, "second info");
    check!(first.device_id.0 != [0; 32], "device id is zero");
    Ok(())
}

fn unknown_commands(context: &mut Context<'_>) -> Result<(), Stop> {
    let mut link = context.connect()?;
    for command in [0, TABLE.len() as u32 + 1, 0xff, 0x8000_0000, u32::MAX] {
        let answer = link.call(command, &[], None, MAX_REPLY);
        check_eq!(answer, Err(Error::UnknownCommand.into()), "command {command}");
    }
    alive(link.as_mut())
}

/// Every command with every wrong type in every position.
fn wrong_types(context: &mut Context<'_>) -> Result<(), Stop> {
    let mut link = context.connect()?;
    for rule in TABLE {
        for params in wrong_params(rule.shape) {
            let shown = format!("{} with {params:?}", rule.name);
            let Some(answer) = link.raw(rule.command as u32, params) else {
                return Err(Stop::Skipped("parameter types exist only on OP-TEE"));
            };
            check_eq!(answer, Err(Error::BadParameters.into()), "{shown}");
        }
    }
    alive(link.as_mut())
}

fn wrong_params(shape: Shape) -> Vec<[RawParam; 4]> {
    let right = |position: usize| match (shape, position) {
        (Shape::Forward, 0) => RawParam::ValueInput(1, 0),
        (Shape::Forward, _) => RawParam::None,
        (_, 0) => RawParam::Input(vec![0]),
        (_, 1) => RawParam::Output(MAX_REPLY),
        (Shape::MessageWithData, 2) => RawParam::Input(vec![0]),
        _ => RawParam::None,
    };
    let kinds = [
        RawParam::None,
        RawParam::ValueInput(1, 2),
        RawParam::ValueOutput,
        RawParam::ValueInout(1, 2),
        RawParam::Input(vec![0]),
        RawParam::Output(8),
        RawParam::Inout(vec![0]),
    ];
    let type_of = std::mem::discriminant::<RawParam>;
    let positions = if shape == Shape::Forward { 0..1 } else { 0..4 };
    let mut out = Vec::new();
    for position in positions {
        for kind in kinds.iter().filter(|kind| type_of(kind) != type_of(&right(position))) {
            let mut params = [right(0), right(1), right(2), right(3)];
            params[position] = kind.clone();
            out.push(params);
        }
    }
    out
}

fn hostile_buffers(context: &mut Context<'_>) -> Result<(), Stop> {
    let mut link = context.connect()?;
    let none = || RawParam::None;
    let info = Command::Info as u32;
    let too_large = RawParam::Input(vec![0; MAX_REQUEST + 1]);
    let reply = || RawParam::Output(MAX_REPLY);
    let attempts = [
        (info, [RawParam::NullInput(0), reply(), none(), none()], Ok(())),
        (info, [RawParam::NullInput(1), reply(), none(), none()], Err(())),
        (info, [RawParam::NullInput(1 << 30), reply(), none(), none()], Err(())),
        (info, [too_large, reply(), none(), none()], Err(())),
        (info, [RawParam::Input(vec![0; 8 << 20]), reply(), none(), none()], Err(())),
        (info, [RawParam::NullInput(0), RawParam::NullOutput(0), none(), none()], Err(())),
        (info, [RawParam::NullInput(0), RawParam::NullOutput(MAX_REPLY), none(), none()], Err(())),
        (info, [RawParam::NullInput(0), RawParam::Output(8 << 20), none(), none()], Ok(())),
    ];
    for (command, params, want) in attempts {
        let shown = format!("{:?}", params.iter().map(size_of_param).collect::<Vec<_>>());
        let Some(answer) = link.raw(command, params) else {
            return Err(Stop::Skipped("raw buffers exist only on OP-TEE"));
        };
        check_eq!(answer.map_err(drop), want, "command {command} with {shown}");
    }
    alive(link.as_mut())
}

fn size_of_param(param: &RawParam) -> String {
    match param {
        RawParam::Input(bytes) | RawParam::Inout(bytes) => format!("{} bytes", bytes.len()),
        other => format!("{other:?}"),
    }
}

/// Each command with requests that cannot be right, in the lifecycle the device happens to have.
fn garbage(context: &mut Context<'_>) -> Result<(), Stop> {
    let mut link = context.connect()?;
    let before = info(link.as_mut())?;
    for rule in TABLE.iter().filter(|rule| rule.shape == Shape::Message) {
        for request in [vec![0xff], vec![0xff; 64], vec![0; 300], vec![0x80; MAX_REQUEST]] {
            let answer = link.call(rule.command as u32, &request, None, MAX_REPLY);
            let Err(code) = answer else {
                return Err(Stop::Failed(format!("{} took {} bytes of garbage", rule.name, request.len())));
            };
            check!(Error::from_code(code.0).is_some(), "{}: {code:?} is not a number of ours", rule.name);
        }
    }
    check_eq!(info(link.as_mut())?, before, "info after garbage");
    Ok(())
}

fn short_reply(context: &mut Context<'_>) -> Result<(), Stop> {
    let mut link = context.connect()?;
    for capacity in [0, 1, 40] {
        let answer = link.call(Command::Info as u32, &[], None, capacity);
        check_eq!(answer, Err(Error::ShortBuffer.into()), "room for {capacity} bytes");
    }
    let answer = link.call(Command::Challenge as u32, &encode(&Purpose::Provision), None, 1);
    check!(answer.is_err(), "a nonce fits into one byte");
    alive(link.as_mut())
}

/// Everything that needs an install or an enclave under way, without one.
fn out_of_order(context: &mut Context<'_>) -> Result<(), Stop> {
    let mut link = context.connect()?;
    for rule in TABLE.iter().filter(|rule| !rule.session.contains(&SessionState::Idle)) {
        let answer = match rule.shape {
            Shape::Forward => match link.invoke(1, &[], 16) {
                Some(answer) => answer,
                None => continue,
            },
            Shape::MessageWithData => link.call(rule.command as u32, &[0], Some(&[0]), MAX_REPLY),
            Shape::Message => link.call(rule.command as u32, &[], None, MAX_REPLY),
        };
        check_eq!(answer, Err(Error::WrongSequence.into()), "{} in an idle session", rule.name);
    }
    alive(link.as_mut())
}

/// The very session still answers.
fn alive(link: &mut dyn Link) -> Result<(), Stop> {
    info(link)?;
    let unused = challenge(link, Purpose::Provision);
    check!(unused.is_ok() || is_owned(link)?, "no nonce on a blank device: {unused:?}");
    check_eq!(
        send(link, Command::InstallAbort, &[]),
        Err::<(), Code>(Error::WrongSequence.into()),
        "idle session"
    );
    Ok(())
}

fn is_owned(link: &mut dyn Link) -> Result<bool, Stop> {
    Ok(info(link)?.lifecycle != Lifecycle::Blank)
}

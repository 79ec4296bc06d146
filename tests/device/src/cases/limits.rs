//! 7xxx: limits, at and above.

use trustbox_api::Command;
use trustbox_api::Error;
use trustbox_api::key::KeyRef;
use trustbox_api::limits::{MAX_CLASS_KEYS, MAX_PUBLISHERS, MAX_SESSIONS};
use trustbox_api::message::{OpenRequest, Purpose};
use trustbox_api::statement::Kind;

use crate::bench::secure_memory;
use crate::case::{Case, Stop};
use crate::context::{CLASS_KEY, Context, publisher};
use crate::forge::{self, public, stranger};
use crate::requests::{challenge, encode, info, install, send};
use crate::{check, check_eq};

/// Bytes of secure memory that an idle session may cost.
const SESSION_MEMORY: u64 = 512 << 10;
/// Bytes of secure memory that an install may cost beside its payload.
const INSTALL_MEMORY: u64 = 512 << 10;

/// The cases; they use up what the others need, so they come last.
pub const CASES: &[Case] = &[
    Case { id: 7001, name: "sessions have a limit and come back", invariants: &["INV-11"], run: sessions },
    Case { id: 7002, name: "publishers have a limit", invariants: &["INV-11"], run: publishers },
    Case {
        id: 7004,
        name: "an idle session and an install cost at most 512 KiB each beside the payload",
        invariants: &["INV-11"],
        run: memory,
    },
    Case {
        id: 7005,
        name: "the largest image installs, one byte more is refused",
        invariants: &["INV-11"],
        run: largest_image,
    },
    Case { id: 7003, name: "class keys have a limit", invariants: &["INV-11"], run: class_keys },
];

fn sessions(context: &mut Context<'_>) -> Result<(), Stop> {
    for _ in 0..2 {
        let mut open = Vec::new();
        for _ in 0..MAX_SESSIONS {
            open.push(context.connect()?);
        }
        let one_more = context.target.connect().map(drop);
        check_eq!(one_more, Err(Error::LimitReached.into()), "session {}", MAX_SESSIONS + 1);
        for link in &mut open {
            info(link.as_mut())?;
        }
    }
    Ok(())
}

fn memory(context: &mut Context<'_>) -> Result<(), Stop> {
    let (idle, extra) = secure_memory(context)?;
    check!((1..=SESSION_MEMORY).contains(&idle), "an idle session costs {idle} bytes");
    check!(extra <= INSTALL_MEMORY, "an install costs {extra} bytes beside its payload");
    Ok(())
}

fn largest_image(context: &mut Context<'_>) -> Result<(), Stop> {
    let max = context.keyed()?.max_image;
    let image = context.largest.clone().ok_or(Stop::Skipped("no large image"))?;
    check_eq!(image.bytes.len(), max as usize, "bytes of the image that is to be the largest");
    let mut link = context.connect()?;
    let mut above = context.draft(&image);
    above.terms.size = max + 1;
    let answer = send(link.as_mut(), Command::InstallBegin, &above.sign([0; 32]));
    check_eq!(answer, Err(Error::OutOfMemory.into()), "one byte more");
    let package = context.package(&image);
    install(link.as_mut(), &package.0, &package.1)?;
    send(link.as_mut(), Command::OpenEnclave, &encode(&OpenRequest { uuid: image.uuid }))?;
    Ok(())
}

fn publishers(context: &mut Context<'_>) -> Result<(), Stop> {
    context.owned()?;
    let mut link = context.connect()?;
    let mut last = Ok(());
    for number in 0..=MAX_PUBLISHERS as u8 {
        let header = context.owner_header(Kind::Publisher);
        let body = publisher(public(&stranger(100 + number)), &[]);
        last =
            send(link.as_mut(), Command::Authorise, &forge::statement(&header, &body, &context.parties.root));
    }
    check_eq!(last, Err(Error::LimitReached.into()), "one publisher too many");
    let known = context.delegate_publisher(&[context.image.uuid]);
    Ok(send(link.as_mut(), Command::Authorise, &known)?)
}

fn class_keys(context: &mut Context<'_>) -> Result<(), Stop> {
    context.keyed()?;
    let mut link = context.connect()?;
    let wrapped = context.wrapped_class_key(link.as_mut())?;
    let mut held = info(link.as_mut())?.class_keys.len();
    loop {
        let key = KeyRef::new(CLASS_KEY, context.next_sequence() as u32).expect("a short name");
        let challenge = challenge(link.as_mut(), Purpose::ImportKey)?;
        let bundle = context.bundle(&challenge, &key, &wrapped);
        match send(link.as_mut(), Command::ImportKey, &bundle) {
            Ok(()) => held += 1,
            Err(code) => {
                check_eq!(code, Error::LimitReached.into(), "key {}", held + 1);
                check_eq!(held, MAX_CLASS_KEYS, "class keys held");
                return Ok(());
            }
        }
        check!(held <= MAX_CLASS_KEYS, "{held} class keys held");
    }
}

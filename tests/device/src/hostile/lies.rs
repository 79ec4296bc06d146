//! Root lets tee-supplicant lie about what it read: the call is refused, no object is lost, and the TA goes on.

#[cfg(feature = "optee")]
use std::io::ErrorKind;

use crate::case::Stop;
use crate::check;
use crate::context::Context;
#[cfg(feature = "optee")]
use crate::hostile::supplicant;
use crate::hostile::{back, healthy, is_refusal};
use crate::random::Random;
use crate::steps::{Model, Step, carry_out, view};
use crate::target::Code;

/// GlobalPlatform's `TEE_ERROR_CORRUPT_OBJECT`.
const CORRUPT: u32 = 0xf010_0001;
/// What a liar may answer: GlobalPlatform's "not found", "corrupt", "no memory", "bad parameters", "no space", and a result of nobody's.
const ANSWERS: [u32; 6] = [0xffff_0008, CORRUPT, 0xffff_000c, 0xffff_0006, 0xffff_3041, 0x1234_5678];
/// Where the entries of the directory begin: before them is what OP-TEE checks them with.
const ENTRIES: u64 = 4096;

/// What is said, and about which reading.
#[derive(Clone, Debug)]
pub struct Lie {
    /// Of these files only.
    pub about: About,
    /// From this place in them on.
    pub from: u64,
    /// After this many of them were answered truly, once.
    pub after: u64,
    /// What is claimed.
    pub claim: Claim,
}

/// Files of the TEE's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// Whichever.
    Any,
    /// The directory of objects.
    Directory,
    /// All but the directory.
    Objects,
}

/// A lie about a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It failed with this `TEE_Result`.
    Failed(u32),
    /// It gave less than there is.
    Short,
}

/// Lies about a reading of any file in the middle of a change.
pub fn lie(context: &mut Context<'_>, random: &mut Random) -> Result<(), Stop> {
    let before = Model::of(&healthy(context)?);
    let answer = *random.choose(&ANSWERS).expect("there are some");
    let step = if random.below(2) == 0 { Step::Record(1) } else { Step::Install(context.image.version) };
    let lie = Lie { about: About::Any, from: 0, after: random.below(24), claim: Claim::Failed(answer) };
    let what = format!("{step} with {lie:?}");
    let (done, _) = while_lying(lie, || carry_out(context, step))?;
    check!(done.as_ref().err().is_none_or(is_unavailable), "{what}: {done:?}");
    let now = view(context).map_err(|stop| Stop::Failed(format!("after {what}: {stop:?}")))?;
    let after = before.after(step);
    let undone = done.is_err() && before.allows(&now);
    check!(undone || after.allows(&now), "{what}: got {now:?}, before {before}, after {after}");
    Ok(())
}

/// Says that the directory of objects ends where its entries begin.
pub fn hide_entries(context: &mut Context<'_>, _: &mut Random) -> Result<(), Stop> {
    let before = healthy(context)?;
    let claim = Claim::Failed(Code::NOT_FOUND.0);
    let lie = Lie { about: About::Directory, from: ENTRIES, after: 0, claim };
    let (shown, lied) = while_lying(lie, || view(context))?;
    check!(lied, "nobody read the directory");
    check!(shown.as_ref().is_err_and(is_unavailable), "without its entries: {shown:?}");
    back(context, &before, "the lie")
}

/// Says of one reading after the other that what was read is corrupt.
pub fn fail_each(context: &mut Context<'_>, random: &mut Random) -> Result<(), Stop> {
    each(context, random, 32, About::Any, Claim::Failed(CORRUPT))
}

/// Gives too little of one object after the other, which OP-TEE finds corrupt then. It would make a new directory from less than one.
pub fn cut_each(context: &mut Context<'_>, random: &mut Random) -> Result<(), Stop> {
    each(context, random, 1, About::Objects, Claim::Short)
}

/// From one of the first readings on in steps of up to that many, as long as there are some, or ten times.
fn each(
    context: &mut Context<'_>,
    random: &mut Random,
    step: u64,
    about: About,
    claim: Claim,
) -> Result<(), Stop> {
    let before = healthy(context)?;
    let (mut after, mut told) = (random.below(4), 0);
    while told < 10 {
        let lie = Lie { about, from: 0, after, claim };
        let (shown, lied) = while_lying(lie, || view(context))?;
        if !lied {
            check!(told > 0, "nobody read a file");
            break;
        }
        told += 1;
        let fine = shown.as_ref().map_or_else(is_unavailable, |now| *now == before);
        check!(fine, "reading {after}: {shown:?}");
        back(context, &before, "the lie")?;
        after += 1 + random.below(step);
    }
    Ok(())
}

/// A refusal; the TA goes on.
fn is_unavailable(stop: &Stop) -> bool {
    matches!(stop, Stop::Failed(why) if is_refusal(why))
}

/// Does something while tee-supplicant lies; also whether it had an opportunity to.
#[cfg(feature = "optee")]
fn while_lying<T>(lie: Lie, act: impl FnOnce() -> T) -> Result<(T, bool), Stop> {
    let process = supplicant::running().ok_or(Stop::Skipped("tee-supplicant is no process here"))?;
    let liar = super::liar::Liar::begin(process.number, lie).map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied => Stop::Skipped("Linux lets nobody trace a process here"),
        _ => error.into(),
    })?;
    let done = act();
    Ok((done, liar.end()?))
}

/// Nobody to get hold of.
#[cfg(not(feature = "optee"))]
fn while_lying<T>(_: Lie, _: impl FnOnce() -> T) -> Result<(T, bool), Stop> {
    Err(Stop::Skipped("there is no tee-supplicant"))
}

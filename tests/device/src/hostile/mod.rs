//! What root in Linux may do to the TEE, one act after the other: the device must refuse or be unavailable, never be wrong,
//! and come back when what was harmed is put right.
//!
//! Each act is a case of its own (5xxx, 6xxx), and a campaign draws acts at random for as long as somebody likes.

pub mod calls;
pub mod files;
#[cfg(feature = "optee")]
mod liar;
pub mod lies;
pub mod race;
pub mod supplicant;

use std::io::Write;
use std::time::Instant;

use crate::case::Stop;
use crate::context::Context;
use crate::random::Random;
use crate::steps::{View, view};
use crate::target::Code;
use crate::{check, check_eq};

/// What root does.
pub struct Act {
    /// The case that shows it.
    pub id: u32,
    /// In a word or two.
    pub name: &'static str,
    /// Does it once, then looks whether the device is as it must be.
    pub run: fn(&mut Context<'_>, &mut Random) -> Result<(), Stop>,
}

/// Every act.
pub const ACTS: &[Act] = &[
    Act { id: 5001, name: "race", run: race::everything },
    Act { id: 5002, name: "race for one enclave", run: race::one_enclave },
    Act { id: 5003, name: "rewrite an install", run: calls::rewrite_install },
    Act { id: 5004, name: "rewrite a call of an enclave", run: calls::rewrite_call },
    Act { id: 5005, name: "call pseudo-TAs and enclaves", run: calls::direct },
    Act { id: 5006, name: "use everything up", run: calls::exhaust },
    Act { id: 5007, name: "kill tee-supplicant", run: supplicant::kill },
    Act { id: 5008, name: "kill a silent tee-supplicant", run: supplicant::kill_silent },
    Act { id: 5009, name: "a lie of tee-supplicant's", run: lies::lie },
    Act { id: 5010, name: "hide the directory's entries", run: lies::hide_entries },
    Act { id: 5011, name: "fail each read", run: lies::fail_each },
    Act { id: 5012, name: "cut each read short", run: lies::cut_each },
    Act { id: 6011, name: "edit a file", run: files::edit },
    Act { id: 6012, name: "cut a file short", run: files::truncate },
    Act { id: 6013, name: "delete a file", run: files::delete },
    Act { id: 6014, name: "swap two files", run: files::swap },
    Act { id: 6015, name: "replay a file", run: files::replay },
];

/// Does an act as often as a case says, three times that at the highest level; thousands are the campaign's.
pub fn act(context: &mut Context<'_>, id: u32, times: u32) -> Result<(), Stop> {
    let act = ACTS.iter().find(|act| act.id == id).ok_or(Stop::Skipped("no such act"))?;
    let mut random = Random::new(u64::from(id));
    let times = if context.level >= crate::context::EXHAUSTIVE { 3 * times } else { times };
    (0..times).try_for_each(|_| (act.run)(context, &mut random))
}

/// Does acts at random; a line for each, and an end at the first that the device does not stand.
pub fn rounds(
    context: &mut Context<'_>,
    first: u64,
    count: u64,
    seed: u64,
    out: &mut dyn Write,
) -> Result<bool, Stop> {
    let start = Instant::now();
    for round in first..first + count {
        // A generator of its own, so that any round can be done again without those before it.
        let mut random = Random::new(seed.wrapping_mul(0x1_0000_0001).wrapping_add(round));
        let act = &ACTS[random.below(ACTS.len() as u64) as usize];
        let result = (act.run)(context, &mut random);
        let verdict = match &result {
            Ok(()) => "stood".to_owned(),
            Err(Stop::Skipped(why)) => format!("skipped: {why}"),
            Err(Stop::Failed(why)) => format!("FAILED: {why}"),
        };
        writeln!(
            out,
            "round {round} {} {}: {verdict} [{:.1} s]",
            act.id,
            act.name,
            start.elapsed().as_secs_f32()
        )?;
        out.flush()?;
        if matches!(result, Err(Stop::Failed(_))) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A device with the meter installed, as it shows itself.
pub(crate) fn healthy(context: &mut Context<'_>) -> Result<View, Stop> {
    match view(context) {
        Ok(view) if view.version == Some(context.image.version) => Ok(view),
        _ => {
            context.installed()?;
            view(context)
        }
    }
}

/// What a harmed device may show: the same as before, or a refusal.
pub(crate) fn same_or_refused(context: &Context<'_>, before: &View, harm: &str) -> Result<(), Stop> {
    match view(context) {
        Ok(now) => check_eq!(&now, before, "{harm}"),
        Err(Stop::Failed(why)) => check!(is_refusal(&why), "{harm}: {why}"),
        Err(skipped) => return Err(skipped),
    }
    Ok(())
}

/// The device is as before once the harm is undone.
pub(crate) fn back(context: &Context<'_>, before: &View, harm: &str) -> Result<(), Stop> {
    let now = view(context).map_err(|stop| Stop::Failed(format!("after {harm}: {stop:?}")))?;
    check_eq!(&now, before, "after {harm}");
    Ok(())
}

/// A number is a refusal; the TA's own end is not.
pub(crate) fn is_refusal(why: &str) -> bool {
    why.contains("unexpected refusal") && !why.contains(&format!("{:?}", Code::TARGET_DEAD))
}

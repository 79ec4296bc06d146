//! What the command table refuses, for the families that bring a device into a lifecycle state.

use trustbox_api::Error;
use trustbox_api::command::{Caller, Lifecycle, Rule, SessionState, Shape, TABLE};
use trustbox_api::limits::MAX_REPLY;

use crate::case::Stop;
use crate::check_eq;
use crate::context::Context;

/// Sends every command that the table refuses to an idle session in this lifecycle; each has its number.
pub fn refuse_by_table(context: &Context<'_>, lifecycle: Lifecycle) -> Result<(), Stop> {
    let mut link = context.connect()?;
    for (rule, want) in TABLE.iter().filter_map(|rule| Some((rule, refusal(rule, lifecycle)?))) {
        let data = (rule.shape == Shape::MessageWithData).then_some(&[0][..]);
        let answer = match rule.shape {
            Shape::Forward => link.invoke(1, &[], 16),
            _ => Some(link.call(rule.command as u32, &[0xff; 40], data, MAX_REPLY)),
        };
        let shown = format!("{} on a {} device", rule.name, lifecycle.name());
        check_eq!(answer, Some(Err(want.into())), "{shown}");
    }
    Ok(())
}

/// The order of the checks: caller, session, lifecycle.
fn refusal(rule: &Rule, lifecycle: Lifecycle) -> Option<Error> {
    if !rule.caller.contains(&Caller::NormalWorld) {
        Some(Error::WrongCaller)
    } else if !rule.session.contains(&SessionState::Idle) {
        Some(Error::WrongSequence)
    } else if !rule.lifecycle.contains(&lifecycle) {
        Some(Error::WrongLifecycle)
    } else {
        None
    }
}

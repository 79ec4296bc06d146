//! What is written to a board's fuses, in which order, and what can never be taken back: a plan, for people and for programs.
//!
//! Nothing here writes a fuse. `tb fuse write` refuses and says so each time; the step itself is for a factory's tool with a board on
//! its table, `trustbox-keys fuse`, and was not tried on hardware.

use std::fs;
use std::path::Path;

use anyhow::{Result, bail};
use trustbox_boot_image::secure::MAX_KEYS;
use trustbox_keys::fuses::{Fuse, ITS, OSPR0, OTPMK, Plan, SFP, SRKH, WRITE_PROTECT};

use crate::board::Board;
use crate::boot::certificates::Counters;
use crate::boot::root_keys::RootKeys;

/// Debug level, with the challenge for it.
const OSPR1: u64 = SFP + 0x204;

/// The plan for a board with these keys.
pub(crate) fn plan(board: &Board, root: &RootKeys, counters: Counters) -> Plan {
    let mut plan = Plan {
        board: board.name.get_ref().clone(),
        tried_on_hardware: false,
        root_key_number: root.signing.key,
        root_keys: root.signing.table.keys().len(),
        revoked: root.signing.revoked.clone(),
        counters: [counters.trusted, counters.normal],
        fuses: Vec::new(),
    };
    let mut add = |name: &str, register: u64, value: Option<u32>, irreversible: &str, then: &str| {
        let (step, name) = (plan.fuses.len() + 1, name.to_owned());
        let (irreversible, then) = (irreversible.to_owned(), then.to_owned());
        plan.fuses.push(Fuse { step, name, register, value, irreversible, then });
    };
    for (number, word) in root.digest().chunks_exact(4).enumerate() {
        let value = word.iter().fold(0, |value: u32, byte| value << 8 | u32::from(*byte));
        let keys = "only images signed by these keys are ever believed";
        add(&format!("SRKH{number}"), SRKH + 4 * number as u64, Some(value), keys, "");
    }
    let key = "the chip's master key: random, made on the board, read by nobody";
    add("OTPMK", OTPMK, None, key, "power cycle; SNVS must say that a master key is there");
    let revoked = root.signing.revoked.iter().filter(|key| (1..=MAX_KEYS as u8).contains(key));
    let revoke: u32 = revoked.map(|key| 1 << (8 + u32::from(*key))).sum();
    if revoke != 0 {
        let keys = "the revoked keys never sign for this board again";
        add("OSPR0 key revocation", OSPR0, Some(revoke), keys, "");
    }
    add("DRV and OSPR1 debug level", OSPR1, Some(7), "no debugger, for the maker either", "");
    let closed = "a board that was not verified does not boot, for ever; without a signed image it is scrap";
    add(
        "OSPR0 ITS",
        OSPR0,
        Some(ITS),
        closed,
        "power cycle; SNVS must say trusted or secure, and the key must be unique",
    );
    let protect =
        "no fuse can be written any more, counters and revocations too: leave it out where they are wanted";
    add("OSPR0 WP", OSPR0, Some(WRITE_PROTECT), protect, "");
    plan
}

/// `FUSES.md` for people and `fuses.json` for programs.
pub(crate) fn write(plan: &Plan, out: &Path) -> Result<()> {
    plan.check()?;
    fs::write(out.join("FUSES.md"), plan.text())?;
    Ok(fs::write(out.join("fuses.json"), serde_json::to_string_pretty(plan)? + "\n")?)
}

/// Says what would become irreversible, and refuses.
pub(crate) fn refuse(plan: &Plan) -> Result<()> {
    eprint!("{}", plan.text());
    bail!(
        "fuses of {} are not written: {} steps above can never be taken back\n\
         help: `trustbox-keys fuse` goes by fuses.json, with the board on its table; this program has no access to one",
        plan.board,
        plan.fuses.len()
    )
}

//! What is written to a board's fuses, in which order, and what can never be taken back: a plan, for people and for programs.
//!
//! Nothing here writes a fuse. `tb fuse write` refuses unless it is told that it is meant, and says so each time; the step itself
//! is for a factory's tool with a board on its table, and was not tried on hardware.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Result, bail};
use serde::Serialize;
use trustbox_boot_image::secure::MAX_KEYS;

use crate::board::Board;
use crate::boot::certificates::Counters;
use crate::boot::root_keys::RootKeys;
use crate::hash::hex;

/// The security fuse processor.
const BASE: u64 = 0x01e8_0000;

/// A field of the fuses.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Fuse {
    step: usize,
    name: String,
    /// Physical address of the mirror register that is written before the program command.
    register: String,
    /// What is set; `None` for a secret that is made on the board and never leaves it.
    value: Option<String>,
    /// What is lost once it is written.
    irreversible: &'static str,
    then: &'static str,
}

/// All fields, in the order in which they are written.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Plan {
    board: String,
    tried_on_hardware: bool,
    root_key_number: u8,
    root_keys: usize,
    revoked: Vec<u8>,
    counters: [u32; 2],
    fuses: Vec<Fuse>,
}

impl Plan {
    /// The plan for a board with these keys.
    pub(crate) fn of(board: &Board, root: &RootKeys, counters: Counters) -> Self {
        let mut plan = Self {
            board: board.name.get_ref().clone(),
            tried_on_hardware: false,
            root_key_number: root.signing.key,
            root_keys: root.signing.table.keys().len(),
            revoked: root.signing.revoked.clone(),
            counters: [counters.trusted, counters.normal],
            fuses: Vec::new(),
        };
        for (number, word) in root.digest().chunks_exact(4).enumerate() {
            plan.add(
                &format!("SRKH{number}"),
                0x254 + 4 * number as u64,
                Some(format!("0x{}", hex(word))),
                "only images signed by these keys are ever believed",
                "",
            );
        }
        plan.add(
            "OTPMK",
            0x234,
            None,
            "the chip's master key: random, made on the board, read by nobody",
            "power cycle; SNVS must say that a master key is there",
        );
        let revoked = plan.revoked.iter().filter(|key| (1..=MAX_KEYS as u8).contains(key));
        let revoke: u32 = revoked.map(|key| 1 << (8 + u32::from(*key))).sum();
        if revoke != 0 {
            plan.add(
                "OSPR0 key revocation",
                0x200,
                Some(format!("0x{revoke:08x}")),
                "the revoked keys never sign for this board again",
                "",
            );
        }
        plan.add(
            "DRV and OSPR1 debug level",
            0x204,
            Some("0x00000007".into()),
            "no debugger, for the maker either",
            "",
        );
        plan.add(
            "OSPR0 ITS",
            0x200,
            Some("0x00000004".into()),
            "a board that was not verified does not boot, for ever; without a signed image it is scrap",
            "power cycle; SNVS must say trusted or secure, and the key must be unique",
        );
        plan.add("OSPR0 WP", 0x200, Some("0x00000001".into()), "no fuse can be written any more, counters and revocations too: leave it out where they are wanted", "");
        plan
    }

    fn add(
        &mut self,
        name: &str,
        offset: u64,
        value: Option<String>,
        irreversible: &'static str,
        then: &'static str,
    ) {
        let (step, register) = (self.fuses.len() + 1, format!("0x{:08x}", BASE + offset));
        self.fuses.push(Fuse { step, name: name.to_owned(), register, value, irreversible, then });
    }

    /// `FUSES.md` for people and `fuses.json` for programs.
    pub(crate) fn write(&self, out: &Path) -> Result<()> {
        fs::write(out.join("FUSES.md"), self.text()?)?;
        Ok(fs::write(out.join("fuses.json"), serde_json::to_string_pretty(self)? + "\n")?)
    }

    fn text(&self) -> Result<String> {
        let mut text = format!(
            "# Fuses of {}\n\n**Not tried on hardware. Nothing of this can be taken back.** Key {} of {} signs; revoked: {:?}; counters of the \
             firmware: {} and {}.\nThe image signed with these keys must boot on this very board before step 1, with SB_EN in its RCW: without ITS a \
             wrong key is reported and not fatal.\n\n| step | fuse | register | value | what can never be taken back | then |\n| --- | --- | --- | --- | --- | --- |\n",
            self.board,
            self.root_key_number,
            self.root_keys,
            self.revoked,
            self.counters[0],
            self.counters[1]
        );
        for fuse in &self.fuses {
            let value = fuse.value.as_deref().unwrap_or("made on the board");
            writeln!(
                text,
                "| {} | {} | {} | {value} | {} | {} |",
                fuse.step, fuse.name, fuse.register, fuse.irreversible, fuse.then
            )?;
        }
        text.push_str("\nThe counters are OEM_UID3 and OEM_UID4: the firmware counts in them itself, at most 32 steps in the life of a board.\n");
        Ok(text)
    }

    /// Says what would become irreversible, and refuses.
    pub(crate) fn refuse(&self) -> Result<()> {
        eprint!("{}", self.text()?);
        bail!(
            "fuses of {} are not written: {} steps above can never be taken back\n\
             help: a factory's tool writes them from fuses.json, with the board on its table; this program has no access to one",
            self.board,
            self.fuses.len()
        )
    }
}

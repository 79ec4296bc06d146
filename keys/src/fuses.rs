//! The plan of a board's fuses: what is written, in which order, and what can never be taken back. `build/tb fuse plan` makes it of
//! a board and its root keys, `trustbox-keys fuse` goes by it. The registers are those of the security fuse processor (SFP 3.4).

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::files;

/// The security fuse processor.
pub const SFP: u64 = 0x01e8_0000;
/// The first word of the hash over the root keys' table, of eight.
pub const SRKH: u64 = SFP + 0x254;
/// The first word of the chip's master key, of eight.
pub const OTPMK: u64 = SFP + 0x234;
/// Security policy: write protection, intent to secure, revoked keys.
pub const OSPR0: u64 = SFP + 0x200;
/// Whoever boots must be verified, for ever.
pub const ITS: u32 = 1 << 2;
/// No fuse is written any more.
pub const WRITE_PROTECT: u32 = 1;

/// A field of the fuses.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fuse {
    /// 1 for the first.
    pub step: usize,
    /// What it is.
    pub name: String,
    /// Physical address of the mirror register that is written before the program command.
    #[serde(with = "hexadecimal")]
    pub register: u64,
    /// What is set; `None` for a secret that is made on the board and never leaves it.
    #[serde(with = "hexadecimal_or_none")]
    pub value: Option<u32>,
    /// What is lost once it is written.
    pub irreversible: String,
    /// What comes after it.
    pub then: String,
}

/// All fields, in the order in which they are written.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Name of the board.
    pub board: String,
    /// Whether anybody did this on a board.
    pub tried_on_hardware: bool,
    /// Which of the root keys signs.
    pub root_key_number: u8,
    /// How many there are.
    pub root_keys: usize,
    /// Which are revoked.
    pub revoked: Vec<u8>,
    /// The firmware's rollback counters.
    pub counters: [u32; 2],
    /// The fields.
    pub fuses: Vec<Fuse>,
}

impl Plan {
    /// Reads `fuses.json`.
    pub fn read(path: &Path) -> Result<Self> {
        let plan: Self = serde_json::from_slice(&files::read(path)?)
            .with_context(|| format!("{}: not a plan of fuses", path.display()))?;
        plan.check().with_context(|| path.display().to_string())?;
        Ok(plan)
    }

    /// The order that keeps a board from becoming scrap: root keys, master key, what closes the board, write protection.
    pub fn check(&self) -> Result<()> {
        let words: Vec<u64> = self.fuses.iter().take(8).map(|fuse| fuse.register).collect();
        let expected: Vec<u64> = (0..8).map(|word| SRKH + 4 * word).collect();
        ensure!(words == expected, "the first eight fuses are not the root keys' hash");
        let at = |register: u64, value: Option<u32>| {
            let mut found = self.fuses.iter().enumerate();
            found.find(|(_, fuse)| fuse.register == register && fuse.value == value).map(|(index, _)| index)
        };
        let (key, closed) = (at(OTPMK, None), at(OSPR0, Some(ITS)));
        ensure!(key == Some(8), "the master key does not follow the root keys' hash");
        let closed = closed.context("nothing closes the board: ITS is missing")?;
        let last = at(OSPR0, Some(WRITE_PROTECT));
        ensure!(last.unwrap_or(closed + 1) == closed + 1, "write protection does not follow ITS");
        ensure!(self.fuses.len() <= closed + 2, "something follows what closes the board");
        let secret = self.fuses.iter().filter(|fuse| fuse.value.is_none()).count();
        ensure!(secret == 1 && self.fuses.iter().all(|fuse| fuse.value != Some(0)), "a fuse has no value");
        ensure!(
            self.fuses.iter().all(|fuse| (SFP..SFP + 0x1000).contains(&fuse.register)),
            "a register is not of the fuse processor"
        );
        Ok(())
    }

    /// For people: `FUSES.md`.
    pub fn text(&self) -> String {
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
        for Fuse { step, name, register, value, irreversible, then } in &self.fuses {
            let value =
                value.map_or_else(|| "made on the board".to_owned(), |value| format!("0x{value:08x}"));
            // Writing to a text does not fail.
            let _ =
                writeln!(text, "| {step} | {name} | 0x{register:08x} | {value} | {irreversible} | {then} |");
        }
        text.push_str("\nThe counters are OEM_UID3 and OEM_UID4: the firmware counts in them itself, at most 32 steps in the life of a board.\n");
        text
    }
}

mod hexadecimal {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format!("0x{value:08x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        let text = String::deserialize(from)?;
        let digits = text.strip_prefix("0x").ok_or_else(|| D::Error::custom("no 0x"))?;
        u64::from_str_radix(digits, 16).map_err(D::Error::custom)
    }
}

mod hexadecimal_or_none {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Option<u32>, to: S) -> Result<S::Ok, S::Error> {
        value.map(|value| format!("0x{value:08x}")).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
        let Some(text) = Option::<String>::deserialize(from)? else { return Ok(None) };
        let digits = text.strip_prefix("0x").ok_or_else(|| D::Error::custom("no 0x"))?;
        u32::from_str_radix(digits, 16).map(Some).map_err(D::Error::custom)
    }
}

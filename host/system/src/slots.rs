//! The two slots: a boot that came so far, and whose root is whole, gives its slot all its tries back; without it U-Boot takes the
//! other slot after some. An updater says which slot is to come first.
//!
//! What an updater asks is what RAUC asks of a custom bootloader backend (its manual, "Custom Bootloader Backend Interface").

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use trustbox_boot_image::boot_state::{BootState, RECORD, STRIDE};

use crate::{block, report};

/// Tries of a slot that was found to be good, or was just written.
const TRIES: u8 = 3;

/// The verified root.
const ROOT: &str = "/dev/dm-0";

/// This boot is good.
pub(crate) fn good() -> Result<()> {
    mark(&block::slot()?.to_string(), true)
}

/// Commands of an updater.
pub(crate) const COMMANDS: [&str; 5] =
    ["get-current", "get-primary", "set-primary", "get-state", "set-state"];

/// Answers an updater: the command's word and its arguments.
pub(crate) fn answer(command: &str, arguments: &[String]) -> Result<()> {
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    match (command, words.as_slice()) {
        ("get-current", []) => println!("{}", block::slot()?),
        ("get-primary", []) => println!("{}", name(first(&Records::open(block::slot()?)?.state()?))),
        ("get-state", [slot]) => {
            let tries = Records::open(block::slot()?)?.state()?.tries[number(slot)?];
            println!("{}", if tries > 0 { "good" } else { "bad" });
        }
        ("set-primary", [slot]) => {
            let slot = number(slot)?;
            Records::open(block::slot()?)?.change(|state| put_first(state, slot))?;
        }
        ("set-state", [slot, state @ ("good" | "bad")]) => mark(slot, *state == "good")?,
        _ => {
            bail!("{arguments:?} are no arguments of {command}\nhelp: a or b, and good or bad for set-state")
        }
    }
    Ok(())
}

/// Gives a slot its tries back, or takes them.
fn mark(slot: &str, good: bool) -> Result<()> {
    let (slot, booted) = (number(slot)?, block::slot()?);
    if good && name(slot) == booted {
        whole()?;
    }
    let tries = if good { TRIES } else { 0 };
    Records::open(booted)?.change(|state| state.tries[slot] = tries)
}

/// Reads the root to its end: a damaged block restarts the device here, as long as that costs the slot a try. Read later, after the
/// tries were given back, it would restart the device for ever.
fn whole() -> Result<()> {
    let mut root = File::open(ROOT).with_context(|| format!("cannot open {ROOT}"))?;
    io::copy(&mut root, &mut io::sink()).with_context(|| format!("cannot read {ROOT}"))?;
    Ok(())
}

/// The one that U-Boot tries first.
fn first(state: &BootState) -> usize {
    let order = state.order.map(usize::from);
    order.into_iter().find(|slot| state.tries[*slot] > 0).unwrap_or(order[0])
}

fn put_first(state: &mut BootState, slot: usize) {
    state.order = if slot == 0 { [0, 1] } else { [1, 0] };
    state.tries[slot] = TRIES;
}

fn name(slot: usize) -> char {
    if slot == 0 { 'a' } else { 'b' }
}

fn number(slot: &str) -> Result<usize> {
    ["a", "b"]
        .iter()
        .position(|name| *name == slot)
        .with_context(|| format!("no slot {slot:?}\nhelp: a or b"))
}

/// The two records on the medium.
struct Records {
    file: File,
    at: u64,
}

impl Records {
    /// Those of the medium that was booted from.
    fn open(booted: char) -> Result<Self> {
        let image: Value = report::image()?;
        let at = image["boot_state"].as_u64().context("the image names no place of the boot state")?;
        let disk = block::disk_of(&format!("boot-{booted}"))?;
        let file = OpenOptions::new().read(true).write(true).open(&disk);
        Ok(Self { file: file.with_context(|| format!("cannot open {}", disk.display()))?, at })
    }

    fn state(&self) -> Result<BootState> {
        Ok(self.newer()?.0)
    }

    /// The state, and the record that U-Boot did not read. Without a state U-Boot takes slot a first.
    fn newer(&self) -> Result<(BootState, u64)> {
        let mut records = [[0; RECORD]; 2];
        for (number, record) in (0..).zip(&mut records) {
            self.file
                .read_exact_at(record, self.at + number * STRIDE)
                .context("cannot read the boot state")?;
        }
        let [first, second] = &records;
        let none = (BootState { generation: 0, order: [0, 1], tries: [TRIES; 2] }, 0);
        Ok(BootState::newer([first, second]).unwrap_or(none))
    }

    /// Writes the record that U-Boot did not read: a power cut leaves one of them.
    fn change(&self, change: impl FnOnce(&mut BootState)) -> Result<()> {
        let (mut state, next) = self.newer()?;
        state.generation += 1;
        change(&mut state);
        let written = self.file.write_all_at(&state.encode(), self.at + next * STRIDE);
        written.and_then(|()| self.file.sync_all()).context("cannot write the boot state")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(old: Option<BootState>) -> Records {
        let file = tempfile::tempfile().unwrap();
        file.set_len(0x2000).unwrap();
        let records = Records { file, at: 0x400 };
        if let Some(old) = old {
            records.file.write_all_at(&old.encode(), 0x400 + STRIDE).unwrap();
        }
        records
    }

    #[test]
    fn a_change_is_the_next_generation_and_the_record_before_it_stays() {
        let old = BootState { generation: 5, order: [1, 0], tries: [1, 2] };
        let records = records(Some(old));
        records.change(|state| state.tries[1] = TRIES).unwrap();
        let read = |number: u64| {
            let mut record = [0; RECORD];
            records.file.read_exact_at(&mut record, 0x400 + number * STRIDE).unwrap();
            BootState::decode(&record)
        };
        let new = BootState { generation: 6, order: [1, 0], tries: [1, 3] };
        assert_eq!((read(0), read(1)), (Some(new), Some(old)));
        assert_eq!(records.state().unwrap(), new);
    }

    #[test]
    fn an_update_goes_first_with_all_its_tries_and_until_then_last() {
        let records = records(None);
        let primary = || name(first(&records.state().unwrap()));
        assert_eq!(primary(), 'a');
        // It is bad as long as it is written.
        records.change(|state| state.tries[1] = 0).unwrap();
        assert_eq!(primary(), 'a');
        records.change(|state| put_first(state, 1)).unwrap();
        assert_eq!((primary(), records.state().unwrap().tries), ('b', [TRIES, TRIES]));
        // Its tries are used up: the other one comes first again.
        records.change(|state| state.tries[1] = 0).unwrap();
        assert_eq!(primary(), 'a');
    }

    #[test]
    fn what_is_no_command_is_refused_before_anything_is_opened() {
        let refused = |command: &str, words: &[&str]| {
            let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
            answer(command, &words).unwrap_err().to_string()
        };
        assert!(refused("get-current", &["a"]).contains("are no arguments of get-current\nhelp: "));
        assert!(refused("set-state", &["a", "odd"]).contains("are no arguments of set-state"));
        for words in [["set-primary", "c"], ["set-primary", "A"]] {
            assert!(refused(words[0], &words[1..]).contains("no slot"));
        }
    }
}

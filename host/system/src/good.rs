//! A boot that came so far, and whose root is whole, gives its slot all its tries back; without it U-Boot takes the other slot after
//! some.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result};
use serde_json::Value;
use trustbox_boot_image::boot_state::{BootState, RECORD, STRIDE};

use crate::{block, report};

/// Tries of a slot that was found to be good.
const TRIES: u8 = 3;

/// The verified root.
const ROOT: &str = "/dev/dm-0";

/// Writes the record that U-Boot did not read.
pub(crate) fn mark() -> Result<()> {
    whole()?;
    let slot = block::slot()?;
    let image: Value = report::image()?;
    let at = image["boot_state"].as_u64().context("the image names no place of the boot state")?;
    let disk = block::disk_of(&format!("boot-{slot}"))?;
    let mut file = OpenOptions::new();
    let file =
        file.read(true).write(true).open(&disk).with_context(|| format!("cannot open {}", disk.display()))?;
    write(&file, at, usize::from(slot == 'b'))
        .with_context(|| format!("cannot write the boot state to {}", disk.display()))
}

/// Reads the root to its end: a damaged block restarts the device here, as long as that costs the slot a try. Read later, after the
/// tries were given back, it would restart the device for ever.
fn whole() -> Result<()> {
    let mut root = File::open(ROOT).with_context(|| format!("cannot open {ROOT}"))?;
    io::copy(&mut root, &mut io::sink()).with_context(|| format!("cannot read {ROOT}"))?;
    Ok(())
}

fn write(file: &File, at: u64, slot: usize) -> Result<()> {
    let mut records = [[0; RECORD]; 2];
    for (number, record) in (0..).zip(&mut records) {
        file.read_exact_at(record, at + number * STRIDE)?;
    }
    let [first, second] = &records;
    let none = (BootState { generation: 0, order: [0, 1], tries: [TRIES; 2] }, 0);
    let (mut state, next) = BootState::newer([first, second]).unwrap_or(none);
    state.generation += 1;
    state.tries[slot] = TRIES;
    file.write_all_at(&state.encode(), at + next * STRIDE)?;
    Ok(file.sync_all()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_booted_slot_gets_its_tries_back_and_one_record_stays() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(0x2000).unwrap();
        let old = BootState { generation: 5, order: [1, 0], tries: [1, 2] };
        file.write_all_at(&old.encode(), STRIDE).unwrap();
        write(&file, 0, 1).unwrap();
        let read = |number: u64| {
            let mut record = [0; RECORD];
            file.read_exact_at(&mut record, number * STRIDE).unwrap();
            BootState::decode(&record)
        };
        assert_eq!(
            (read(0), read(1)),
            (Some(BootState { generation: 6, order: [1, 0], tries: [1, 3] }), Some(old))
        );
    }
}

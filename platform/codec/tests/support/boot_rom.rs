//! The boot ROM as far as the reference manual describes it: reads a medium, checks the RCW, executes the PBI commands, and
//! says with which memory and at which address the first core starts. It reads words itself and shares no code with the codec.

use std::collections::BTreeMap;

/// Octets of the on-chip memory from 0x18000000.
const OCRAM: (u32, usize) = (0x1800_0000, 0x4_0000);
/// The part of it that belongs to the ROM.
const ROM_DATA: usize = 0xa000;

/// What the machine is like when the first core starts.
#[derive(Debug)]
pub struct Machine {
    pub rcw: [u8; 128],
    pub registers: BTreeMap<u32, u32>,
    pub ocram: Vec<u8>,
}

/// Boots from a medium whose PBL starts at `at`; `code` is the medium in a block copy, `base` the address of its first octet.
pub fn boot(medium: &[u8], at: usize, code: u32, base: u32) -> Result<Machine, String> {
    let image = medium.get(at..).ok_or("no PBL on the medium")?;
    let word = |number: usize| -> Result<u32, String> {
        let part = image.get(number * 4..number * 4 + 4).ok_or("the PBL ends early")?;
        Ok(u32::from_le_bytes(part.try_into().unwrap()))
    };
    if word(0)? != 0xaa55_aa55 || word(1)? != 0x8010_0000 {
        return Err("no preamble".into());
    }
    let sum = (0..34).try_fold(0_u32, |sum, number| word(number).map(|word| sum.wrapping_add(word)))?;
    if sum != word(34)? {
        return Err("the checksum is wrong".into());
    }
    let words = (word(10)? >> 20) as usize;
    let mut machine = Machine {
        rcw: image[8..136].try_into().unwrap(),
        registers: BTreeMap::new(),
        ocram: vec![0; OCRAM.1],
    };
    let mut number = 35;
    loop {
        if number >= 35 + words {
            return Err("the commands go on behind PBI_LENGTH".into());
        }
        let command = word(number)?;
        match command {
            0x3000_0000..=0x3fff_ffff => {
                machine.registers.insert(command & 0x0fff_ffff, word(number + 1)?);
                number += 2;
            }
            0x8000_0000..=0x8000_ffff => {
                if command & 0xffff != code {
                    return Err(format!("block copy from 0x{:x}, booted from 0x{code:x}", command & 0xffff));
                }
                machine.copy(medium, base, word(number + 1)?, word(number + 2)?, word(number + 3)?)?;
                number += 4;
            }
            0x80ff_0000 => break,
            0x808f_0000 => {
                let crc = crc(&image[140..(number + 1) * 4]);
                if crc != word(number + 1)? {
                    return Err("the CRC is wrong".into());
                }
                break;
            }
            other => return Err(format!("command 0x{other:08x}")),
        }
    }
    Ok(machine)
}

impl Machine {
    fn copy(&mut self, medium: &[u8], base: u32, from: u32, to: u32, size: u32) -> Result<(), String> {
        let start = from.checked_sub(base).ok_or("copy from before the medium")? as usize;
        let part = medium.get(start..start + size as usize).ok_or("copy from behind the medium")?;
        let place = to.checked_sub(OCRAM.0).ok_or("copy to no memory")? as usize;
        if place < ROM_DATA {
            return Err("copy into the ROM's data".into());
        }
        let room = self.ocram.get_mut(place..place + part.len()).ok_or("copy to behind the memory")?;
        room.copy_from_slice(part);
        Ok(())
    }

    /// Address and memory of the first instructions.
    pub fn start(&self, octets: usize) -> (u32, &[u8]) {
        let entry = self.registers[&0x01e0_0400];
        let place = (entry - OCRAM.0) as usize;
        (entry, &self.ocram[place..place + octets])
    }
}

/// Bit by bit, most significant first: another way than the codec's to the same number.
fn crc(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for octet in bytes {
        for bit in 0..8 {
            let flip = (crc >> 31) ^ u32::from(octet >> bit & 1);
            crc = crc << 1 ^ if flip == 1 { 0x04c1_1db7 } else { 0 };
        }
    }
    !crc.reverse_bits()
}

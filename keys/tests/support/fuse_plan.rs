//! A plan of fuses for a model of the chip.

use trustbox_keys::fuses::{Fuse, Plan, SFP};

pub const OSPR1: u64 = SFP + 0x204;

/// With these registers, in this order, and what they become.
pub fn plan(registers: impl Iterator<Item = (u64, Option<u32>)>) -> Plan {
    let fuse = |(index, (register, value)): (usize, (u64, Option<u32>))| Fuse {
        step: index + 1,
        name: format!("fuse {register:x}"),
        register,
        value,
        irreversible: "everything".to_owned(),
        then: String::new(),
    };
    Plan {
        board: "model".to_owned(),
        tried_on_hardware: false,
        root_key_number: 1,
        root_keys: 1,
        revoked: Vec::new(),
        counters: [0, 0],
        fuses: registers.enumerate().map(fuse).collect(),
    }
}

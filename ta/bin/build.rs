//! The header of the trusted application: UUID, flags, sizes of stack and heap. And its link.

use std::env;
use std::fs::{self, File};
use std::path::Path;
use std::time::SystemTime;

use optee_utee_build::{Builder, Error, TaConfig};

/// Ours; the same as `trustbox_api::TRUSTBOX_UUID`.
const UUID: &str = "b8a6e9d4-3f0c-4f7e-9a53-1d2c7e50b4c1";
/// No flag: every session has an instance of its own.
const FLAGS: u32 = 0;
const STACK_BYTES: u32 = 64 * 1024;
const HEAP_BYTES: u32 = 64 * 1024;
/// Errors only, and libutee logs those by number.
const TRACE_LEVEL: i32 = 1;

fn main() -> Result<(), Error> {
    let config = TaConfig::new_default_with_cargo_env(UUID)?
        .ta_flags(FLAGS)
        .ta_stack_size(STACK_BYTES)
        .ta_data_size(HEAP_BYTES)
        .trace_level(TRACE_LEVEL);
    Builder::new(config).build()?;
    drop_unwind_tables()
}

/// A panic ends the TA, so nobody reads the unwind tables; OP-TEE's linker script keeps them, and with them all code. The script
/// looks old: cargo watches it, and would link again each time for what this program changed itself.
fn drop_unwind_tables() -> Result<(), Error> {
    let script = Path::new(&env::var("OUT_DIR")?).join("ta.lds");
    let text = fs::read_to_string(&script)?;
    let discarded =
        "/DISCARD/ : { *(.eh_frame .eh_frame.* .eh_frame_hdr .gcc_except_table .gcc_except_table.*) }\n";
    let text = text.replacen("SECTIONS {", &format!("SECTIONS {{\n {discarded}"), 1);
    fs::write(&script, text)?;
    Ok(File::options().write(true).open(&script)?.set_modified(SystemTime::UNIX_EPOCH)?)
}

//! What TF-A and the device tree are told of a board: text generated from its TOML, and nothing else.

use std::fmt::Write;

use anyhow::{Context, Result};

use crate::board::layout::{Extent, Region};
use crate::board::soc::{Hardware, MediumKind};

/// The RCW counts the system clock in steps of a sixth of a megahertz.
const CLOCK_STEPS_PER_MHZ: u32 = 6;

/// `trustbox_board.h` for our own platform in TF-A.
pub(crate) fn header(hardware: &Hardware<'_>) -> Result<String> {
    let (kind, medium) = hardware.media.iter().next().context("the board has no medium")?;
    let clock = hardware.pbl(*kind)?.rcw.get("SYSCLK_FREQ")? / CLOCK_STEPS_PER_MHZ * 1_000_000;
    let region =
        |name: &str| hardware.memory.region(name).with_context(|| format!("no memory region {name}"));
    let (bl2, bl31, optee) = (region("bl2")?, region("bl31")?, region("optee")?);
    let fip = medium.region("fip").context("no region fip")?;
    let mut text = String::from("/* Generated from the board's description */\n");
    let numbers = [
        ("SYSCLK_FREQ", u64::from(clock)),
        ("CONSOLE_ADDR", hardware.console.address),
        ("CONSOLE_BAUD", u64::from(hardware.console.baud)),
        ("BL2_LIMIT", bl2.end()),
        ("BL31_BASE", bl31.start),
        ("BL31_SIZE", bl31.size),
        ("BL32_BASE", optee.start),
        ("BL33_BASE", *hardware.memory.u_boot.get_ref()),
        ("SHARED_BASE", region("shared")?.start),
        ("FIP_OFFSET", fip.start),
        ("FIP_SIZE", fip.size),
    ];
    for (name, value) in numbers {
        writeln!(text, "#define TRUSTBOX_{name} 0x{value:x}")?;
    }
    if let Some(ddr) = hardware.ddr {
        writeln!(text, "#define TRUSTBOX_DDR_SIZE 0x{:x}LL", ddr.size.get_ref())?;
        writeln!(text, "#define TRUSTBOX_DDR_REGISTERS \\\n{}", ddr.initializers())?;
    }
    Ok(text)
}

/// `facts.dtsi` for the device tree: memory of the normal world, console, and what belongs to the secure world.
pub(crate) fn device_tree(hardware: &Hardware<'_>) -> Result<String> {
    let linux = ["linux-0", "linux-1"].iter().filter_map(|name| hardware.memory.region(name));
    let ranges: Vec<_> = linux.map(cells).collect();
    let start = hardware.memory.region("linux-0").context("no memory region linux-0")?.start;
    let console = hardware.console;
    let mut text = format!(
        "/* Generated from the board's description */\n\n/ {{\n\tchosen {{\n\t\tstdout-path = \"{}:{}n8\";\n\t}};\n\n\
         \t/delete-node/ memory@{start:x};\n\tmemory@{start:x} {{\n\t\tdevice_type = \"memory\";\n\t\treg = {};\n\t}};\n}};\n",
        console.device,
        console.baud,
        ranges.join(", ")
    );
    for device in &hardware.devices.secure {
        writeln!(text, "\n/* {} */\n&{} {{\n\tstatus = \"disabled\";\n}};", device.why, device.label)?;
    }
    Ok(text)
}

/// U-Boot options that follow from the flash map.
pub(crate) fn u_boot_options(hardware: &Hardware<'_>) -> Vec<(String, String)> {
    let media = [MediumKind::Sd, MediumKind::Emmc];
    let mut regions = media.iter().filter_map(|kind| hardware.media.get(kind)?.region("environment"));
    let Some(region) = regions.next() else { return Vec::new() };
    [("CONFIG_ENV_OFFSET", region.start), ("CONFIG_ENV_SIZE", region.size)]
        .map(|(name, value)| (name.to_owned(), format!("0x{value:x}")))
        .into()
}

fn cells(region: &Region) -> String {
    let [start, size] = [region.start, region.size].map(|number| (number >> 32, number & 0xffff_ffff));
    format!("<0x{:x} 0x{:x} 0x{:x} 0x{:x}>", start.0, start.1, size.0, size.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::Board;
    use crate::builder::Repo;

    #[test]
    fn generated_text_has_the_numbers_of_the_description() {
        let board = Board::load(&Repo::find().unwrap(), "trustbox-edge-201").unwrap();
        let hardware = board.hardware().unwrap();
        let text = header(&hardware).unwrap();
        for line in [
            "#define TRUSTBOX_SYSCLK_FREQ 0x5f5e100",
            "#define TRUSTBOX_BL2_LIMIT 0x18034000",
            "\t.timing_cfg[1] = 0xbeb40c52U, \\",
            "\t.cs[0].config = 0x80010422U, \\",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        let tree = device_tree(&hardware).unwrap();
        assert!(
            tree.contains("reg = <0x0 0x80000000 0x0 0x7be00000>, <0x20 0x80000000 0x0 0x80000000>;"),
            "{tree}"
        );
        assert!(tree.contains("&sec_jr2 {\n\tstatus = \"disabled\";\n};"));
        assert_eq!(u_boot_options(&hardware)[0], ("CONFIG_ENV_OFFSET".into(), "0x500000".into()));
    }
}

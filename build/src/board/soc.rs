//! What only a real board has: boot media, reset configuration, memory controller, console, device tree.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;
use trustbox_boot_image::Error;
use trustbox_boot_image::pbi::{Command, Source, Stop};
use trustbox_boot_image::pbl::{Pbl, Placement};
use trustbox_boot_image::rcw::{PBI_LENGTH, Rcw};

use crate::board::layout::{Complaint, Extent, FlashRegion, Memory, flash_complaint};

/// Where FlexSPI NOR is in memory while the boot ROM runs.
const NOR_ADDRESS: u32 = 0x2000_0000;
/// Where TF-A's NXP platforms look for the FIP on every medium, and how much of it they read at most.
const FIP: (u64, u64) = (0x10_0000, 0x40_0000);
/// Regions of a medium that the builder writes.
const WRITTEN: [&str; 2] = ["pbl", "fip"];
/// Memory regions that firmware of a real board is built for.
const REGIONS: [&str; 6] = ["bl2", "bl31", "optee", "shared", "linux-0", "linux-1"];
/// Registers of the memory controller, as TF-A's `struct ddr_cfg_regs` names them; a number is how many there are.
const DDR_REGISTERS: [(&str, usize); 12] = [
    ("timing_cfg", 10),
    ("sdram_cfg", 3),
    ("sdram_mode", 16),
    ("interval", 0),
    ("data_init", 0),
    ("clk_cntl", 0),
    ("zq_cntl", 0),
    ("wrlvl_cntl", 3),
    ("dq_map", 4),
    ("cdr", 2),
    ("debug", 64),
    ("eor", 0),
];

/// A medium the board boots from.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MediumKind {
    Sd,
    Emmc,
    Nor,
}

impl MediumKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sd => "sd",
            Self::Emmc => "emmc",
            Self::Nor => "nor",
        }
    }

    /// TF-A's name for it.
    pub(crate) fn boot_mode(self) -> &'static str {
        match self {
            Self::Sd => "sd",
            Self::Emmc => "emmc",
            Self::Nor => "flexspi_nor",
        }
    }

    fn source(self) -> Source {
        match self {
            Self::Sd => Source::Sd,
            Self::Emmc => Source::Emmc,
            Self::Nor => Source::Nor,
        }
    }
}

/// A medium's boot region.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Medium {
    /// Octets that belong to the boot region.
    pub(crate) size: u64,
    /// Where the boot ROM looks for the PBL.
    pub(crate) pbl_offset: Spanned<u32>,
    /// Where BL2 is, from the start of the PBL.
    pub(crate) bl2_offset: Spanned<u32>,
    #[serde(rename = "region")]
    pub(crate) regions: Vec<Spanned<FlashRegion>>,
    /// RCW fields that differ on this medium.
    #[serde(default)]
    pub(crate) rcw: BTreeMap<String, Spanned<u64>>,
}

impl Medium {
    /// The region of a name.
    pub(crate) fn region(&self, name: &str) -> Option<&FlashRegion> {
        self.regions.iter().map(Spanned::get_ref).find(|region| region.name == name)
    }

    fn complaint(&self) -> Option<Complaint> {
        flash_complaint(&self.regions, self.size).or_else(|| self.misplaced())
    }

    /// What the ROM and TF-A look for is where they look.
    fn misplaced(&self) -> Option<Complaint> {
        let lacks = WRITTEN.iter().find(|name| self.region(name).is_none());
        if let Some(name) = lacks {
            return Some((self.pbl_offset.span(), format!("the medium has no region {name}")));
        }
        self.regions.iter().find_map(|region| {
            let part = region.get_ref();
            let what = match part.name.as_str() {
                "pbl" if part.start != u64::from(*self.pbl_offset.get_ref()) => {
                    format!("region {}, but the PBL is at 0x{:x}", part.shown(), self.pbl_offset.get_ref())
                }
                "fip" if (part.start, part.size) != FIP => {
                    format!("region {}, but TF-A reads 0x{:x}..0x{:x}", part.shown(), FIP.0, FIP.0 + FIP.1)
                }
                _ => return None,
            };
            Some((region.span(), what))
        })
    }
}

/// Reset configuration word and PBI writes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RcwFacts {
    pub(crate) fields: BTreeMap<String, Spanned<u64>>,
    #[serde(default, rename = "write")]
    pub(crate) writes: Vec<PbiWrites>,
}

/// Register writes before the first instruction, and why.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PbiWrites {
    pub(crate) why: String,
    /// Offset in the configuration space, and value.
    pub(crate) writes: Vec<Spanned<[u32; 2]>>,
}

/// The memory controller's registers, where TF-A cannot find them out.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ddr {
    pub(crate) size: Spanned<u64>,
    pub(crate) registers: BTreeMap<String, Spanned<u32>>,
}

/// The serial port that firmware and Linux talk on.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Console {
    /// Alias in the device tree.
    pub(crate) device: String,
    pub(crate) address: u64,
    pub(crate) baud: u32,
}

/// The board's device tree.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeviceTree {
    /// File beside the board's TOML.
    pub(crate) source: String,
}

/// Devices that need words.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Devices {
    /// Devices of the secure world, which Linux must not touch.
    pub(crate) secure: Vec<SecureDevice>,
}

/// A device of the secure world.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SecureDevice {
    /// Label in the device tree.
    pub(crate) label: String,
    pub(crate) why: String,
}

/// A real board's facts, all there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hardware<'a> {
    pub(crate) memory: &'a Memory,
    pub(crate) media: &'a BTreeMap<MediumKind, Medium>,
    pub(crate) rcw: &'a RcwFacts,
    pub(crate) ddr: Option<&'a Ddr>,
    pub(crate) console: &'a Console,
    pub(crate) device_tree: &'a DeviceTree,
    pub(crate) devices: &'a Devices,
}

impl Hardware<'_> {
    /// Where the boot state is, on every medium that has it.
    pub(crate) fn boot_state(&self) -> Option<u64> {
        self.media.values().find_map(|medium| medium.region("boot-state")).map(|region| region.start)
    }

    /// The first thing that is wrong.
    pub(crate) fn complaint(&self) -> Option<Complaint> {
        let lacks = REGIONS.iter().find(|name| self.memory.region(name).is_none());
        if let Some(name) = lacks {
            return Some((self.memory.u_boot.span(), format!("the board has no memory region {name}")));
        }
        self.media
            .iter()
            .find_map(|(kind, medium)| medium.complaint().or_else(|| self.rcw_complaint(*kind, medium)))
            .or_else(|| self.ddr.and_then(|ddr| ddr.complaint(self.memory)))
    }

    /// What the boot ROM reads from a medium, but for the commands that load BL2.
    pub(crate) fn pbl(&self, kind: MediumKind) -> Result<Pbl, Error> {
        let mut rcw = Rcw::zero();
        let differing = self.media.get(&kind).into_iter().flat_map(|medium| &medium.rcw);
        for (name, value) in self.rcw.fields.iter().chain(differing) {
            rcw.set(name, *value.get_ref())?;
        }
        let writes = self.rcw.writes.iter().flat_map(|group| &group.writes).map(Spanned::get_ref);
        let commands =
            writes.map(|[address, value]| Command::Write { address: *address, octet: false, value: *value });
        Ok(Pbl { rcw, checked: true, commands: commands.collect(), stop: Stop::Plain })
    }

    /// Where BL2 is on a medium and in memory; `None` where the board has no such medium or no room for BL2.
    pub(crate) fn placement(&self, kind: MediumKind) -> Option<Placement> {
        let (medium, region) = (self.media.get(&kind)?, self.memory.region("bl2")?);
        let base = if kind == MediumKind::Nor { NOR_ADDRESS } else { 0 };
        Some(Placement {
            source: kind.source(),
            base: base + medium.pbl_offset.get_ref(),
            offset: *medium.bl2_offset.get_ref(),
            address: u32::try_from(region.start).ok()?,
            room: u32::try_from(region.size).ok()?,
        })
    }

    /// OP-TEE's flags that follow from the memory map. Where a region lacks, OP-TEE's own defaults stay.
    pub(crate) fn optee_flags(&self) -> Vec<(String, String)> {
        let names = [
            ("optee", "CFG_TZDRAM_START", "CFG_TZDRAM_SIZE"),
            ("shared", "CFG_SHMEM_START", "CFG_SHMEM_SIZE"),
            ("linux-0", "", "CFG_LS_NSEC_DDR_0_SIZE"),
            ("linux-1", "CFG_LS_NSEC_DDR_1_BASE", "CFG_LS_NSEC_DDR_1_SIZE"),
        ];
        let mut flags = Vec::new();
        for (region, start, size) in names {
            let Some(region) = self.memory.region(region) else { continue };
            flags.extend([(start, region.start), (size, region.size)]);
        }
        let named = flags.into_iter().filter(|(name, _)| !name.is_empty());
        named.map(|(name, value)| (name.to_owned(), format!("0x{value:x}"))).collect()
    }

    /// Each field alone, so that the message has the line of the one that is wrong.
    fn rcw_complaint(&self, kind: MediumKind, medium: &Medium) -> Option<Complaint> {
        let field = |(name, value): (&String, &Spanned<u64>)| {
            let what = match name.as_str() {
                PBI_LENGTH => format!("{PBI_LENGTH} is counted, not set"),
                _ => Rcw::zero().set(name, *value.get_ref()).err()?.to_string(),
            };
            Some((value.span(), what))
        };
        let write = |write: &Spanned<[u32; 2]>| {
            let [address, value] = *write.get_ref();
            let command = Command::Write { address, octet: false, value };
            Some((write.span(), command.encode(&mut Vec::new()).err()?.to_string()))
        };
        let all = self.rcw.fields.iter().chain(&medium.rcw);
        let writes = self.rcw.writes.iter().flat_map(|group| &group.writes);
        all.map(field)
            .find_map(|found| found)
            .or_else(|| writes.map(write).find_map(|found| found))
            .or_else(|| Some((medium.pbl_offset.span(), self.pbl(kind).err()?.to_string())))
    }
}

impl Ddr {
    fn complaint(&self, memory: &Memory) -> Option<Complaint> {
        let unknown = self.registers.iter().find(|(name, _)| !is_register(name));
        if let Some((name, value)) = unknown {
            return Some((value.span(), format!("the memory controller has no register {name}")));
        }
        let banks = memory.banks.iter().map(Spanned::get_ref).filter(|bank| bank.name.starts_with("dram"));
        let (told, found) = (*self.size.get_ref(), banks.map(|bank| bank.size).sum::<u64>());
        let what = format!("0x{told:x} octets of memory, but the banks dram-* have 0x{found:x}");
        (told != found).then(|| (self.size.span(), what))
    }

    /// The registers as initializers of TF-A's structure, in the order of their names.
    pub(crate) fn initializers(&self) -> String {
        let line =
            |(name, value): (&String, &Spanned<u32>)| format!("\t.{name} = 0x{:08x}U, \\\n", value.get_ref());
        self.registers.iter().map(line).collect()
    }
}

/// A name such as `interval`, `timing_cfg[3]` or `cs[0].config`.
fn is_register(name: &str) -> bool {
    if let Some(rest) = name.strip_prefix("cs[").and_then(|rest| rest.split_once("].")) {
        return matches!(rest.0, "0" | "1" | "2" | "3") && matches!(rest.1, "bnds" | "config" | "config_2");
    }
    let (plain, number) = match name.strip_suffix(']').and_then(|rest| rest.split_once('[')) {
        Some((plain, number)) => (plain, number.parse::<usize>().ok()),
        None => (name, None),
    };
    DDR_REGISTERS
        .iter()
        .any(|(known, count)| *known == plain && number.map_or(*count == 0, |number| number < *count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_are_those_of_the_controller() {
        for name in ["interval", "timing_cfg[9]", "cs[3].config_2", "debug[63]"] {
            assert!(is_register(name), "{name}");
        }
        for name in
            ["interval[0]", "timing_cfg", "timing_cfg[10]", "cs[4].bnds", "cs[0].x", "x] = 1; y[0]", ""]
        {
            assert!(!is_register(name), "{name}");
        }
    }
}

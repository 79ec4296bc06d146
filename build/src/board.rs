//! `platform/<board>/board.toml`: a raw form that refuses unknown fields, then a checked type with file and line in errors.
//!
//! A `-dev` board inherits another and says so in two lines. What it weakens, the inherited board lists as `dev-…`.

mod draw;
pub(crate) mod inherit;
pub(crate) mod layout;
pub(crate) mod platform;
pub(crate) mod soc;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use toml::Spanned;

use crate::board::layout::{Extent, Memory};
use crate::board::soc::{Console, Ddr, DeviceTree, Devices, Hardware, Medium, MediumKind, RcwFacts};
use crate::builder::Repo;

/// The board every command takes when none is named.
pub(crate) const DEFAULT: &str = "qemu-armv8a";

/// Flags that a production board must switch off, and why.
pub(crate) const WEAK_FLAGS: [(&str, &str); 10] = [
    ("CFG_REE_FS_TA", "loads trusted applications from Linux's file system"),
    ("CFG_INSECURE", "accepts a stub hardware key and storage without rollback protection"),
    ("CFG_REE_FS_ALLOW_RESET", "makes a new storage where the old one was deleted"),
    ("CFG_WITH_SOFTWARE_PRNG", "makes keys from a software generator"),
    ("CFG_RPMB_WRITE_KEY", "writes the RPMB key, which can be written once only, for whoever asks"),
    ("CFG_ENABLE_EMBEDDED_TESTS", "has commands that are only for tests"),
    ("CFG_SECSTOR_TA_MGMT_REE_CALLERS", "lets Linux install trusted applications past the TrustBox TA"),
    ("CFG_TEE_CORE_DEBUG", "has checks and messages that are only for debugging"),
    ("CFG_WITH_STATS", "tells Linux what goes on in the secure world"),
    ("CFG_PKCS11_TA", "has a second trusted application that nobody asked for"),
];

/// Flags that a production board must switch on, and why.
pub(crate) const STRONG_FLAGS: [(&str, &str); 2] = [
    ("CFG_RPMB_FS", "storage has no rollback protection without it"),
    ("CFG_REE_FS_INTEGRITY_RPMB", "files of the secure storage can be replayed without it"),
];

/// What a board is allowed to be used for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Profile {
    Dev,
    Production,
}

/// A board's facts, checked.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Board {
    pub(crate) name: Spanned<String>,
    /// For people.
    pub(crate) title: String,
    pub(crate) profile: Profile,
    pub(crate) ta: Facts,
    pub(crate) optee: Optee,
    pub(crate) tfa: TrustedFirmware,
    pub(crate) u_boot: Spanned<UBoot>,
    pub(crate) linux: Linux,
    pub(crate) memory: Memory,
    image: Option<ImageFacts>,
    verified: Option<Verified>,
    emulator: Option<Emulator>,
    #[serde(default)]
    media: BTreeMap<MediumKind, Medium>,
    rcw: Option<RcwFacts>,
    ddr: Option<Ddr>,
    console: Option<Console>,
    device_tree: Option<DeviceTree>,
    #[serde(default)]
    devices: Devices,
}

/// What the TrustBox TA is told about the board.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Facts {
    pub(crate) huk: Huk,
    /// What it is worth at least on a `-dev` board.
    #[serde(default)]
    dev_huk: Option<Huk>,
    pub(crate) rollback_protection: RollbackProtection,
    pub(crate) max_image: u32,
}

/// What notices that secure storage was replaced by an older copy.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RollbackProtection {
    None,
    Rpmb,
}

impl RollbackProtection {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Rpmb => "rpmb",
        }
    }
}

/// The least hardware unique key that firmware takes; what a device has, OP-TEE says.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Huk {
    Unique,
    TestKey,
    Stub,
}

impl Profile {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Production => "production",
        }
    }
}

/// OP-TEE's platform and build flags.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Optee {
    pub(crate) platform: String,
    pub(crate) flags: BTreeMap<String, Spanned<String>>,
    /// What a `-dev` board has instead.
    #[serde(default)]
    pub(crate) dev_flags: BTreeMap<String, Spanned<String>>,
    /// What firmware for OP-TEE's own tests has besides; it is no firmware for anything else.
    #[serde(default)]
    pub(crate) test_flags: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    pub(crate) debug_flags: BTreeMap<String, Spanned<String>>,
}

/// TF-A's platform and build flags.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct TrustedFirmware {
    pub(crate) platform: String,
    pub(crate) flags: BTreeMap<String, String>,
}

/// U-Boot: a file of a pinned binary package, or a configuration of a pinned source package.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct UBoot {
    pub(crate) package: String,
    pub(crate) file: Option<String>,
    #[serde(default)]
    pub(crate) environment: BTreeMap<String, Spanned<Replacement>>,
    pub(crate) defconfig: Option<String>,
    /// Options that differ from the configuration.
    #[serde(default)]
    pub(crate) options: BTreeMap<String, String>,
}

/// Verified boot: a U-Boot that boots signed images only, and where they are.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Verified {
    pub(crate) package: String,
    pub(crate) defconfig: String,
    /// Media in the order in which they are looked at, as U-Boot names them.
    pub(crate) media: String,
    /// Where the boot state is on the medium; a real board's flash map says it.
    pub(crate) state: Option<u64>,
    /// Where images are read to, and how many octets they may have.
    pub(crate) image: u64,
    pub(crate) room: u64,
    /// Where the kernel is unpacked to.
    pub(crate) kernel: u64,
    #[serde(default)]
    pub(crate) options: BTreeMap<String, String>,
}

/// A default value and what replaces it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Replacement {
    pub(crate) from: String,
    pub(crate) to: String,
}

/// The kernel, its command line and its modules.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Linux {
    pub(crate) package: String,
    pub(crate) image: String,
    pub(crate) command_line: String,
    /// Modules by the occasion they are loaded on.
    #[serde(default)]
    pub(crate) modules: BTreeMap<String, Vec<String>>,
}

/// What an image has that depends on the board.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ImageFacts {
    /// Modules of the RAM disk, which finds the root.
    pub(crate) early_modules: Vec<String>,
    /// Modules of the root; loading ends after them.
    pub(crate) modules: Vec<String>,
    /// What containers need besides.
    pub(crate) container_modules: Vec<String>,
    /// Where the firmware is on the medium, if it is not where a boot ROM reads it.
    pub(crate) firmware: Option<u64>,
}

/// How QEMU is started.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Emulator {
    pub(crate) program: String,
    pub(crate) machine: String,
    pub(crate) cpu: String,
    pub(crate) cpus: u32,
    pub(crate) memory_mib: u32,
}

/// The flash of the emulated device that answers to the secure world only, from physical address 0. What belongs to the
/// firmware comes first, then what belongs to the device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SecureFlash {
    pub(crate) size: u64,
    /// Octets that the firmware may have.
    pub(crate) firmware: u64,
    /// Where the device's own part begins.
    pub(crate) device: u64,
}

impl Board {
    /// Reads a board by the name of its folder.
    pub(crate) fn load(repo: &Repo, name: &str) -> Result<Self> {
        match inherit::read(repo, name)? {
            inherit::Text::Whole { path, text } => Self::parse(&text, &path, name, None),
            inherit::Text::Inherits { path, text, parent, profile } => {
                Self::parse(&text, &path, &parent, Some((name, profile)))
            }
        }
    }

    /// Checks a board's text; `heir` is the board that inherits it, with its profile.
    fn parse(text: &str, path: &Path, name: &str, heir: Option<(&str, Profile)>) -> Result<Self> {
        let mut board: Self = toml::from_str(text).map_err(|error| {
            let place = place(path, text, error.span());
            anyhow::anyhow!("{place}: {}", error.message())
        })?;
        let complaint = board.complaint(name);
        if let Some((span, what)) = complaint {
            bail!("{}: {what}", place(path, text, Some(span)));
        }
        if let Some((heir, profile)) = heir {
            board.become_heir(heir, profile);
        }
        Ok(board)
    }

    /// The first thing that is wrong, with its place.
    fn complaint(&self, folder: &str) -> Option<(Range<usize>, String)> {
        if self.name.get_ref() != folder {
            let what = format!("board {} is in folder {folder}", self.name.get_ref());
            return Some((self.name.span(), what));
        }
        self.weak_flag()
            .or_else(|| self.strong_flag())
            .or_else(|| self.unequal_replacement())
            .or_else(|| self.memory.complaint())
            .or_else(|| self.incomplete())
            .or_else(|| self.hardware().and_then(|hardware| hardware.complaint()))
    }

    /// A board is emulated or real, and a real one has all that takes.
    fn incomplete(&self) -> Option<(Range<usize>, String)> {
        let u_boot = self.u_boot.get_ref();
        if u_boot.file.is_some() == u_boot.defconfig.is_some() {
            return Some((self.u_boot.span(), "u-boot has either a file or a defconfig".to_owned()));
        }
        if self.emulator.is_some() == self.hardware().is_some() {
            let what = "a board has either [emulator], or all of [media], [rcw], [console] and [device-tree]";
            return Some((self.name.span(), what.to_owned()));
        }
        None
    }

    /// What a real board has; `None` for the emulated one.
    pub(crate) fn hardware(&self) -> Option<Hardware<'_>> {
        Some(Hardware {
            memory: &self.memory,
            media: Some(&self.media).filter(|media| !media.is_empty())?,
            rcw: self.rcw.as_ref()?,
            ddr: self.ddr.as_ref(),
            console: self.console.as_ref()?,
            device_tree: self.device_tree.as_ref()?,
            devices: &self.devices,
        })
    }

    /// How QEMU is started; an error for a real board.
    pub(crate) fn emulator(&self) -> Result<&Emulator> {
        self.emulator.as_ref().with_context(|| {
            format!(
                "{} is a real board, it cannot be emulated\nhelp: --platform {DEFAULT}",
                self.name.get_ref()
            )
        })
    }

    /// What an image needs.
    pub(crate) fn image(&self) -> Result<&ImageFacts> {
        self.image.as_ref().with_context(|| format!("board {} has no [image]", self.name.get_ref()))
    }

    /// What verified boot needs.
    pub(crate) fn verified(&self) -> Result<&Verified> {
        self.verified.as_ref().with_context(|| format!("board {} has no [verified]", self.name.get_ref()))
    }

    /// The emulated device's secure flash; an error for a real board.
    pub(crate) fn secure_flash(&self) -> Result<SecureFlash> {
        self.emulator()?;
        let region = |name| self.memory.region(name).with_context(|| format!("no memory region {name}"));
        let (firmware, device) = (region("firmware")?, region("device")?);
        Ok(SecureFlash { size: device.end(), firmware: firmware.size, device: device.start })
    }

    /// OP-TEE's own defaults are weak, so a production board must say "n" itself.
    fn weak_flag(&self) -> Option<(Range<usize>, String)> {
        self.flag_complaint(&WEAK_FLAGS, "n")
    }

    fn strong_flag(&self) -> Option<(Range<usize>, String)> {
        self.flag_complaint(&STRONG_FLAGS, "y")
    }

    fn flag_complaint(&self, flags: &[(&str, &str)], wanted: &str) -> Option<(Range<usize>, String)> {
        if self.profile == Profile::Dev {
            return None;
        }
        flags.iter().find_map(|(flag, why)| {
            let value = self.optee.flags.get(*flag);
            let right = value.is_some_and(|value| value.get_ref() == wanted);
            let what = format!("{flag}: {why}\nhelp: set it to \"{wanted}\", or the profile to \"dev\"");
            (!right).then(|| (value.map_or(self.name.span(), Spanned::span), what))
        })
    }

    /// Takes the name and profile of the board that inherits this one.
    fn become_heir(&mut self, name: &str, profile: Profile) {
        self.name = Spanned::new(self.name.span(), name.to_owned());
        self.profile = profile;
        if profile == Profile::Dev {
            self.ta.huk = self.ta.dev_huk.unwrap_or(self.ta.huk);
            self.optee.flags.extend(self.optee.dev_flags.clone());
        }
    }

    fn unequal_replacement(&self) -> Option<(Range<usize>, String)> {
        self.u_boot.get_ref().environment.iter().find_map(|(name, value)| {
            let (from, to) = (&value.get_ref().from, &value.get_ref().to);
            let what = format!("{name}: \"{from}\" and \"{to}\" must have the same length");
            (from.len() != to.len()).then(|| (value.span(), what))
        })
    }

    /// OP-TEE's flags: the board's, those that follow from its memory map, and those of a debugging build where asked.
    pub(crate) fn optee_flags(&self, debug: bool) -> BTreeMap<String, String> {
        let extra = self.optee.debug_flags.iter().filter(|_| debug);
        let all = self.optee.flags.iter().chain(extra);
        let mut flags: BTreeMap<_, _> =
            all.map(|(name, value)| (name.clone(), value.get_ref().clone())).collect();
        if let (Some(_), Some(device)) = (&self.emulator, self.memory.region("device")) {
            flags.insert("CFG_SECURE_FLASH_DEVICE".to_owned(), format!("0x{:x}", device.start));
        }
        if let Some(hardware) = self.hardware() {
            flags.extend(hardware.optee_flags());
            let test_key = if self.ta.huk == Huk::Unique { "n" } else { "y" };
            flags.insert("CFG_HUK_TEST_KEY".to_owned(), test_key.to_owned());
        }
        flags
    }
}

fn place(path: &Path, text: &str, span: Option<Range<usize>>) -> String {
    let start = span.map_or(0, |span| span.start.min(text.len()));
    let line = 1 + text.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count();
    format!("{}:{line}", path.display())
}

#[cfg(test)]
mod tests;

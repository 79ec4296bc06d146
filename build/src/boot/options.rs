//! What a U-Boot that verifies must have, and what it must not have. Both are asked for, and both are looked for in the
//! configuration that Kconfig made of it.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

/// What makes it verify.
pub(crate) const WANTED: [(&str, &str); 10] = [
    ("CONFIG_RSA", "y"),
    ("CONFIG_RSA_SOFTWARE_EXP", "y"),
    ("CONFIG_TRUSTBOX_BOOT", "y"),
    ("CONFIG_FIT_SIGNATURE", "y"),
    ("CONFIG_FIT_FULL_CHECK", "y"),
    ("CONFIG_RSA_VERIFY", "y"),
    ("CONFIG_SHA256", "y"),
    ("CONFIG_EFI_PARTITION", "y"),
    ("CONFIG_ENV_IS_NOWHERE", "y"),
    ("CONFIG_NO_NET", "y"),
];

/// What lets something in, and why. `OF_HAS_PRIOR_STAGE` stays on for QEMU and does nothing without `OF_BOARD`.
pub(crate) const FORBIDDEN: [(&str, &str); 38] = [
    ("CONFIG_OF_BOARD", "takes its device tree, and so its keys, from whoever was before it"),
    ("CONFIG_OF_OMIT_DTB", "has no device tree, and so no key, of its own"),
    ("CONFIG_LEGACY_IMAGE_FORMAT", "boots images that are not signed"),
    ("CONFIG_ANDROID_BOOT_IMAGE", "boots images that are not signed"),
    ("CONFIG_CMD_BOOTI", "boots images that are not signed"),
    ("CONFIG_CMD_BOOTZ", "boots images that are not signed"),
    ("CONFIG_CMD_ELF", "boots images that are not signed"),
    ("CONFIG_CMD_GO", "jumps to any address"),
    ("CONFIG_EFI_LOADER", "boots what is not signed by our key"),
    ("CONFIG_BOOTSTD", "looks for what it might boot"),
    ("CONFIG_DISTRO_DEFAULTS", "looks for what it might boot"),
    ("CONFIG_USE_PREBOOT", "runs a script"),
    ("CONFIG_USE_BOOTARGS", "changes the signed command line"),
    ("CONFIG_USE_BOOTCOMMAND", "runs a script"),
    ("CONFIG_HUSH_PARSER", "runs scripts"),
    ("CONFIG_CMD_RUN", "runs scripts"),
    ("CONFIG_CMD_SOURCE", "runs scripts"),
    ("CONFIG_CMD_MEMORY", "reads and writes memory"),
    ("CONFIG_CMD_SAVEENV", "has an environment"),
    ("CONFIG_CMD_IMPORTENV", "has an environment"),
    ("CONFIG_ENV_IS_IN_FLASH", "has an environment"),
    ("CONFIG_ENV_IS_IN_MMC", "has an environment"),
    ("CONFIG_ENV_IS_IN_SPI_FLASH", "has an environment"),
    ("CONFIG_SYS_CONSOLE_IS_IN_ENV", "has an environment"),
    ("CONFIG_NET", "talks to a network"),
    ("CONFIG_USB", "talks to whatever is plugged in"),
    ("CONFIG_CMD_USB", "talks to whatever is plugged in"),
    ("CONFIG_SCSI", "reads media that it does not boot from"),
    ("CONFIG_AHCI", "reads media that it does not boot from"),
    ("CONFIG_NVME", "reads media that it does not boot from"),
    ("CONFIG_NVME_PCI", "reads media that it does not boot from"),
    ("CONFIG_CMD_LOADB", "takes images from the serial port"),
    ("CONFIG_CMD_LOADS", "takes images from the serial port"),
    ("CONFIG_SEMIHOSTING", "reads files of a debugger"),
    ("CONFIG_QFW", "takes a kernel from the emulator"),
    ("CONFIG_FS_FAT", "reads file systems"),
    ("CONFIG_FS_EXT4", "reads file systems"),
    ("CONFIG_CHAIN_OF_TRUST", "is the chip maker's own verification, in place of ours"),
];

/// What is only in the way: tools of the host, and what needs what is forbidden.
const IN_THE_WAY: [&str; 27] = [
    "CONFIG_SATA",
    "CONFIG_SATA_CEVA",
    "CONFIG_DM_SCSI",
    "CONFIG_OF_LIVE",
    "CONFIG_CONSOLE_MUX",
    "CONFIG_TOOLS_MKEFICAPSULE",
    "CONFIG_BOOTSTD_FULL",
    "CONFIG_AHCI_PCI",
    "CONFIG_TPM",
    "CONFIG_MTD",
    "CONFIG_DM_MTD",
    "CONFIG_MTD_NOR_FLASH",
    "CONFIG_VIDEO",
    "CONFIG_DFU_RAM",
    "CONFIG_CMD_DFU",
    "CONFIG_CMD_MTD",
    "CONFIG_CMD_QFW",
    "CONFIG_SMBIOS",
    "CONFIG_GENERATE_SMBIOS_TABLE",
    "CONFIG_MBEDTLS_LIB",
    "CONFIG_ACPI",
    "CONFIG_CMD_SMBIOS",
    "CONFIG_CMD_PCI",
    "CONFIG_CMD_EXT4",
    "CONFIG_CMD_EXT2",
    "CONFIG_CMD_FAT",
    "CONFIG_CMD_NVEDIT_EFI",
];

/// Options to ask for: those of the board last, so that it may only add to what every board has.
pub(crate) fn asked(board: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let off = FORBIDDEN.iter().map(|(name, _)| *name).chain(IN_THE_WAY);
    let all = WANTED.iter().map(own).chain(off.map(|name| (name.to_owned(), "n".to_owned())));
    let own: Vec<_> = all.chain([("CONFIG_BOOTDELAY".to_owned(), "-2".to_owned())]).collect();
    let more = board.iter().filter(|(name, _)| !own.iter().any(|(known, _)| known == *name));
    let more: Vec<_> = more.map(|(name, value)| (name.clone(), value.clone())).collect();
    own.into_iter().chain(more).collect()
}

/// The configuration as Kconfig resolved it has what is wanted and nothing that is forbidden.
pub(crate) fn check(config: &str) -> Result<()> {
    for (name, value) in WANTED {
        let line = format!("{name}={value}");
        ensure!(config.lines().any(|found| found == line), "U-Boot's configuration lacks {line}");
    }
    for (name, why) in FORBIDDEN {
        let start = format!("{name}=");
        ensure!(!config.lines().any(|found| found.starts_with(&start)), "U-Boot has {name}: it {why}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> String {
        WANTED.iter().map(|(name, value)| format!("{name}={value}\n")).collect()
    }

    #[test]
    fn each_wanted_and_each_forbidden_option_is_looked_for() {
        assert!(check(&good()).is_ok());
        for (name, _) in WANTED {
            let error = check(&good().replace(name, "CONFIG_X")).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
        for (name, why) in FORBIDDEN {
            let error = check(&format!("{}{name}=y\n", good())).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(why), "{error}");
            assert!(check(&format!("{}# {name} is not set\n", good())).is_ok());
        }
    }

    #[test]
    fn a_board_cannot_ask_for_what_is_forbidden() {
        let board =
            BTreeMap::from([("CONFIG_NET".to_owned(), "y".to_owned()), ("CONFIG_A".into(), "2".into())]);
        let asked = asked(&board);
        assert!(asked.contains(&("CONFIG_A".into(), "2".into())));
        assert_eq!(
            asked.iter().filter(|(name, _)| name == "CONFIG_NET").collect::<Vec<_>>(),
            [&("CONFIG_NET".into(), "n".into())]
        );
    }
}

# U-Boot has no environment here, so no tool that writes one is on the device

RAUC_BOOTLOADER_RDEPENDS:trustbox = ""

# U-Boot has no environment on boards: trustbox-system tells it of slots
RAUC_BOOTLOADER_RDEPENDS:trustbox = ""
RAUC_BOOTLOADER_RDEPENDS:trustbox:ls1028a = "trustbox-system"

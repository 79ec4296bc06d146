SUMMARY = "Which slot comes first, and how often it is tried"
DESCRIPTION = "Reads and writes the boot state that U-Boot goes by: RAUC asks it as its bootloader backend"
HOMEPAGE = "https://op-tee.org"
SECTION = "utils"

inherit trustbox_cargo

TRUSTBOX_PACKAGE = "trustbox-system"
PACKAGE_ARCH = "${MACHINE_ARCH}"

# What it finds in images of the builder, of this board
do_install() {
    install -D -m 0755 ${B}/target/${CARGO_TARGET_SUBDIR}/trustbox-system ${D}${bindir}/trustbox-system
    install -d ${D}${nonarch_libdir}/trustbox
    echo '{"board": "${TRUSTBOX_BOARD}", "version": "${PV}", "boot_state": ${TRUSTBOX_BOOT_STATE}}' \
        > ${D}${nonarch_libdir}/trustbox/image.json
}

COMPATIBLE_MACHINE = "^ls1028a$"
FILES:${PN} += "${nonarch_libdir}/trustbox"

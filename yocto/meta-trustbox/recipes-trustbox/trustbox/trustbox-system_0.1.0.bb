SUMMARY = "Encrypted data partition, boot report, and which slot comes first"
DESCRIPTION = "What units of a TrustBox device run, as in images of the builder; RAUC asks it as its bootloader backend"
HOMEPAGE = "https://op-tee.org"
SECTION = "utils"

inherit trustbox_cargo trustbox_units
REQUIRED_DISTRO_FEATURES += "systemd"

TRUSTBOX_PACKAGE = "trustbox-system"
TRUSTBOX_IMAGE_FILES = "${S}/platform/image/files"
PACKAGE_ARCH = "${MACHINE_ARCH}"

# rauc-mark-good asks for words on the command line, and not whether the TEE answers
TRUSTBOX_GOOD = "${@'trustbox-good.service' if d.getVar('TRUSTBOX_BOOT_STATE') else ''}"
SYSTEMD_SERVICE:${PN} = "trustbox-data.service trustbox-report.service ${TRUSTBOX_GOOD}"

# What it finds in images of the builder, of this board
do_install() {
    install -D -m 0755 ${B}/target/${CARGO_TARGET_SUBDIR}/trustbox-system ${D}${bindir}/trustbox-system
    install -d ${D}${nonarch_libdir}/trustbox
    echo '{"board": "${TRUSTBOX_BOARD}", "version": "${PV}", "boot_state": ${@d.getVar('TRUSTBOX_BOOT_STATE') or 'null'}}' \
        > ${D}${nonarch_libdir}/trustbox/image.json
}

FILES:${PN} += "${nonarch_libdir}/trustbox"
RDEPENDS:${PN} += "cryptsetup e2fsprogs-mke2fs trustbox-cli trustbox-hardening trustbox-nftables trustbox-users"

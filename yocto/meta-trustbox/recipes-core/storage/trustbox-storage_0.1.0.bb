SUMMARY = "Mounts the partition with the storage of the TEE"
DESCRIPTION = "OP-TEE encrypts its storage itself; updates and resets leave it alone"
HOMEPAGE = "https://op-tee.org"
SECTION = "base"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://${COREBASE}/meta/COPYING.MIT;md5=3da9cfbcb788c80a0384361b4de20420"

inherit features_check systemd
REQUIRED_DISTRO_FEATURES = "systemd trustbox"

SRC_URI = "file://var-lib-tee.mount"
S = "${UNPACKDIR}"
PACKAGE_ARCH = "${MACHINE_ARCH}"

SYSTEMD_SERVICE:${PN} = "var-lib-tee.mount"

do_install() {
    install -D -m 0644 ${UNPACKDIR}/var-lib-tee.mount ${D}${systemd_system_unitdir}/var-lib-tee.mount
}

FILES:${PN} += "${systemd_system_unitdir}"

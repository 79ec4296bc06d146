SUMMARY = "First program of the initramfs: opens the verified root"
DESCRIPTION = "Finds the slot that was booted, opens it with dm-verity, and starts it; panics on anything else"
HOMEPAGE = "https://op-tee.org"
SECTION = "base"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://${COREBASE}/meta/COPYING.MIT;md5=3da9cfbcb788c80a0384361b4de20420"

inherit allarch features_check
REQUIRED_DISTRO_FEATURES = "trustbox"

SRC_URI = "file://init"
S = "${UNPACKDIR}"

do_install() {
    install -D -m 0755 ${UNPACKDIR}/init ${D}/init
}

FILES:${PN} += "/init"
RDEPENDS:${PN} = "busybox cryptsetup"

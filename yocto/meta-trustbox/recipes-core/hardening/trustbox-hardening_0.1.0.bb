SUMMARY = "Kernel settings, systemd and journal of a TrustBox device"
DESCRIPTION = "The same files as in images of the builder: no core dumps, no rescue shell, a journal that cannot fill anything"
HOMEPAGE = "https://op-tee.org"
SECTION = "base"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://${COREBASE}/meta/COPYING.MIT;md5=3da9cfbcb788c80a0384361b4de20420"

inherit allarch features_check
REQUIRED_DISTRO_FEATURES = "systemd trustbox"

FILESEXTRAPATHS:prepend := "${TRUSTBOX_SRC}/platform/image/files:"
SRC_URI = "\
    file://etc/systemd/journald.conf \
    file://etc/systemd/system.conf \
    file://usr/lib/sysctl.d/90-trustbox.conf \
    file://91-trustbox-modules.conf \
"
S = "${UNPACKDIR}"

do_install() {
    install -D -m 0644 ${UNPACKDIR}/usr/lib/sysctl.d/90-trustbox.conf ${D}${nonarch_libdir}/sysctl.d/90-trustbox.conf
    install -D -m 0644 ${UNPACKDIR}/91-trustbox-modules.conf ${D}${nonarch_libdir}/sysctl.d/91-trustbox-modules.conf
    for name in journald system; do
        install -D -m 0644 ${UNPACKDIR}/etc/systemd/$name.conf ${D}${systemd_unitdir}/$name.conf.d/90-trustbox.conf
    done
}

FILES:${PN} += "${nonarch_libdir} ${systemd_unitdir}"

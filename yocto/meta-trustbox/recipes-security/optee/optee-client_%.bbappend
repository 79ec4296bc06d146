# Secure storage is on a partition of its own, which no update and no reset touches; supplicant and storage start together

FILESEXTRAPATHS:prepend:trustbox := "${THISDIR}/files:"
SRC_URI:append:trustbox = " file://10-trustbox-storage.conf"
COMPATIBLE_MACHINE:ls1028a:trustbox = "ls1028a"
EXTRA_OECMAKE:append:trustbox = " -DCFG_TEE_FS_PARENT_PATH=${localstatedir}/lib/tee"

do_install:append:trustbox() {
    install -D -m 0644 ${UNPACKDIR}/10-trustbox-storage.conf \
        ${D}${systemd_system_unitdir}/tee-supplicant@.service.d/10-trustbox-storage.conf
}

FILES:${PN}:append:trustbox = " ${systemd_system_unitdir}/tee-supplicant@.service.d"

# Update slots of a TrustBox device, and the certificate that bundles must be signed under

FILESEXTRAPATHS:prepend:trustbox := "${THISDIR}/files:"
TRUSTBOX_KEYS_NEEDED:trustbox = "RAUC_KEYRING_FILE:certificate"
RAUC_KEYRING_URI:trustbox = ""
SRC_URI:append:trustbox = " file://10-trustbox-data.conf"
PACKAGE_ARCH:trustbox = "${MACHINE_ARCH}"
# Not where it is, but what is in it
TRUSTBOX_KEYRING:trustbox = "${RAUC_KEYRING_FILE}"
TRUSTBOX_KEYRING[vardepvalue] = ""
do_install[file-checksums] += "${@trustbox.keys.public_files(d)}"

python do_fetch:prepend:trustbox() {
    import trustbox.keys
    trustbox.keys.check(d)
}

TRUSTBOX_RAUC_BOOTLOADER = "noop"
TRUSTBOX_RAUC_BOOTLOADER:ls1028a = "custom"

do_install:trustbox() {
    install -d ${D}${nonarch_libdir}/rauc
    sed -e 's,@COMPATIBLE@,trustbox-${TRUSTBOX_BOARD},' -e 's,@BOOTLOADER@,${TRUSTBOX_RAUC_BOOTLOADER},' \
        ${UNPACKDIR}/system.conf > ${D}${nonarch_libdir}/rauc/system.conf
    install -m 0644 ${TRUSTBOX_KEYRING} ${D}${nonarch_libdir}/rauc/keyring.pem
    install -D -m 0644 ${UNPACKDIR}/10-trustbox-data.conf ${D}${systemd_system_unitdir}/rauc.service.d/10-trustbox-data.conf
}

FILES:${PN}:append:trustbox = " ${systemd_system_unitdir}/rauc.service.d"

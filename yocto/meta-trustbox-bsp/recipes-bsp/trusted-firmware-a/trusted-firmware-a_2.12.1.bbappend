# BL2 and BL31 for each medium of an LS1028A board. The FIP around them is made by trustbox-firmware

require mbedtls-source.inc
inherit trustbox_keys

COMPATIBLE_MACHINE:ls1028a = "ls1028a"
FILESEXTRAPATHS:prepend:ls1028a := "${TRUSTBOX_BOARD_FILES}:"
LIC_FILES_CHKSUM:append:ls1028a = " file://${UNPACKDIR}/mbedtls/LICENSE;md5=379d5819937a6c2f1ef1630d341e026d"
SRC_URI:append:ls1028a = " file://trustbox_board.h"
TRUSTBOX_TREES:append:ls1028a = " ${UNPACKDIR}/mbedtls"
TFA_PLATFORM:ls1028a = "${TRUSTBOX_TFA_PLATFORM}"

# With verified boot BL2 believes certificates under one root key, whose digest is compiled in
TRUSTBOX_KEYS_NEEDED:ls1028a = "${@'TRUSTBOX_BOOT_KEYS:boot-keys' if d.getVar('TRUSTBOX_VERIFIED_BOOT') == '1' else ''}"
TRUSTBOX_BOOT_KEYS[vardepvalue] = ""
TRUSTBOX_ROOT_OF_TRUST = "\
    ${TRUSTBOX_TRUSTED_BOOT} MBEDTLS_DIR=${UNPACKDIR}/mbedtls \
    ROT_KEY=${TRUSTBOX_BOOT_KEYS}/root.pub.pem ROTPK_HASH=${B}/root.sha256 \
"
EXTRA_OEMAKE:append:ls1028a = " ${@'${TRUSTBOX_ROOT_OF_TRUST}' if d.getVar('TRUSTBOX_VERIFIED_BOOT') == '1' else ''}"

root_digest() {
    openssl pkey -pubin -in ${TRUSTBOX_BOOT_KEYS}/root.pub.pem -outform DER -out ${B}/root.der
    openssl dgst -sha256 -binary -out ${B}/root.sha256 ${B}/root.der
}

compile_medium() {
    oe_runmake -C ${S} BUILD_BASE=${B}/$1 BOOT_MODE=$2 TRUSTBOX_BOARD=${UNPACKDIR} bl2 bl31
}

do_compile:ls1028a() {
    [ "${TRUSTBOX_VERIFIED_BOOT}" != 1 ] || root_digest
    ${@' '.join('compile_medium %s %s;' % (name, d.getVarFlag('TRUSTBOX_BOOT_MODE', name)) for name in (d.getVar('TRUSTBOX_MEDIA') or '').split())}
}

do_install:ls1028a() {
    for medium in ${TRUSTBOX_MEDIA}; do
        install -d ${D}${FIRMWARE_DIR}/$medium
        for name in bl2 bl31; do
            install -m 0644 ${B}/$medium/${TFA_PLATFORM}/release/$name.bin ${D}${FIRMWARE_DIR}/$medium
            install -m 0644 ${B}/$medium/${TFA_PLATFORM}/release/$name/$name.elf ${D}${FIRMWARE_DIR}/$medium
        done
    done
}

FILES:${PN}:append:ls1028a = " ${FIRMWARE_DIR}/*/*.bin"
FILES:${PN}-dbg:append:ls1028a = " ${FIRMWARE_DIR}/*/*.elf"

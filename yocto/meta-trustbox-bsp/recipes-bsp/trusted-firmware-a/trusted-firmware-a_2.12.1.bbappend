# BL2 and BL31 for each medium of an LS1028A board. The FIP around them is made by trustbox-firmware

COMPATIBLE_MACHINE:ls1028a = "ls1028a"
FILESEXTRAPATHS:prepend:ls1028a := "${TRUSTBOX_BOARD_FILES}:"
SRC_URI:append:ls1028a = " file://trustbox_board.h"
TFA_PLATFORM:ls1028a = "${TRUSTBOX_TFA_PLATFORM}"

compile_medium() {
    oe_runmake -C ${S} BUILD_BASE=${B}/$1 BOOT_MODE=$2 TRUSTBOX_BOARD=${UNPACKDIR} bl2 bl31
}

do_compile:ls1028a() {
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

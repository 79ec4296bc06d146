SUMMARY = "Device trees of the board, for Linux and for U-Boot"
DESCRIPTION = "board.dts of platform/, completed by the board's facts, compiled as the builder compiles them"
HOMEPAGE = "https://www.denx.de/wiki/U-Boot"
SECTION = "bsp"
LICENSE = "GPL-2.0-or-later | MIT"
LIC_FILES_CHKSUM = "file://Licenses/README;md5=2ca5f2c35c8cc335f0a19756634782f1"
DEPENDS = "dtc-native"

# The kernel's device trees, as U-Boot's source has them
require recipes-bsp/u-boot/u-boot-source.inc
inherit trustbox_debian_source deploy nopackages

PROVIDES = "virtual/dtb"
COMPATIBLE_MACHINE = "^ls1028a$"

TRUSTBOX_BOARD_FOLDER = "${@(d.getVar('TRUSTBOX_BOARD') or '').removesuffix('-dev')}"
FILESEXTRAPATHS:prepend := "${TRUSTBOX_BOARD_FILES}:${TRUSTBOX_SRC}/platform/${TRUSTBOX_BOARD_FOLDER}:"
SRC_URI:append = " file://board.dts file://facts.dtsi"
PACKAGE_ARCH = "${MACHINE_ARCH}"

compile_tree() {
    name=$1
    shift
    ${BUILD_CPP} -nostdinc -undef -D__DTS__ -P -x assembler-with-cpp -I ${UNPACKDIR} "$@" \
        ${UNPACKDIR}/board.dts -o ${B}/$name.dts
    dtc -q -I dts -O dtb -@ ${TRUSTBOX_DTC_FLAGS} -o ${B}/$name.dtb ${B}/$name.dts
}

do_compile() {
    upstream=${S}/dts/upstream
    compile_tree linux -I $upstream/src/arm64/freescale -I $upstream/src/arm64 -I $upstream/include
    # Linux takes its command line from there, under the signature of the FIT image
    cp ${B}/linux.dtb ${B}/with-command-line.dtb
    fdtput -p -t s ${B}/with-command-line.dtb /chosen bootargs "${TRUSTBOX_COMMAND_LINE}"
    compile_tree u-boot -I ${S}/arch/arm/dts -I ${S}/include -I $upstream/include
}

do_install() {
    install -D -m 0644 ${B}/with-command-line.dtb ${D}/boot/devicetree/${TRUSTBOX_BOARD_FOLDER}.dtb
    install -D -m 0644 ${B}/u-boot.dtb ${D}/boot/trustbox/u-boot.dtb
}

do_deploy() {
    install -D -m 0644 ${B}/linux.dtb ${DEPLOYDIR}/trustbox/linux.dtb
}
addtask deploy after do_compile before do_build

SYSROOT_DIRS += "/boot"

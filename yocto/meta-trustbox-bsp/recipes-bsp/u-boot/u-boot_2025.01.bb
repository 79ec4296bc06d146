SUMMARY = "U-Boot that boots signed images and nothing else, as the builder makes it"
DESCRIPTION = "The pinned source with our patches and the board's options, and the key of images in its device tree"
HOMEPAGE = "https://www.denx.de/wiki/U-Boot"
LICENSE = "GPL-2.0-or-later"
LIC_FILES_CHKSUM = "file://Licenses/README;md5=2ca5f2c35c8cc335f0a19756634782f1"

require recipes-bsp/u-boot/u-boot-common.inc
require recipes-bsp/u-boot/u-boot.inc
require u-boot-source.inc
inherit trustbox_debian_source trustbox_kconfig trustbox_keys

# Only where a distribution asks for it
DEFAULT_PREFERENCE = "-1"

COMPATIBLE_MACHINE = "^ls1028a$"
DEPENDS += "bc-native dtc-native gnutls-native trustbox-devicetree util-linux-libuuid-native"

FILESEXTRAPATHS:prepend := "${TRUSTBOX_BOARD_FILES}:"
SRC_URI:append = " file://u-boot.cfg"
UBOOT_LOCALVERSION = ""
# There is no environment, and so no first one
UBOOT_INITIAL_ENV = ""

TRUSTBOX_KEYS_NEEDED = "TRUSTBOX_FIT_CERTIFICATE:certificate"
TRUSTBOX_FIT_CERTIFICATE[vardepvalue] = ""

# The board's own device tree with the key, and no other in the image
UBOOT_MAKE_OPTS = "EXT_DTB=${B}/with-key.dtb"

do_configure:append() {
    trustbox_check_fragments ${B}/.config ${UNPACKDIR}/u-boot.cfg
}

# Every configuration must be signed with this key
do_compile:prepend() {
    unset LDFLAGS CFLAGS CPPFLAGS
    oe_runmake -C ${S} O=${B} tools
    install -D -m 0644 ${TRUSTBOX_FIT_CERTIFICATE} ${B}/image-key/image.crt
    dtc -q -I dtb -O dtb -p ${TRUSTBOX_ROOM_FOR_A_KEY} -o ${B}/with-key.dtb ${RECIPE_SYSROOT}/boot/trustbox/u-boot.dtb
    ${B}/tools/fdt_add_pubkey -a sha256,rsa3072 -r conf -k ${B}/image-key -n image ${B}/with-key.dtb
}

# The linker leaves out what nothing can reach
do_compile:append() {
    ${NM} ${B}/u-boot > ${B}/symbols
    grep -q -w trustbox_boot ${B}/symbols || bbfatal "U-Boot has no trustbox_boot: it would boot what is not signed"
    ! grep -E -w '${TRUSTBOX_UBOOT_SHELL}' ${B}/symbols || bbfatal "U-Boot has a command line: see the line above"
}

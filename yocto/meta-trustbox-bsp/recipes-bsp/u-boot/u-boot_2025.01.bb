SUMMARY = "U-Boot as the builder makes it"
DESCRIPTION = "The pinned source with our patches and the board's options, for boards with an LS1028A"
HOMEPAGE = "https://www.denx.de/wiki/U-Boot"
LICENSE = "GPL-2.0-or-later"
LIC_FILES_CHKSUM = "file://Licenses/README;md5=2ca5f2c35c8cc335f0a19756634782f1"

require recipes-bsp/u-boot/u-boot-common.inc
require recipes-bsp/u-boot/u-boot.inc
require u-boot-source.inc
inherit trustbox_debian_source trustbox_kconfig

# Only where a distribution asks for it
DEFAULT_PREFERENCE = "-1"

COMPATIBLE_MACHINE = "^ls1028a$"
DEPENDS += "bc-native dtc-native gnutls-native trustbox-devicetree util-linux-libuuid-native"

FILESEXTRAPATHS:prepend := "${TRUSTBOX_BOARD_FILES}:"
SRC_URI:append = " file://u-boot.cfg"
UBOOT_LOCALVERSION = ""

# The board's own device tree, with no other in the image
UBOOT_MAKE_OPTS = "EXT_DTB=${RECIPE_SYSROOT}/boot/trustbox/u-boot.dtb"

do_configure:append() {
    trustbox_check_fragments ${B}/.config ${UNPACKDIR}/u-boot.cfg
}

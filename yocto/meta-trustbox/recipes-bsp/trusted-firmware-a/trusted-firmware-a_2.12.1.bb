SUMMARY = "Trusted Firmware-A as the builder makes it, for the boards of TrustBox"

require recipes-bsp/trusted-firmware-a/trusted-firmware-a.inc
require trusted-firmware-a-source.inc
require ${@bb.utils.contains('BBFILE_COLLECTIONS', 'trustbox-bsp', 'recipes-bsp/trusted-firmware-a/trusted-firmware-a-ls1028a.inc', '', d)}
inherit trustbox-debian-source

LIC_FILES_CHKSUM = "file://docs/license.rst;md5=83b7626b8c7a37263c6a58af8d19bee1"
SRC_URI:append = " ${@bb.utils.contains('MACHINE', 'qemuarm64-secureboot', '', '${TRUSTBOX_BOARD_SOURCES}', d)}"
TRUSTBOX_BOARD_SOURCES ?= ""

# Only where a distribution asks for it
DEFAULT_PREFERENCE = "-1"

TFA_SPD = "opteed"
EXTRA_OEMAKE += "\
    BUILD_STRING=trustbox \
    BUILD_MESSAGE_TIMESTAMP='\"reproducible\"' \
    ${TRUSTBOX_TFA_FLAGS} \
"

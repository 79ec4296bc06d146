SUMMARY = "Trusted Firmware-A as the builder makes it"
DESCRIPTION = "The pinned source with our patches; boards with an LS1028A are added by meta-trustbox-bsp"
HOMEPAGE = "https://trustedfirmware-a.readthedocs.io/"
LICENSE = "BSD-2-Clause & BSD-3-Clause & MIT & Apache-2.0"
LIC_FILES_CHKSUM = "file://docs/license.rst;md5=83b7626b8c7a37263c6a58af8d19bee1"

require recipes-bsp/trusted-firmware-a/trusted-firmware-a.inc
require trusted-firmware-a-source.inc
inherit trustbox_debian_source

# Only where a distribution asks for it
DEFAULT_PREFERENCE = "-1"

TFA_SPD = "opteed"
EXTRA_OEMAKE += "\
    BUILD_STRING=trustbox \
    BUILD_MESSAGE_TIMESTAMP='\"reproducible\"' \
    ${TRUSTBOX_TFA_FLAGS} \
"

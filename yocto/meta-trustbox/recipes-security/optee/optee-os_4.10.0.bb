SUMMARY = "OP-TEE with the TrustBox TA inside"
DESCRIPTION = "The pinned source with our patches, the board's flags and the OEM's key, as the builder makes it"
HOMEPAGE = "https://www.op-tee.org/"
LICENSE = "BSD-2-Clause"
LIC_FILES_CHKSUM = "file://LICENSE;md5=c1f21c4f72f372ef38a5a4aee55ec173"

require recipes-security/optee/optee-os.inc
require optee-os-trustbox.inc

# The TrustBox TA is inside: covered by the firmware's signature and counter, and first in lookup order
DEPENDS += "dtc-native trustbox-ta"
EXTRA_OEMAKE += "\
    CFG_EARLY_TA=y \
    CFG_EARLY_TA_COMPRESS=n \
    EARLY_TA_PATHS=${STAGING_DIR_HOST}${nonarch_base_libdir}/trustbox/${TRUSTBOX_UUID}.stripped.elf \
"

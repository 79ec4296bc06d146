require recipes-security/optee/optee-os.inc
require optee-os-trustbox.inc

# The TrustBox TA is inside: covered by the firmware's signature and counter, and first in lookup order
DEPENDS += "trustbox-ta"
EXTRA_OEMAKE += "\
    CFG_EARLY_TA=y \
    EARLY_TA_PATHS=${STAGING_DIR_HOST}${nonarch_base_libdir}/trustbox/${TRUSTBOX_UUID}.stripped.elf \
"

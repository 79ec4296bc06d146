SUMMARY = "TrustBox trusted application, which OP-TEE carries as an early TA"
DESCRIPTION = "Decides what runs in the TEE: lifecycle, trust anchors, packages, versions, attestation"
HOMEPAGE = "https://op-tee.org"
SECTION = "bsp"

inherit trustbox_ta_cargo nopackages

TRUSTBOX_PACKAGE = "trustbox-ta"
TRUSTBOX_KEYS_NEEDED = "TRUSTBOX_PROVISIONING_AUTHORITY:sha256"

# The builder's limit: it is resident in secure memory and part of the signed firmware
do_install() {
    size=$(stat -c %s ${B}/${TRUSTBOX_PACKAGE}.stripped.elf)
    [ "$size" -le "${TRUSTBOX_TA_LIMIT}" ] || \
        bbfatal "the TA has $size octets, the limit is ${TRUSTBOX_TA_LIMIT}: make it smaller"
    install -D -m 0644 ${B}/${TRUSTBOX_PACKAGE}.stripped.elf \
        ${D}${nonarch_base_libdir}/trustbox/${TRUSTBOX_UUID}.stripped.elf
}

SYSROOT_DIRS += "${nonarch_base_libdir}/trustbox"

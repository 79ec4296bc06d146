SUMMARY = "TrustBox on the device"
DESCRIPTION = "Provisions the device, installs enclaves and talks to them, over OP-TEE's client library"
HOMEPAGE = "https://op-tee.org"
SECTION = "utils"

inherit trustbox_cargo

TRUSTBOX_PACKAGE = "trustbox"
DEPENDS:append = " optee-client"

# Where the binding of libteec looks for usr/lib/libteec.so
export OPTEE_CLIENT_EXPORT = "${STAGING_DIR_HOST}"

do_install() {
    install -D -m 0755 ${B}/target/${CARGO_TARGET_SUBDIR}/trustbox ${D}${bindir}/trustbox
}

RDEPENDS:${PN} += "optee-client"

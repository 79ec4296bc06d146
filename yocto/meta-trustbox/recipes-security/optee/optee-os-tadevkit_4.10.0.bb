SUMMARY = "OP-TEE's development kit for trusted applications"
DESCRIPTION = "Headers, libraries and linker script from the same tree and flags as the operating system"
HOMEPAGE = "https://www.op-tee.org/"
LICENSE = "BSD-2-Clause"
LIC_FILES_CHKSUM = "file://LICENSE;md5=c1f21c4f72f372ef38a5a4aee55ec173"

require recipes-security/optee/optee-os.inc
require optee-os-trustbox.inc

DEPENDS += "dtc-native python3-pycryptodome-native"

do_compile() {
    oe_runmake -C ${S} ta_dev_kit
}

do_install() {
    install -d ${D}${includedir}/optee
    cp -R --no-dereference --preserve=mode ${B}/export-ta_${OPTEE_ARCH} ${D}${includedir}/optee/export-user_ta
}

do_deploy() {
    :
}

INSANE_SKIP:${PN}-dev += "buildpaths"

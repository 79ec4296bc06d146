SUMMARY = "Boot images of an LS1028A board: RCW, PBL, FIP and boot region of each medium"
DESCRIPTION = "Put together by the builder's own code from what other recipes built, every size and place checked"
HOMEPAGE = "https://op-tee.org"
SECTION = "bsp"
LICENSE = "MIT | Apache-2.0"
LIC_FILES_CHKSUM = "file://${COREBASE}/meta/COPYING.MIT;md5=3da9cfbcb788c80a0384361b4de20420"
DEPENDS = "optee-os trustbox-build-native trusted-firmware-a virtual/bootloader"

inherit deploy features_check nopackages
REQUIRED_DISTRO_FEATURES = "trustbox"
COMPATIBLE_MACHINE = "^ls1028a$"

FILESEXTRAPATHS:prepend := "${TRUSTBOX_BOARD_FILES}:"
SRC_URI = "file://rcw.txt"
S = "${UNPACKDIR}"
PACKAGE_ARCH = "${MACHINE_ARCH}"

do_configure[noexec] = "1"
do_compile[cleandirs] = "${B}/images"
B = "${WORKDIR}/build"

do_compile() {
    for medium in ${TRUSTBOX_MEDIA}; do
        TRUSTBOX_ROOT=${STAGING_DATADIR_NATIVE}/trustbox trustbox-build yocto images \
            --platform ${TRUSTBOX_BOARD} --medium $medium --tfa ${RECIPE_SYSROOT}/firmware/trusted-firmware-a/$medium \
            --optee ${RECIPE_SYSROOT}${nonarch_base_libdir}/firmware \
            --u-boot ${RECIPE_SYSROOT}/boot/u-boot.bin --out ${B}/images
    done
    cd ${B}/images
    sha256sum --check ${UNPACKDIR}/rcw.txt || bbfatal "RCW differs from rcw.txt: run build/tb yocto generate"
}

# Until CSF headers are made here, images start no fused board, and say what they are
do_deploy() {
    install -d ${DEPLOYDIR}/trustbox
    install -m 0644 ${B}/images/* ${DEPLOYDIR}/trustbox
    if [ "${TRUSTBOX_PROFILE}" = dev ]; then
        echo "development firmware: its keys protect nothing" > ${DEPLOYDIR}/trustbox/NOT-TRUSTED
    fi
}
addtask deploy after do_compile before do_build

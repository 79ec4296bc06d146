SUMMARY = "Boot images of an LS1028A board: RCW, PBL, FIP and boot region of each medium"
DESCRIPTION = "Put together by the builder's own code from what other recipes built, every size and place checked"
HOMEPAGE = "https://op-tee.org"
SECTION = "bsp"
LICENSE = "MIT | Apache-2.0"
LIC_FILES_CHKSUM = "file://${COREBASE}/meta/COPYING.MIT;md5=3da9cfbcb788c80a0384361b4de20420"
DEPENDS = "optee-os trustbox-build-native trusted-firmware-a virtual/bootloader"

inherit deploy features_check nopackages trustbox_keys
REQUIRED_DISTRO_FEATURES = "trustbox"
COMPATIBLE_MACHINE = "^ls1028a$"

FILESEXTRAPATHS:prepend := "${TRUSTBOX_BOARD_FILES}:"
SRC_URI = "file://rcw.txt"
S = "${UNPACKDIR}"
PACKAGE_ARCH = "${MACHINE_ARCH}"

# Signed by the keys of verified boot, and by a super root key for the boot ROM
TRUSTBOX_SIGNERS = "TRUSTBOX_BOOT_KEYS:boot-keys TRUSTBOX_ROOT_KEYS_PUBLIC:root-keys TRUSTBOX_ROOT_KEY:rsa-private"
TRUSTBOX_KEYS_NEEDED = "${@'${TRUSTBOX_SIGNERS}' if d.getVar('TRUSTBOX_VERIFIED_BOOT') == '1' else ''}"
TRUSTBOX_BOOT_KEYS[vardepvalue] = ""
TRUSTBOX_ROOT_KEYS_PUBLIC[vardepvalue] = ""
TRUSTBOX_ROOT_KEY[vardepvalue] = ""
TRUSTBOX_ROOT_KEY_NUMBER ?= "1"
TRUSTBOX_ROOT_KEYS_REVOKED ?= ""
TRUSTBOX_COUNTER ?= "0"

do_configure[noexec] = "1"
do_compile[cleandirs] = "${B}/images"
B = "${WORKDIR}/build"

do_compile() {
    set --
    if [ "${TRUSTBOX_VERIFIED_BOOT}" = 1 ]; then
        for key in ${TRUSTBOX_ROOT_KEYS_PUBLIC}; do
            set -- "$@" --root-key-public $key
        done
        set -- "$@" --root-key "${TRUSTBOX_ROOT_KEY}" --root-key-number ${TRUSTBOX_ROOT_KEY_NUMBER} \
            --boot-keys ${TRUSTBOX_BOOT_KEYS} --counter ${TRUSTBOX_COUNTER}
        [ -z "${TRUSTBOX_ROOT_KEYS_REVOKED}" ] || set -- "$@" --root-key-revoked ${TRUSTBOX_ROOT_KEYS_REVOKED}
    fi
    for medium in ${TRUSTBOX_MEDIA}; do
        TRUSTBOX_ROOT=${STAGING_DATADIR_NATIVE}/trustbox trustbox-build yocto images \
            --platform ${TRUSTBOX_BOARD} --medium $medium --tfa ${RECIPE_SYSROOT}/firmware/trusted-firmware-a/$medium \
            --optee ${RECIPE_SYSROOT}${nonarch_base_libdir}/firmware \
            --u-boot ${RECIPE_SYSROOT}/boot/u-boot.bin --out ${B}/images "$@"
    done
    cd ${B}/images
    sha256sum --check ${UNPACKDIR}/rcw.txt || bbfatal "RCW differs from rcw.txt: run build/tb yocto generate"
}

# With verified boot FUSES.md is there too
do_deploy() {
    install -d ${DEPLOYDIR}/trustbox
    install -m 0644 ${B}/images/* ${DEPLOYDIR}/trustbox
    if [ "${TRUSTBOX_PROFILE}" = dev ] || [ "${TRUSTBOX_VERIFIED_BOOT}" != 1 ]; then
        echo "development firmware: its keys protect nothing" > ${DEPLOYDIR}/trustbox/NOT-TRUSTED
    fi
}
addtask deploy after do_compile before do_build

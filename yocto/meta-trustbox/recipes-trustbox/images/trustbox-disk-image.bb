SUMMARY = "A whole medium: boot region, two slots, TEE storage, data"
DESCRIPTION = "GPT with its header at LBA 1 and its entries behind the boot region, which they would overlap otherwise"
HOMEPAGE = "https://op-tee.org"
SECTION = "images"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://${COREBASE}/meta/COPYING.MIT;md5=3da9cfbcb788c80a0384361b4de20420"

inherit image features_check
REQUIRED_DISTRO_FEATURES = "trustbox"
COMPATIBLE_MACHINE = "^(qemuarm64-secureboot|ls1028a)$"

PACKAGE_INSTALL = ""
IMAGE_LINGUAS = ""
IMAGE_FSTYPES = "wic wic.bmap"
WKS_FILE = "trustbox.wks.in"
# The last makes the file system of partition tee
WKS_FILE_DEPENDS = "gptfdisk-native parted-native e2fsprogs-native"
WIC_CREATE_EXTRA_ARGS = "--no-fstab-update"

TRUSTBOX_ROOT_SIZE ?= "256M"
TRUSTBOX_MEDIUM ?= "sd"
# 16 MiB where the board has no boot region; the entries take the first of the two MiB before the partitions
TRUSTBOX_BOOT_REGION = "${@d.getVarFlag('TRUSTBOX_BOOT_SIZE', d.getVar('TRUSTBOX_MEDIUM')) or 16777216}"
TRUSTBOX_FIRST_PARTITION_KIB = "${@int(d.getVar('TRUSTBOX_BOOT_REGION')) // 1024 + 2048}"

do_image_wic[depends] += "\
    ${TRUSTBOX_ROOT_IMAGE}:do_image_complete \
    trustbox-fit-image:do_deploy \
    ${@'trustbox-firmware:do_deploy' if d.getVar('TRUSTBOX_MEDIA') else ''} \
"

# Entries out of the way first, then the boot images where the ROM and BL2 look for them
IMAGE_CMD:wic:append() {
    sgdisk --move-main-table=$(expr ${TRUSTBOX_BOOT_REGION} / 512) $out.wic
    if [ -n "${TRUSTBOX_MEDIA}" ]; then
        dd if=${DEPLOY_DIR_IMAGE}/trustbox/${TRUSTBOX_MEDIUM}-boot.img of=$out.wic conv=notrunc \
            oflag=seek_bytes seek=${@d.getVarFlag('TRUSTBOX_BOOT_OFFSET', d.getVar('TRUSTBOX_MEDIUM')) or 0}
    fi
    # Written, not left out: what a medium had there before would be taken for somebody's data
    start=$(sgdisk --print $out.wic | awk '$7 == "data" { print $2 }')
    dd if=/dev/zero of=$out.wic conv=notrunc bs=512 seek=$start count=2048
    sgdisk --verify $out.wic
}

SUMMARY = "Opens the verified root and starts it; has no shell for anybody else"
DESCRIPTION = "The root hash comes from the image that it is made for; a signed FIT image carries both"
HOMEPAGE = "https://op-tee.org"
SECTION = "images"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://${COREBASE}/meta/COPYING.MIT;md5=3da9cfbcb788c80a0384361b4de20420"

inherit image features_check
REQUIRED_DISTRO_FEATURES = "trustbox"
COMPATIBLE_MACHINE = "^(qemuarm64-secureboot|ls1028a)$"

IMAGE_FSTYPES = "cpio.zst"
IMAGE_FEATURES = ""
IMAGE_LINGUAS = ""
IMAGE_NAME_SUFFIX = ""
NO_RECOMMENDATIONS = "1"
PACKAGE_INSTALL = "base-passwd busybox cryptsetup trustbox-init"

do_rootfs[depends] += "${TRUSTBOX_ROOT_IMAGE}:do_image_complete"
ROOTFS_POSTPROCESS_COMMAND += "trustbox_root_hash;"

trustbox_root_hash() {
    params=${DEPLOY_DIR_IMAGE}/${TRUSTBOX_ROOT_IMAGE}-${MACHINE}.squashfs-zst.verity-params
    [ -s $params ] || bbfatal "no $params: it is made with ${TRUSTBOX_ROOT_IMAGE}"
    install -D -m 0644 $params ${IMAGE_ROOTFS}${sysconfdir}/trustbox/root.verity
}

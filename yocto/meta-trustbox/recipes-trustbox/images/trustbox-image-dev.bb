SUMMARY = "TrustBox device image for development. NOT-TRUSTED"
DESCRIPTION = "The production image and one package group more: xtest and a root login"
HOMEPAGE = "https://op-tee.org"
SECTION = "images"

require trustbox-image.inc
REQUIRED_DISTRO_FEATURES += "trustbox-dev"

IMAGE_INSTALL += "packagegroup-trustbox-dev-tools"
IMAGE_FEATURES += "allow-root-login empty-root-password serial-autologin-root"
ROOTFS_POSTPROCESS_COMMAND += "trustbox_mark;"

trustbox_mark() {
    echo "development image: its keys protect nothing" > ${IMAGE_ROOTFS}${sysconfdir}/NOT-TRUSTED
}

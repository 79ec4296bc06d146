SUMMARY = "TrustBox device image for development: xtest and a root login. NOT-TRUSTED"
DESCRIPTION = "The production image and one package group more"
HOMEPAGE = "https://op-tee.org"
SECTION = "images"

require trustbox-image.inc

IMAGE_INSTALL += "packagegroup-trustbox-dev-tools"
IMAGE_FEATURES += "allow-root-login empty-root-password serial-autologin-root"
ROOTFS_POSTPROCESS_COMMAND += "trustbox_mark;"

trustbox_mark() {
    echo "development image: its keys protect nothing" > ${IMAGE_ROOTFS}${sysconfdir}/NOT-TRUSTED
}

python () {
    if 'trustbox-dev' not in d.getVar('OVERRIDES').split(':'):
        raise bb.parse.SkipRecipe('trustbox-image-dev is for DISTRO trustbox-dev only')
}

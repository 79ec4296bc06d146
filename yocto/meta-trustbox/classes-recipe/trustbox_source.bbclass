# TrustBox's own sources: the checkout or unpacked release that the layer is in.

FILESEXTRAPATHS:prepend := "${TRUSTBOX_SRC}:"

LICENSE = "MIT | Apache-2.0"
LIC_FILES_CHKSUM = "file://LICENSE;md5=d7d54f4369249efd735100203efea33b"

SRC_URI = "\
    file://Cargo.toml;subdir=trustbox \
    file://Cargo.lock;subdir=trustbox \
    file://LICENSE;subdir=trustbox \
    file://build;subdir=trustbox \
    file://host;subdir=trustbox \
    file://keys;subdir=trustbox \
    file://platform;subdir=trustbox \
    file://ta;subdir=trustbox \
    file://tests;subdir=trustbox \
"
S = "${UNPACKDIR}/trustbox"

inherit features_check
REQUIRED_DISTRO_FEATURES = "trustbox"

# do_fetch counts every file that SRC_URI names; externalsrc would add the whole checkout, and with it the build folder in there
python () {
    if d.getVar('EXTERNALSRC'):
        d.setVarFlag('do_compile', 'file-checksums', '')
}

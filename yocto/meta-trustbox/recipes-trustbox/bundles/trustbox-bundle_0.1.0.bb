SUMMARY = "Signed update of a TrustBox device"
DESCRIPTION = "A RAUC bundle in verity format: the verified root, and the FIT image that starts it"
HOMEPAGE = "https://rauc.io"
SECTION = "images"
LICENSE = "MIT"
SRC_URI = ""

inherit bundle features_check trustbox_keys
REQUIRED_DISTRO_FEATURES = "trustbox"
COMPATIBLE_MACHINE = "^(qemuarm64-secureboot|ls1028a)$"

TRUSTBOX_KEYS_NEEDED = "RAUC_KEY_FILE:rsa-private RAUC_CERT_FILE:certificate"

RAUC_BUNDLE_COMPATIBLE = "trustbox-${TRUSTBOX_BOARD}"
RAUC_BUNDLE_VERSION = "${DISTRO_VERSION}"
RAUC_BUNDLE_BUILD = "${SOURCE_DATE_EPOCH}"
RAUC_BUNDLE_FORMAT = "verity"
RAUC_BUNDLE_SLOTS = "rootfs kernel"

RAUC_SLOT_rootfs = "${TRUSTBOX_ROOT_IMAGE}"
RAUC_SLOT_rootfs[file] = "${TRUSTBOX_ROOT_IMAGE}-${MACHINE}.squashfs-zst.verity"
RAUC_SLOT_rootfs[rename] = "rootfs.img"
RAUC_SLOT_kernel = "trustbox-fit-image"
RAUC_SLOT_kernel[type] = "file"
RAUC_SLOT_kernel[file] = "fitImage"
RAUC_SLOT_kernel[rename] = "kernel.img"


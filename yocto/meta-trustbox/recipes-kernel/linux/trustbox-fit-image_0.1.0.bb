SUMMARY = "Signed FIT image of a TrustBox device"
DESCRIPTION = "Kernel, device tree, and the initramfs that opens the verified root; signed with SHA-256 and RSA-3072: U-Boot 2025.01 has no software ECDSA"
HOMEPAGE = "https://www.kernel.org"
SECTION = "kernel"
LICENSE = "GPL-2.0-with-Linux-syscall-note"
LIC_FILES_CHKSUM = "file://${COREBASE}/meta/files/common-licenses/GPL-2.0-with-Linux-syscall-note;md5=0bad96c422c41c3a94009dcfe1bff992"

inherit linux-kernel-base kernel-fit-image features_check trustbox_keys
REQUIRED_DISTRO_FEATURES = "trustbox"
COMPATIBLE_MACHINE = "^(qemuarm64-secureboot|ls1028a)$"

TRUSTBOX_KEYS_NEEDED = "TRUSTBOX_FIT_KEY:fit-private"

INITRAMFS_IMAGE = "trustbox-initramfs"
INITRAMFS_IMAGE_NAME = "trustbox-initramfs-${MACHINE}"
INITRAMFS_IMAGE_BUNDLE = "0"
PKGV = "${@get_kernelversion_file("${STAGING_KERNEL_BUILDDIR}")}"

# U-Boot of boards unpacks the kernel where the builder's images have it, and the device tree where there is room
UBOOT_LOADADDRESS:ls1028a = "${TRUSTBOX_KERNEL_ADDRESS}"
UBOOT_ENTRYPOINT:ls1028a = "${TRUSTBOX_KERNEL_ADDRESS}"
UBOOT_DTB_LOADADDRESS:ls1028a = ""

FIT_DESC = "TrustBox ${DISTRO_VERSION} for ${MACHINE}"
FIT_SIGN_ALG = "rsa3072"
FIT_KERNEL_SIGN_ENABLE = "1"
# mkimage wants a folder and a name, or a token
FIT_KERNEL_SIGN_KEYDIR = "${@d.getVar('TRUSTBOX_FIT_KEY') if (d.getVar('TRUSTBOX_FIT_KEY') or '').startswith('pkcs11:') else os.path.dirname(d.getVar('TRUSTBOX_FIT_KEY') or '')}"
FIT_KERNEL_SIGN_KEYNAME = "${@os.path.basename(d.getVar('TRUSTBOX_FIT_KEY') or '').removesuffix('.key')}"
UBOOT_MKIMAGE_SIGN_ARGS = "${@'-N pkcs11' if (d.getVar('TRUSTBOX_FIT_KEY') or '').startswith('pkcs11:') else ''}"
FIT_KERNEL_SIGN_KEYDIR[vardepvalue] = ""
TRUSTBOX_FIT_KEY[vardepvalue] = ""

# Hardening, and what a verified, TEE-backed image needs of a kernel: built in, since modules come from the root it verifies.
# The kernel is the chip maker's; the device tree comes from trustbox-devicetree

FILESEXTRAPATHS:prepend:trustbox := "${TRUSTBOX_KERNEL_FILES}:"
SRC_URI:append:trustbox = " file://trustbox.cfg file://trustbox-hardening.cfg"
EXTRA_KBUILD_DEFCONFIG:append:trustbox = " ${UNPACKDIR}/trustbox.cfg ${UNPACKDIR}/trustbox-hardening.cfg"

inherit_defer ${@bb.utils.contains('DISTRO_FEATURES', 'trustbox', 'trustbox_kconfig', '', d)}

do_configure:append:trustbox() {
    oe_runmake -C ${S} O=${B} olddefconfig
    trustbox_check_fragments ${B}/.config ${UNPACKDIR}/trustbox.cfg ${UNPACKDIR}/trustbox-hardening.cfg
}

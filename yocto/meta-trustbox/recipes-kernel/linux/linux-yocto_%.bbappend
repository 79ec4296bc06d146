# Hardening, and what a verified, TEE-backed image needs of a kernel: built in, since modules come from the root it verifies

FILESEXTRAPATHS:prepend:trustbox := "${TRUSTBOX_KERNEL_FILES}:"
SRC_URI:append:trustbox = " file://trustbox.cfg file://trustbox-hardening.cfg"

inherit_defer ${@bb.utils.contains('DISTRO_FEATURES', 'trustbox', 'trustbox_kconfig', '', d)}

do_configure:append:trustbox() {
    trustbox_check_fragments ${B}/.config ${UNPACKDIR}/trustbox.cfg ${UNPACKDIR}/trustbox-hardening.cfg
}

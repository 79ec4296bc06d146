# Hardening, and what a verified, TEE-backed image needs of a kernel: built in, since modules come from the root it verifies

FILESEXTRAPATHS:prepend:trustbox := "${TRUSTBOX_KERNEL_FILES}:"
SRC_URI:append:trustbox = " file://trustbox.cfg file://trustbox-hardening.cfg"

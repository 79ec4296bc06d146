# A trusted application in Rust: no libc, no start files, OP-TEE's development kit, stripped as the builder strips it.

inherit trustbox_cargo trustbox_keys

DEPENDS:append = " optee-os-tadevkit"

BUILD_MODE = "--profile ta"
BUILD_DIR = "ta"
RUSTFLAGS:append = " ${TRUSTBOX_TA_RUSTFLAGS} --remap-path-prefix=${S}=/trustbox --remap-path-prefix=${CARGO_HOME}=/cargo"
# OP-TEE's loader knows neither; a TA is linked as the development kit says
SECURITY_CFLAGS = ""
SECURITY_LDFLAGS = ""

export TA_DEV_KIT_DIR = "${STAGING_INCDIR}/optee/export-user_ta"
export TRUSTBOX_PROVISIONING_AUTHORITY
export TRUSTBOX_BOARD
export TRUSTBOX_ROLLBACK_PROTECTION
export TRUSTBOX_MAX_IMAGE
export TRUSTBOX_PROFILE
TRUSTBOX_PROVISIONING_AUTHORITY[vardepvalue] = ""

TRUSTBOX_ELF = "${B}/target/${CARGO_TARGET_SUBDIR}/${TRUSTBOX_PACKAGE}"

do_compile:append() {
    ${OBJCOPY} --strip-unneeded ${TRUSTBOX_ELF} ${B}/${TRUSTBOX_PACKAGE}.stripped.elf
}

PACKAGE_ARCH = "${MACHINE_ARCH}"
INHIBIT_PACKAGE_STRIP = "1"

# An enclave from its own recipe: built, signed for OP-TEE, encrypted for a class of devices, installed as a package.
#
# ENCLAVE_ELF       the enclave as a TA: an ELF file; of a crate it is built by trustbox_ta_cargo
# ENCLAVE_NAME      name in the package, the recipe's by default
# ENCLAVE_CLASS_KEY name of the class key that devices have, NAME or NAME@VERSION
# ENCLAVE_NUMBER    its version, a number that never goes back
# Keys are TRUSTBOX_TA_KEY, TRUSTBOX_PUBLISHER_KEY, TRUSTBOX_OWNER_ROOT and TRUSTBOX_CLASS_KEYS: paths, or pkcs11: URIs.

inherit trustbox_keys deploy

DEPENDS:append = " trustbox-build-native"

ENCLAVE_NAME ?= "${BPN}"
ENCLAVE_NUMBER ?= "1"
ENCLAVE_CLASS_KEY ?= ""

TRUSTBOX_KEYS_NEEDED += "\
    TRUSTBOX_TA_KEY:rsa-private \
    TRUSTBOX_PUBLISHER_KEY:ec-private \
    TRUSTBOX_OWNER_ROOT:ec-any \
    TRUSTBOX_CLASS_KEYS:file \
"

python do_pack() {
    import subprocess
    if not d.getVar('ENCLAVE_CLASS_KEY'):
        bb.fatal('ENCLAVE_CLASS_KEY is not set: set it in %s to the name of the class key that devices have' % d.getVar('PN'))
    words = [d.expand('${STAGING_BINDIR_NATIVE}/trustbox-build'), 'pack', d.getVar('ENCLAVE_ELF')]
    for flag, variable in (('--name', 'ENCLAVE_NAME'), ('--ta-version', 'ENCLAVE_NUMBER'),
                           ('--class-key', 'ENCLAVE_CLASS_KEY'), ('--class-keys', 'TRUSTBOX_CLASS_KEYS'),
                           ('--publisher', 'TRUSTBOX_PUBLISHER_KEY'), ('--owner-root', 'TRUSTBOX_OWNER_ROOT'),
                           ('--ta-key', 'TRUSTBOX_TA_KEY')):
        words += [flag, d.getVar(variable)]
    words += ['--out', d.expand('${B}/${ENCLAVE_NAME}.cpk')]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        bb.fatal('%s was not packed: %s' % (d.getVar('ENCLAVE_NAME'), done.stderr.strip()))
}
do_pack[vardepsexclude] += "TRUSTBOX_CLASS_KEYS TRUSTBOX_PUBLISHER_KEY TRUSTBOX_OWNER_ROOT TRUSTBOX_TA_KEY"
addtask pack after do_compile before do_install do_deploy

do_install() {
    install -D -m 0644 ${B}/${ENCLAVE_NAME}.cpk ${D}${datadir}/trustbox/enclaves/${ENCLAVE_NAME}.cpk
}

do_deploy() {
    install -D -m 0644 ${B}/${ENCLAVE_NAME}.cpk ${DEPLOYDIR}/enclaves/${ENCLAVE_NAME}.cpk
}
addtask deploy after do_pack before do_build

FILES:${PN} += "${datadir}/trustbox/enclaves"

SUMMARY = "Example enclave: a meter with a tamper-evident total"
DESCRIPTION = "How a recipe of an enclave looks; the guide explains it line by line"
HOMEPAGE = "https://op-tee.org"
SECTION = "examples"

inherit trustbox_ta_cargo trustbox_enclave

TRUSTBOX_PACKAGE = "trustbox-meter"
ENCLAVE_ELF = "${B}/${TRUSTBOX_PACKAGE}.stripped.elf"
ENCLAVE_NAME = "meter"
ENCLAVE_CLASS_KEY = "demo-class"
ENCLAVE_NUMBER = "1"

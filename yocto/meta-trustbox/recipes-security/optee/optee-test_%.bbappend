# xtest and its TAs, signed with the OEM's key: for development images only

COMPATIBLE_MACHINE:ls1028a:trustbox = "ls1028a"
TRUSTBOX_KEYS_NEEDED:trustbox = "TRUSTBOX_TA_KEY:rsa-private"
EXTRA_OEMAKE:append:trustbox = " TA_SIGN_KEY=${TRUSTBOX_TA_KEY}"
TRUSTBOX_TA_KEY[vardepvalue] = ""

python do_fetch:prepend:trustbox() {
    import trustbox.keys
    trustbox.keys.check(d)
}

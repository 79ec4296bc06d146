# Keys by path or PKCS#11 URI. TRUSTBOX_KEYS_NEEDED lists VARIABLE:KIND; kinds are those of lib/trustbox/keys.py.
# A key that lacks or is of the wrong kind stops the recipe before it starts. Paths are no part of a task's signature,
# the content of a public file is.

TRUSTBOX_KEYS_NEEDED ?= ""

python do_fetch:prepend() {
    import trustbox.keys
    trustbox.keys.check(d)
}

def trustbox_key_files(d):
    import trustbox.keys
    return trustbox.keys.public_files(d)

do_compile[file-checksums] += "${@trustbox_key_files(d)}"

# Keys by path or PKCS#11 URI. TRUSTBOX_KEYS_NEEDED lists VARIABLE:KIND; kinds are those of lib/trustbox/keys.py.
# A key that lacks or is of the wrong kind stops the recipe before it starts. Paths are no part of a task's signature,
# the content of a public file is.

TRUSTBOX_KEYS_NEEDED ?= ""

python trustbox_check_keys() {
    import trustbox.keys
    for entry in d.getVar('TRUSTBOX_KEYS_NEEDED').split():
        variable, kind = entry.split(':')
        problem = trustbox.keys.problem(variable, d.getVar(variable), kind)
        if problem:
            bb.fatal(problem)
}
do_fetch[prefuncs] += "trustbox_check_keys"
trustbox_check_keys[vardepsexclude] += "TRUSTBOX_KEYS_NEEDED"

python () {
    for entry in d.getVar('TRUSTBOX_KEYS_NEEDED').split():
        variable, kind = entry.split(':')
        path = d.getVar(variable) or ''
        if path.startswith('/') and 'private' not in kind:
            d.appendVarFlag('do_compile', 'file-checksums', ' %s:True' % path)
}

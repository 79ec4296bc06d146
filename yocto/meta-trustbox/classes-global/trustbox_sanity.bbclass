# Refuses what a TrustBox distribution cannot build, before anything is parsed: one error that says what to set.

python trustbox_sanity_handler() {
    import trustbox.machines
    problem = trustbox.machines.problem(d.getVar('MACHINE'), d.getVar('TRUSTBOX_BOARD'),
        bool(d.getVar('TRUSTBOX_PROFILE')), d.getVar('BBFILE_COLLECTIONS').split())
    source = d.getVar('TRUSTBOX_SRC')
    if not problem and not os.path.isfile(os.path.join(source, 'platform', 'lock.toml')):
        problem = '%s has no platform/lock.toml: set TRUSTBOX_SRC to a checkout or an unpacked release of TrustBox' % source
    if problem:
        bb.fatal(problem)
}
addhandler trustbox_sanity_handler
trustbox_sanity_handler[eventmask] = "bb.event.ConfigParsed"

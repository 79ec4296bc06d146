# Refuses what a TrustBox distribution cannot build, before anything is parsed: one error that says what to set.

TRUSTBOX_MACHINES = "qemuarm64-secureboot ls1028ardb trustbox-edge-201"

def trustbox_sanity_problem(d):
    machine = d.getVar('MACHINE')
    known = d.getVar('TRUSTBOX_MACHINES').split()
    layers = d.getVar('BBFILE_COLLECTIONS').split()
    if d.getVar('TRUSTBOX_PROFILE'):
        return None
    if machine in known and machine != 'qemuarm64-secureboot' and 'trustbox-bsp' not in layers:
        return 'machine %s is described in a layer that BBLAYERS lacks: add yocto/meta-trustbox-bsp' % machine
    if d.getVar('TRUSTBOX_BOARD'):
        return 'TRUSTBOX_BOARD is %s, of which no layer has conf/trustbox/board-%s.inc: set TRUSTBOX_BOARD to a folder of platform/ and run build/tb yocto generate' % ((d.getVar('TRUSTBOX_BOARD'),) * 2)
    return 'machine %s is not one that TrustBox supports: set MACHINE to one of %s, or write conf/trustbox/machine-%s.inc' % (machine, ', '.join(known), machine)

python trustbox_sanity_handler() {
    problem = trustbox_sanity_problem(d)
    if problem:
        bb.fatal(problem)
    if not os.path.isfile(os.path.join(d.getVar('TRUSTBOX_SRC'), 'platform', 'lock.toml')):
        bb.fatal('no platform/lock.toml below %s: set TRUSTBOX_SRC to a checkout or an unpacked release of TrustBox' % d.getVar('TRUSTBOX_SRC'))
}
addhandler trustbox_sanity_handler
trustbox_sanity_handler[eventmask] = "bb.event.ConfigParsed"

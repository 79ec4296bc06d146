"""Which machines a TrustBox distribution can build for, and what to set where it cannot."""

MACHINES = ("qemuarm64-secureboot", "ls1028ardb", "trustbox-edge-201")


def problem(machine, board, described, layers):
    """What is wrong with a configuration, as one line that says what to set; None if nothing is."""
    if described:
        return None
    if machine in MACHINES[1:] and "trustbox-bsp" not in layers:
        return "machine %s is described in a layer that BBLAYERS lacks: add yocto/meta-trustbox-bsp to it" % machine
    if board:
        return ("TRUSTBOX_BOARD is %s, of which no layer has conf/trustbox/board-%s.inc: set it to the name of a folder of "
                "platform/, and run build/tb yocto generate" % (board, board))
    return ("machine %s is none that TrustBox supports: set MACHINE to one of %s, or write conf/trustbox/machine-%s.inc"
            % (machine, ", ".join(MACHINES), machine))

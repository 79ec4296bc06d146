require ${@bb.utils.contains('DISTRO_FEATURES', 'trustbox', 'rauc-conf-trustbox.inc', '', d)}

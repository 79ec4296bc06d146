require ${@bb.utils.contains('DISTRO_FEATURES', 'trustbox', 'optee-client-trustbox.inc', '', d)}

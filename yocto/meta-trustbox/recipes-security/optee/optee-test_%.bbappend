require ${@bb.utils.contains('DISTRO_FEATURES', 'trustbox', 'optee-test-trustbox.inc', '', d)}

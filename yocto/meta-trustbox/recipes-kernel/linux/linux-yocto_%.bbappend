require ${@bb.utils.contains('DISTRO_FEATURES', 'trustbox', 'recipes-kernel/linux/trustbox-kernel.inc', '', d)}

require ${@bb.utils.contains('DISTRO_FEATURES', 'trustbox', 'recipes-kernel/linux/linux-qoriq-trustbox.inc', '', d)}

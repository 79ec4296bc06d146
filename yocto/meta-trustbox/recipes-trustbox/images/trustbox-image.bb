SUMMARY = "TrustBox device image: no shell for anybody, no login, no SSH"
DESCRIPTION = "The root filesystem, its verity tree and hash; trustbox-disk-image puts it on a medium"
HOMEPAGE = "https://op-tee.org"
SECTION = "images"

require trustbox-image.inc

# Nobody logs in: neither on a console nor over the network
IMAGE_FEATURES:remove = "allow-empty-password allow-root-login empty-root-password post-install-logging"
ROOTFS_POSTPROCESS_COMMAND += "trustbox_no_login;"

trustbox_no_login() {
    rm -f ${IMAGE_ROOTFS}${systemd_system_unitdir}/*/serial-getty@*.service \
        ${IMAGE_ROOTFS}${sysconfdir}/systemd/system/getty.target.wants/*
    install -d ${IMAGE_ROOTFS}${sysconfdir}/systemd/system
    for unit in getty@.service serial-getty@.service console-getty.service emergency.service rescue.service debug-shell.service; do
        ln -sfn /dev/null ${IMAGE_ROOTFS}${sysconfdir}/systemd/system/$unit
    done
    # Every account locked, none with a shell
    sed -i -e 's,^\([^:]*\):[^:]*:,\1:!:,' ${IMAGE_ROOTFS}${sysconfdir}/shadow
    sed -i -e 's,:[^:]*$,:/sbin/nologin,' ${IMAGE_ROOTFS}${sysconfdir}/passwd
    # Nobody changes who they are either: su, login, mount and others have set-user-ID
    find ${IMAGE_ROOTFS} -xdev -type f -perm /6000 -exec chmod ug-s {} +
    [ ! -e ${IMAGE_ROOTFS}${sbindir}/sshd ] || bbfatal "the image has an SSH server: remove openssh from IMAGE_INSTALL"
    [ ! -e ${IMAGE_ROOTFS}${bindir}/xtest ] || bbfatal "the image has xtest: it is for trustbox-image-dev only"
}

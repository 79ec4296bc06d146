SUMMARY = "Firewall of a TrustBox device"
DESCRIPTION = "Nothing comes in that was not asked for: rules for nftables, loaded before the network is up"
HOMEPAGE = "https://op-tee.org"
SECTION = "net"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://${COREBASE}/meta/COPYING.MIT;md5=3da9cfbcb788c80a0384361b4de20420"

inherit allarch features_check systemd
REQUIRED_DISTRO_FEATURES = "systemd trustbox"

# Rules are those of the builder's images
FILESEXTRAPATHS:prepend := "${TRUSTBOX_SRC}/platform/image/files/etc/nftables:"
SRC_URI = "file://trustbox.nft file://trustbox-nftables.service file://10-trustbox-firewall.conf"
S = "${UNPACKDIR}"

SYSTEMD_SERVICE:${PN} = "trustbox-nftables.service"

do_install() {
    install -D -m 0644 ${UNPACKDIR}/trustbox.nft ${D}${sysconfdir}/nftables/trustbox.nft
    install -D -m 0644 ${UNPACKDIR}/trustbox-nftables.service ${D}${systemd_system_unitdir}/trustbox-nftables.service
    install -D -m 0644 ${UNPACKDIR}/10-trustbox-firewall.conf \
        ${D}${systemd_system_unitdir}/systemd-networkd.service.d/10-trustbox-firewall.conf
}

FILES:${PN} += "${systemd_system_unitdir}/systemd-networkd.service.d"
RDEPENDS:${PN} = "nftables"

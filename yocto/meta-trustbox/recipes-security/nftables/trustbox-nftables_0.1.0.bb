SUMMARY = "Firewall of a TrustBox device"
DESCRIPTION = "Nothing comes in that was not asked for: rules for nftables, loaded before the network is up"
HOMEPAGE = "https://op-tee.org"
SECTION = "net"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://${COREBASE}/meta/COPYING.MIT;md5=3da9cfbcb788c80a0384361b4de20420"

inherit allarch features_check trustbox_units
REQUIRED_DISTRO_FEATURES = "systemd trustbox"

# Rules and unit are those of the builder's images
FILESEXTRAPATHS:prepend := "${TRUSTBOX_SRC}/platform/image/files:"
SRC_URI = "\
    file://etc/nftables/trustbox.nft \
    file://usr/lib/systemd/system/trustbox-firewall.service \
    file://10-trustbox-firewall.conf \
"
S = "${UNPACKDIR}"

SYSTEMD_SERVICE:${PN} = "trustbox-firewall.service"
TRUSTBOX_WANTED_BY = "sysinit.target"

do_install() {
    install -D -m 0644 ${UNPACKDIR}/etc/nftables/trustbox.nft ${D}${sysconfdir}/nftables/trustbox.nft
    install -D -m 0644 ${UNPACKDIR}/10-trustbox-firewall.conf \
        ${D}${systemd_system_unitdir}/systemd-networkd.service.d/10-trustbox-firewall.conf
}

FILES:${PN} += "${systemd_system_unitdir}/systemd-networkd.service.d"
RDEPENDS:${PN} = "nftables"

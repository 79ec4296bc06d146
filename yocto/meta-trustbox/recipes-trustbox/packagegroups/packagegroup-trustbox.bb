SUMMARY = "What a TrustBox device has, and what a development device has besides"
DESCRIPTION = "The production image installs the first package only, the development image both"
HOMEPAGE = "https://op-tee.org"

PACKAGE_ARCH = "${MACHINE_ARCH}"
inherit packagegroup features_check
REQUIRED_DISTRO_FEATURES = "trustbox"

PACKAGES = "${PN} ${PN}-dev-tools"

# Images install no recommendations, so what others only recommend is named here
RDEPENDS:${PN} = "\
    nftables \
    optee-client \
    os-release \
    rauc \
    rauc-conf \
    rauc-service \
    trustbox-cli \
    trustbox-hardening \
    trustbox-nftables \
    trustbox-storage \
    trustbox-system \
    trustbox-users \
"

# NOT-TRUSTED: tests and a login
RDEPENDS:${PN}-dev-tools = "\
    openssh-sshd \
    optee-test \
"

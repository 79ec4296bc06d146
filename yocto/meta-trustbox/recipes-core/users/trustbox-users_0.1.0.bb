SUMMARY = "Users of a TrustBox device"
DESCRIPTION = "One account without a shell, for programs that talk to enclaves"
HOMEPAGE = "https://op-tee.org"
SECTION = "base"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://${COREBASE}/meta/COPYING.MIT;md5=3da9cfbcb788c80a0384361b4de20420"

SRC_URI = ""

inherit allarch features_check useradd
REQUIRED_DISTRO_FEATURES = "trustbox"

ALLOW_EMPTY:${PN} = "1"
USERADD_PACKAGES = "${PN}"
GROUPADD_PARAM:${PN} = "--system tee; --system trustbox"
USERADD_PARAM:${PN} = "--system --gid trustbox --groups tee --no-create-home --home-dir /nonexistent --shell /sbin/nologin trustbox"

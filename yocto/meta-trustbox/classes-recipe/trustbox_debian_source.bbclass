# A Debian source package as the builder takes it: upstream's archive, Debian's patches, then ours from platform/patches.
# The recipe's generated -source.inc names archives, digests and patches.

FILESEXTRAPATHS:prepend := "${TRUSTBOX_SRC}/platform/patches/${TRUSTBOX_PATCHES}:"
S = "${UNPACKDIR}/source"
CVE_VERSION = "${PV}"
UPSTREAM_CHECK_URI = ""
# Another source beside it has Debian's patches too
TRUSTBOX_TREES ?= "${S}"

inherit features_check
REQUIRED_DISTRO_FEATURES = "trustbox"

do_patch_debian() {
    for tree in ${TRUSTBOX_TREES}; do
        cd $tree
        grep -v -e '^#' -e '^$' debian/patches/series | while read -r name; do
            patch -p1 --batch --forward --fuzz=0 --no-backup-if-mismatch -i "debian/patches/$name"
        done
    done
}
do_patch_debian[depends] += "patch-native:do_populate_sysroot"
addtask patch_debian after do_unpack before do_patch

# Ours say why they are there and which test needs them; the builder applies the same files
ERROR_QA:remove = "patch-status"

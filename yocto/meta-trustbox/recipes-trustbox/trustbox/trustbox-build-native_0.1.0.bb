SUMMARY = "TrustBox builder, for recipes: boot images, packed enclaves"
DESCRIPTION = "The program behind build/tb, so that recipes and builder make the same bytes"
HOMEPAGE = "https://op-tee.org"
SECTION = "devel"

inherit trustbox_cargo
inherit_defer native

TRUSTBOX_PACKAGE = "trustbox-build"

do_install() {
    install -D -m 0755 ${B}/target/${CARGO_TARGET_SUBDIR}/trustbox-build ${D}${bindir}/trustbox-build
    install -d ${D}${datadir}/trustbox
    cp -R --no-dereference --preserve=mode ${S}/platform ${D}${datadir}/trustbox
}

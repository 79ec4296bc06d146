# Units of the builder's images, those in SYSTEMD_SERVICE:${PN}. Two names are others here: each device has a supplicant of its own,
# and what loads modules is not there, as all that is needed is built in.

inherit systemd

# Where sources of the recipe have the folder platform/image/files
TRUSTBOX_IMAGE_FILES ?= "${UNPACKDIR}"
TRUSTBOX_WANTED_BY ?= "multi-user.target"

do_install:append() {
    install -d ${D}${systemd_system_unitdir}
    for unit in ${SYSTEMD_SERVICE:${PN}}; do
        sed -e '/^Requires=trustbox-modules.service$/d' -e 's,tee-supplicant[.]service,tee-supplicant@teepriv0.service,g' \
            ${TRUSTBOX_IMAGE_FILES}/usr/lib/systemd/system/$unit > ${D}${systemd_system_unitdir}/$unit
        printf '\n[Install]\nWantedBy=%s\n' ${TRUSTBOX_WANTED_BY} >> ${D}${systemd_system_unitdir}/$unit
    done
}

# A package of TrustBox's workspace, TRUSTBOX_PACKAGE, from its own sources and the crates of Cargo.lock.

inherit trustbox_source cargo

# The only place that names the registry: bitbake's crate:// wants it
TRUSTBOX_CRATE_REGISTRY ?= "crates.io"
require recipes-trustbox/trustbox/trustbox-crates.inc
SRC_URI += "${TRUSTBOX_CRATES}"

CARGO_BUILD_FLAGS:append = " -p ${TRUSTBOX_PACKAGE}"


# NXP's services in the emulated device's monitor, for `tb campaign smc`: TF-A's own sources, and board.c for what QEMU lacks
BL31_SOURCES += plat/nxp/common/sip_svc/sip_svc.c drivers/nxp/crypto/caam/src/hw_key_blob.c \
	drivers/nxp/crypto/caam/src/jobdesc.c plat/qemu/nxp_services/board.c
PLAT_INCLUDES += -Iplat/nxp/common/sip_svc/include -Iplat/nxp/common/setup/include -Iinclude/drivers/nxp/crypto/caam \
	-Iinclude/drivers/nxp/dcfg
NXP_SEC_LE := 1
NXP_GUR_LE := 1
CONFIG_PHYS_64BIT := 1
NUM_DRAM_REGIONS := 1
$(eval $(call add_defines,NXP_SEC_LE NXP_GUR_LE CONFIG_PHYS_64BIT NUM_DRAM_REGIONS))
$(BUILD_PLAT)/bl31/hw_key_blob.o: TF_CFLAGS += -include platform_def.h

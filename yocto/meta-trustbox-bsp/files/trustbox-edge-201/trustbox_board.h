/* Generated from the board's description */
#define TRUSTBOX_SYSCLK_FREQ 0x5f5e100
#define TRUSTBOX_CONSOLE_ADDR 0x21c0500
#define TRUSTBOX_CONSOLE_BAUD 0x1c200
#define TRUSTBOX_BL2_LIMIT 0x18034000
#define TRUSTBOX_BL31_BASE 0xfbe00000
#define TRUSTBOX_BL31_SIZE 0x200000
#define TRUSTBOX_BL32_BASE 0xfc000000
#define TRUSTBOX_BL33_BASE 0x82000000
#define TRUSTBOX_SHARED_BASE 0xffe00000
#define TRUSTBOX_FIP_OFFSET 0x100000
#define TRUSTBOX_FIP_SIZE 0x400000
#define TRUSTBOX_DDR_SIZE 0x100000000LL
#define TRUSTBOX_DDR_REGISTERS \
	.cdr[0] = 0x80080000U, \
	.cdr[1] = 0x0000a180U, \
	.clk_cntl = 0x02400000U, \
	.cs[0].bnds = 0x000000ffU, \
	.cs[0].config = 0x80010422U, \
	.data_init = 0xdeadbeefU, \
	.debug[28] = 0x00700046U, \
	.dq_map[0] = 0x5b65ac58U, \
	.dq_map[1] = 0xb16b0000U, \
	.dq_map[3] = 0x00100000U, \
	.interval = 0x18600618U, \
	.sdram_cfg[0] = 0x650c0004U, \
	.sdram_cfg[1] = 0x00401010U, \
	.sdram_mode[0] = 0x01010210U, \
	.sdram_mode[8] = 0x00000400U, \
	.sdram_mode[9] = 0x04800000U, \
	.timing_cfg[0] = 0xff55000cU, \
	.timing_cfg[1] = 0xbeb40c52U, \
	.timing_cfg[2] = 0x0048d114U, \
	.timing_cfg[3] = 0x01111000U, \
	.timing_cfg[4] = 0x0000d501U, \
	.timing_cfg[5] = 0x04401400U, \
	.timing_cfg[7] = 0x23300000U, \
	.timing_cfg[8] = 0x02115600U, \
	.wrlvl_cntl[0] = 0x86750604U, \
	.wrlvl_cntl[1] = 0x05060700U, \
	.wrlvl_cntl[2] = 0x00000007U, \
	.zq_cntl = 0x8a090705U, \


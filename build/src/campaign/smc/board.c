/*
 * What the services of NXP's secure monitor need of an LS1028A and QEMU does not have: the crypto engine (CAAM), the
 * registers of its device configuration, and what switches a core to AArch32. Everything else is TF-A's own source.
 *
 * The engine's answer to the request for a key is a pattern, which nobody in the normal world may ever see. QEMU's CAAM is
 * this function; its descriptor is the one that TF-A built.
 */

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <caam.h>
#include <common/debug.h>
#include <dcfg.h>
#include <lib/utils_def.h>
#include <plat_common.h>

#include "jobdesc.h"
#include "sec_hw_specific.h"

/* Word of the descriptor that is the command with the output's address, which follows in two words */
#define OUTPUT_COMMAND		U(0xf8400000)
#define DESCRIPTOR_WORDS	16U

/* The builder looks for it in the image */
const uint8_t trustbox_pattern[80] =
	"TBX-SECRET-PATTERN-0123456789-abcdefghijklmnopqrstuvwxyz-ABCDEFGHIJKLMNOPQRSTUV";

static dram_regions_info_t regions = {
	.num_dram_regions = 1,
	.total_dram_size = 0x40000000,
};

bool is_sec_enabled(void)
{
	return true;
}

unsigned long long get_random(int bytes)
{
	return 0x5ec7e711;
}

dram_regions_info_t *get_dram_regions_info(void)
{
	return &regions;
}

uint64_t bl31_get_porsr1(void)
{
	return 0x5ec7e711a5a5ULL;
}

uint64_t prefetch_disable(u_register_t smc_id, u_register_t mask)
{
	return 0;
}

uint64_t el2_2_aarch32(u_register_t smc_id, u_register_t start, u_register_t first, u_register_t second)
{
	return 0;
}

int run_descriptor_jr(struct job_descriptor *job)
{
	for (unsigned int n = 0U; n + 2U < DESCRIPTOR_WORDS; n++) {
		if (job->desc[n] == OUTPUT_COMMAND) {
			const ptr_addr_t *out = (const ptr_addr_t *)&job->desc[n + 1U];
			uintptr_t place = (uintptr_t)out->high << 32 | out->low;

			memcpy((void *)place, trustbox_pattern, sizeof(trustbox_pattern));
			return 0;
		}
	}
	return -1;
}

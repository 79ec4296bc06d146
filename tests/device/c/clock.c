// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Prints how long the machine had been on when Linux started its clock, in milliseconds: what firmware and boot loader
 * took. The counter of the processor starts with the machine, Linux's clock with Linux.
 */
#include <stdint.h>
#include <stdio.h>
#include <time.h>

int main(void)
{
	struct timespec up = { 0 };
	uint64_t count = 0;
	uint64_t frequency = 0;
	double on = 0;

	__asm__ volatile("mrs %0, cntfrq_el0" : "=r"(frequency));
	__asm__ volatile("isb\n\tmrs %0, cntvct_el0" : "=r"(count));
	if (clock_gettime(CLOCK_BOOTTIME, &up) || !frequency)
		return 1;
	on = (double)count / (double)frequency;
	printf("%.3f\n", (on - (double)up.tv_sec - (double)up.tv_nsec / 1e9) * 1e3);
	return 0;
}

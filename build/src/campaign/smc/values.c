/* Values of all kinds: what registers and messages are filled with. */

#include "payload.h"

static u64 state;

void start_values(void)
{
	state = parameters.seed;
}

/* SplitMix64 */
u64 any(void)
{
	u64 z = state += 0x9e3779b97f4a7c15UL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9UL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebUL;
	return z ^ z >> 31;
}

u64 below(u64 limit)
{
	return any() % limit;
}

u64 ours(void)
{
	return ARENA + below(ARENA_SIZE / PAGE) * PAGE;
}

/* An address that is not of our memory, or one of the arena; seldom aligned to nothing */
u64 address(void)
{
	u64 found;

	switch (below(12)) {
	case 0: found = 0x0e000000UL + below(0x100000 / PAGE) * PAGE; break;	/* TF-A */
	case 1: found = 0x0e100000UL + below(0xf00000 / PAGE) * PAGE; break;	/* OP-TEE and TAs */
	case 2: found = 0x03fc0000UL + below(4) * PAGE; break;			/* key and counters */
	case 3: found = below(0x04000000UL / PAGE) * PAGE; break;		/* secure flash */
	case 4: found = 0x08000000UL + below(0x2000000UL / PAGE) * PAGE; break;	/* interrupts, consoles, clock */
	case 5: found = below(2) ? RAM_END : RAM - PAGE; break;
	case 6: found = any() & ~(PAGE - 1); break;
	case 7: found = (1UL << below(64)) - below(2) * PAGE; break;
	default: found = ours();
	}
	return below(8) ? found : found + below(PAGE);
}

u64 value(void)
{
	switch (below(8)) {
	case 0: return below(16);
	case 1: return -below(16);
	case 2: return any();
	case 3: return (u32)any();
	case 4: return 1UL << below(64);
	case 5: return 0x84000000UL | below(0x40) | (below(2) ? WIDE : 0);
	default: return address();
	}
}

/*
 * The normal world with all that it can do: BL33 at EL1, before U-Boot and Linux, with nothing but registers and memory. It
 * makes every call to the secure monitor that there is, with any registers, and looks at what comes back; then it starts the
 * U-Boot behind it, so that the same secure world has to serve Linux.
 *
 * What must hold after each call: it came back, registers that a call keeps are kept, services that are not for us refuse,
 * no message is taken from memory that is not ours, and no word of what is secret is in a register. At the end: no such word
 * in memory that was lent to the secure world, and memory that was not lent is as it was. A call that does what it is for is
 * no finding; those that would end the trial by what they are for are in `left_out`.
 *
 * Without an MMU every access is to device memory: no unaligned ones.
 */

#include "payload.h"

#define CPU_ON		0x84000003U
#define AFFINITY	0xff00ffffffUL

volatile struct parameters parameters __attribute__((section(".parameters"))) = { .magic = MAGIC };

/* Function ids of PSCI that are not called, for what they are for */
static const u32 left_out[] = {
	0x84000001,	/* CPU_SUSPEND: sleeps until an interrupt, and here is none */
	0x84000002,	/* CPU_OFF: the core that makes the calls */
	0x84000008,	/* SYSTEM_OFF */
	0x84000009,	/* SYSTEM_RESET */
	0x8400000b,	/* CPU_FREEZE: as CPU_OFF */
	0x8400000c,	/* CPU_DEFAULT_SUSPEND: as CPU_SUSPEND */
	0x8400000e,	/* SYSTEM_SUSPEND: as CPU_SUSPEND */
	0x84000012,	/* SYSTEM_RESET2 */
};

extern u8 image_end[];

static int is_left_out(u32 function)
{
	for (u64 n = 0; n < sizeof(left_out) / sizeof(left_out[0]); n++)
		if ((function & ~(WIDE | 0xff0000U)) == left_out[n])
			return 1;
	return 0;
}

/* Nobody offers these: they are refused, whatever is in the registers */
static int must_refuse(u32 function)
{
	u32 owner = function >> 24 & 63;

	if ((function & FAST) && (function & 0xfe0000U))
		return 1;
	if (!(function & FAST))
		return owner < TRUSTED_OS;
	return owner == 1 || owner == SIP || owner == 3 || owner == 5 || owner == 6 || (owner > 7 && owner < TRUSTED_OS);
}

static void any_call(u32 function)
{
	struct registers asked;

	if (is_left_out(function))
		return;
	registers(function);
	/* The other core would start where it is told, and Linux could not start it any more */
	if ((function & ~(WIDE | 0xff0000U)) == CPU_ON && (now.x[1] & AFFINITY) == 1)
		now.x[1] = any() << 8;
	asked = now;
	call();
	if (must_refuse(function) && (u32)now.x[0] != UNKNOWN)
		finding("a service that is not for the normal world answered", &asked);
	if ((u32)now.x[0] != UNKNOWN)
		answered++;
}

static u64 guard(u64 place)
{
	return place * 0x9e3779b97f4a7c15UL ^ 0x5bd1e995;
}

/* What was not lent: both guards, this program, and U-Boot behind it */
static void guards(int fill)
{
	static u64 sum;
	u64 found = 0;
	u64 end = 0x60000000UL + parameters.u_boot + 0x100000UL;

	for (u64 at = ARENA - GUARD_SIZE; at < ARENA + ARENA_SIZE + GUARD_SIZE; at += 8) {
		if (at >= ARENA && at < ARENA + ARENA_SIZE)
			continue;
		if (fill)
			*(volatile u64 *)at = guard(at);
		else if (*(volatile u64 *)at != guard(at)) {
			finding_at("memory that was not lent was written to", &now, at);
			return;
		}
	}
	for (u64 at = 0x60003000UL; at < end; at += 8)
		if (at < (u64)image_end / 8 * 8 || at >= 0x60000000UL + parameters.u_boot)
			found = found * 31 + *(volatile u64 *)at;
	if (fill)
		sum = found;
	else if (sum != found)
		finding("this program or U-Boot was written to", &now);
}

static void arena(void)
{
	for (u64 at = ARENA; at < ARENA + ARENA_SIZE; at += 8)
		if (secret(*(volatile u64 *)at)) {
			finding_at("a secret in memory that was lent", &now, at);
			return;
		}
}

static void any_turn(void)
{
	u32 wide = below(2) ? WIDE : 0;

	switch (below(16)) {
	case 0: case 1: case 2:
		any_call(FAST | wide | OWNER(4) | below(0x20));
		break;
	case 3:
		any_call(FAST | wide | OWNER(4) | (below(2) ? below(0x200) : below(0x10000)));
		break;
	case 4:
		any_call(FAST | wide | (below(2) ? 0x8000 | below(2) << 15 : 0) | below(0x10000));
		break;
	case 5:
		any_call(FAST | wide | OWNER(SIP) | 0xff00 | below(0x20));
		break;
	case 6:
		any_call((u32)any() | FAST);
		break;
	case 7:
		any_call(((u32)any() & ~FAST & ~OWNER(63)) | OWNER(below(TRUSTED_OS)));
		break;
	case 8: case 9:
		any_call(FAST | wide | OWNER(TRUSTED_OS + below(14)) | (below(2) ? below(32) : 0xff00 | below(8)));
		break;
	case 10:
		any_call(FAST | OWNER(TRUSTED_OS) | below(32));
		break;
	default:
		any_yielding();
	}
}

u64 run(void)
{
	start_values();
	text("smc: seed ");
	number(parameters.seed);
	text(", turns ");
	number(parameters.count);
	text(", secret words ");
	number(parameters.words);
	text("\n");
	start_calls();
	for (u64 at = ARENA; at < ARENA + ARENA_SIZE; at += 8)
		*(volatile u64 *)at = 0;
	guards(1);
	/* All of the board's services, those that there are first, and the first and last functions of everybody */
	for (u32 n = 0x20000; n-- > 0; )
		any_call(FAST | OWNER(SIP) | (n & 0xffff) | (n & 0x10000 ? WIDE : 0));
	for (u32 owner = 0; owner < TRUSTED_OS; owner++)
		for (u32 n = 0; n < 0x180; n++)
			any_call(OWNER(owner) | (n & 0x3f) | (n & 0x40 ? 0xff00 : 0) | (n < 0x100 ? FAST : 0) | (n & 0x80 ? WIDE : 0));
	text("smc: each function was called\n");
	for (u64 n = 0; n < parameters.count; n++) {
		any_turn();
		if (n % (parameters.count / 10 + 1) == 0) {
			arena();
			text("smc: turn ");
			number(n);
			text("\n");
		}
	}
	close_all();
	arena();
	guards(0);
	text("smc: done, ");
	number(calls);
	text(" calls, ");
	number(answered);
	text(" answered, ");
	tell_optee();
	number(findings);
	text(" findings\n");
	return 0x60000000UL + parameters.u_boot;
}

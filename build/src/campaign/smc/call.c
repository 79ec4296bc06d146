/* One call to the secure world, and what must hold of any. */

#include "payload.h"

#define MAX_FINDINGS	20

struct registers now;
u64 calls, findings, answered;
static u8 filter[4096];

/* Off: nobody has to wait for a trial that cannot go on */
void halt(void)
{
	now.x[0] = 0x84000008;
	smc(&now);
	for (;;)
		__asm__ volatile("wfi");
}

/* The place is where it was found in memory, or 0 */
void finding_at(const char *what, const struct registers *asked, u64 place)
{
	if (++findings > MAX_FINDINGS)
		return;
	text("smc: finding: ");
	text(what);
	if (place) {
		hex(place);
		text(" has");
		hex(*(volatile u64 *)place);
	}
	text("; call ");
	number(calls);
	for (int n = 0; n < 8; n++)
		hex(asked->x[n]);
	text(" gave");
	for (int n = 0; n < 5; n++)
		hex(now.x[n]);
	text("\n");
}

void finding(const char *what, const struct registers *asked)
{
	finding_at(what, asked, 0);
}

void fault(u64 syndrome, u64 address, u64 data)
{
	text("smc: finding: an exception in the normal world after call ");
	number(calls);
	hex(syndrome);
	hex(address);
	hex(data);
	text("\n");
	halt();
}

/* Whether this is a word of what is secret */
int secret(u64 word)
{
	if (!filter[word >> 20 & 0xfff])
		return 0;
	for (u64 n = 0; n < parameters.words; n++)
		if (parameters.word[n] == word)
			return 1;
	return 0;
}

static int varied(u32 word)
{
	for (int n = 0; n < 3; n++)
		for (int i = n + 1; i < 4; i++)
			if ((u8)(word >> 8 * n) == (u8)(word >> 8 * i))
				return 0;
	return 1;
}

/* Many answers have 32 bits, so lower halves of words count too, but for those that may well be a number of something */
static int secret_answer(u64 word)
{
	if (word >> 32 || !filter[word >> 20] || !varied(word))
		return secret(word);
	for (u64 n = 0; n < parameters.words; n++)
		if ((u32)parameters.word[n] == word)
			return 1;
	return 0;
}

/* One call, and what must hold of any */
void call(void)
{
	struct registers asked = now;
	u64 kept;

	calls++;
	if (parameters.trace) {
		text("smc: call ");
		number(calls);
		for (int n = 0; n < 6; n++)
			hex(now.x[n]);
		text("\n");
	}
	kept = smc(&now);
	if (kept)
		finding("a register that a call keeps was changed", &asked);
	for (int n = 0; n < 18; n++)
		if (now.x[n] != asked.x[n] && secret_answer(now.x[n]))
			finding("a secret in a register", &asked);
}

void registers(u32 function)
{
	now.x[0] = function;
	for (int n = 1; n < 18; n++)
		now.x[n] = value();
}

void start_calls(void)
{
	for (u64 n = 0; n < parameters.words; n++)
		filter[(parameters.word[n] & 0xffffffffUL) >> 20] = 1;
}

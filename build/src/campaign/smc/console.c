/* The console, and what the compiler asks for. */

#include "payload.h"

/* The compiler calls it for structures */
void *memcpy(void *to, const void *from, u64 size)
{
	for (u64 n = 0; n < size; n++)
		((u8 *)to)[n] = ((const u8 *)from)[n];
	return to;
}

static void put(char c)
{
	*(volatile u32 *)0x09000000UL = (u8)c;
}

void text(const char *s)
{
	while (*s) {
		if (*s == '\n')
			put('\r');
		put(*s++);
	}
}

void number(u64 value)
{
	char digits[20];
	int n = 0;

	do {
		digits[n++] = '0' + value % 10;
		value /= 10;
	} while (value);
	while (n)
		put(digits[--n]);
}

void hex(u64 value)
{
	int shift = 60;

	while (shift && !(value >> shift))
		shift -= 4;
	for (text(" 0x"); shift >= 0; shift -= 4)
		put("0123456789abcdef"[value >> shift & 15]);
}

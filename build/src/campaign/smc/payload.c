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

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long u64;

#define MAGIC		0x434d5354584254UL	/* "TBXTSMC" */
#define MAX_WORDS	512

/* Written by the builder */
struct parameters {
	u64 magic;
	u64 seed;
	u64 count;
	u64 trace;
	u64 u_boot;
	u64 words;
	u64 word[MAX_WORDS];
};

volatile struct parameters parameters __attribute__((section(".parameters"))) = { .magic = MAGIC };

struct registers {
	u64 x[18];
};

/* Memory that is lent to the secure world, between two guards that are not */
#define ARENA		0x70000000UL
#define ARENA_SIZE	0x200000UL
#define GUARD_SIZE	0x200000UL
#define PAGE		0x1000UL
/* Memory of the normal world: what is elsewhere is secure, a device, or not there */
#define RAM		0x40000000UL
#define RAM_END		0x82100000UL

#define UNKNOWN		0xffffffffU
#define FAST		0x80000000U
#define WIDE		0x40000000U
#define OWNER(n)	((u32)(n) << 24)
#define SIP		2
#define TRUSTED_OS	50

#define CPU_ON		0x84000003U
#define AFFINITY	0xff00ffffffUL
#define CALL_WITH_ARG	0x32000004U
#define CALL_WITH_RPC_ARG 0x32000012U
#define CALL_WITH_REGD_ARG 0x32000013U
#define RETURN_FROM_RPC	0x32000003U
#define DISABLE_SHM_CACHE 0xb200000aU
#define RPC_PREFIX	0xffff0000U
#define RPC_ALLOC	0
#define RPC_FREE	2
#define RPC_CMD		5
#define THREAD_LIMIT	1
#define ERESUME		3

/* What a call of OP-TEE may ask for before it ends */
#define MAX_RPC		20000
#define MAX_FINDINGS	20
#define SESSIONS	8
#define SHARED		16

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

/* Pseudo-TAs, and the TrustBox TA at the end */
static const u8 known[][16] = {
	{ 0x70, 0x11, 0xa6, 0x88, 0xdd, 0xde, 0x40, 0x53, 0xa5, 0xa9, 0x7b, 0x3c, 0x4d, 0xdf, 0x13, 0xb8 },
	{ 0xd9, 0x6a, 0x5b, 0x40, 0xe2, 0xc7, 0xb1, 0xaf, 0x87, 0x94, 0x10, 0x02, 0xa5, 0xd5, 0xc6, 0x1b },
	{ 0x6e, 0x25, 0x6c, 0xba, 0xfc, 0x4d, 0x49, 0x41, 0xad, 0x09, 0x2c, 0xa1, 0x86, 0x03, 0x42, 0xdd },
	{ 0x3a, 0x2f, 0x89, 0x78, 0x5d, 0xc0, 0x11, 0xe8, 0x9c, 0x2d, 0xfa, 0x7a, 0xe0, 0x1b, 0xbe, 0xbc },
	{ 0xb8, 0xa6, 0xe9, 0xd4, 0x3f, 0x0c, 0x4f, 0x7e, 0x9a, 0x53, 0x1d, 0x2c, 0x7e, 0x50, 0xb4, 0xc1 },
};
#define KNOWN (sizeof(known) / sizeof(known[0]))

struct parameter {
	u64 attributes, a, b, c;
};

/* struct optee_msg_arg of OP-TEE's interface */
struct message {
	u32 command, function, session, cancel, pad, result, origin, count;
	struct parameter parameter[10];
};

static u64 state, calls, findings, answered, sessions, served, requests, references;
static struct registers now;
static u32 session[SESSIONS];
static u64 shared[SHARED];
static u8 filter[4096];
static u8 stack[0x4000] __attribute__((aligned(16), used));

u64 smc(struct registers *registers);
extern u8 image_end[];

__asm__(
"	.section .start, \"ax\"\n"
"	.global _start\n"
"_start:\n"
"	mov	x20, x0\n"
"	ldr	x1, =stack + 0x4000\n"
"	mov	sp, x1\n"
"	ldr	x1, =vectors\n"
"	msr	vbar_el1, x1\n"
"	isb\n"
"	bl	run\n"
"	mov	x1, x0\n"
"	mov	x0, x20\n"
"	br	x1\n"
"	.ltorg\n"
"	.text\n"
"	.balign 2048\n"
"vectors:\n"
"	.rept 16\n"
"	b	1f\n"
"	.balign 128\n"
"	.endr\n"
"1:	mrs	x0, esr_el1\n"
"	mrs	x1, elr_el1\n"
"	mrs	x2, far_el1\n"
"	ldr	x3, =stack + 0x4000\n"
"	mov	sp, x3\n"
"	b	fault\n"
/* Calls with all registers; the number of a kept one that was not kept, or 0 */
"	.global smc\n"
"smc:	stp	x29, x30, [sp, #-112]!\n"
"	stp	x19, x20, [sp, #16]\n"
"	stp	x21, x22, [sp, #32]\n"
"	stp	x23, x24, [sp, #48]\n"
"	stp	x25, x26, [sp, #64]\n"
"	stp	x27, x28, [sp, #80]\n"
"	stp	x0, x18, [sp, #96]\n"
"	mov	x30, x0\n"
"	.irp	n, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29\n"
"	mov	x\\n, #0x5b00 + \\n\n"
"	.endr\n"
"	ldp	x16, x17, [x30, #128]\n"
"	ldp	x14, x15, [x30, #112]\n"
"	ldp	x12, x13, [x30, #96]\n"
"	ldp	x10, x11, [x30, #80]\n"
"	ldp	x8, x9, [x30, #64]\n"
"	ldp	x6, x7, [x30, #48]\n"
"	ldp	x4, x5, [x30, #32]\n"
"	ldp	x2, x3, [x30, #16]\n"
"	ldp	x0, x1, [x30]\n"
"	smc	#0\n"
"	ldr	x30, [sp, #96]\n"
"	stp	x16, x17, [x30, #128]\n"
"	stp	x14, x15, [x30, #112]\n"
"	stp	x12, x13, [x30, #96]\n"
"	stp	x10, x11, [x30, #80]\n"
"	stp	x8, x9, [x30, #64]\n"
"	stp	x6, x7, [x30, #48]\n"
"	stp	x4, x5, [x30, #32]\n"
"	stp	x2, x3, [x30, #16]\n"
"	stp	x0, x1, [x30]\n"
"	.irp	n, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29\n"
"	mov	x0, #\\n\n"
"	mov	x1, #0x5b00 + \\n\n"
"	cmp	x\\n, x1\n"
"	b.ne	2f\n"
"	.endr\n"
"	mov	x0, #0\n"
"2:	ldr	x18, [sp, #104]\n"
"	ldp	x27, x28, [sp, #80]\n"
"	ldp	x25, x26, [sp, #64]\n"
"	ldp	x23, x24, [sp, #48]\n"
"	ldp	x21, x22, [sp, #32]\n"
"	ldp	x19, x20, [sp, #16]\n"
"	ldp	x29, x30, [sp], #112\n"
"	ret\n"
"	.ltorg\n");

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

static void text(const char *s)
{
	while (*s) {
		if (*s == '\n')
			put('\r');
		put(*s++);
	}
}

static void number(u64 value)
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

static void hex(u64 value)
{
	int shift = 60;

	while (shift && !(value >> shift))
		shift -= 4;
	for (text(" 0x"); shift >= 0; shift -= 4)
		put("0123456789abcdef"[value >> shift & 15]);
}

/* Off: nobody has to wait for a trial that cannot go on */
static void halt(void)
{
	now.x[0] = 0x84000008;
	smc(&now);
	for (;;)
		__asm__ volatile("wfi");
}

/* The place is where it was found in memory, or 0 */
static void finding_at(const char *what, const struct registers *asked, u64 place)
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

static void finding(const char *what, const struct registers *asked)
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

/* SplitMix64 */
static u64 any(void)
{
	u64 z = state += 0x9e3779b97f4a7c15UL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9UL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebUL;
	return z ^ z >> 31;
}

static u64 below(u64 limit)
{
	return any() % limit;
}

static u64 ours(void)
{
	return ARENA + below(ARENA_SIZE / PAGE) * PAGE;
}

/* An address that is not of our memory, or one of the arena; seldom aligned to nothing */
static u64 address(void)
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

static int in_ram(u64 place)
{
	return place >= RAM && place < RAM_END;
}

static u64 value(void)
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

/* Whether this is a word of what is secret */
static int secret(u64 word)
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
static void call(void)
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

static void registers(u32 function)
{
	now.x[0] = function;
	for (int n = 1; n < 18; n++)
		now.x[n] = value();
}

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

/* Requests of OP-TEE to the normal world: mostly served, sometimes with anything */
static void serve(int honest)
{
	u32 what = now.x[0] & 0xffff;
	volatile struct message *message;
	u64 place;

	requests++;
	now.x[0] = RETURN_FROM_RPC;
	if (what == RPC_ALLOC) {
		place = honest || below(4) ? ours() : address();
		now.x[1] = place >> 32;
		now.x[2] = (u32)place;
		now.x[4] = now.x[1];
		now.x[5] = now.x[2];
		return;
	}
	place = now.x[1] << 32 | (u32)now.x[2];
	if (what == RPC_CMD && place >= ARENA && place < ARENA + ARENA_SIZE && !(place & 7)) {
		message = (volatile struct message *)place;
		message->result = 0xffff0000U | below(0x20);
		if (!honest && !below(4)) {
			message->result = below(2) ? 0 : any();
			message->count = below(2) ? message->count : below(12);
			for (int n = 0; n < 2; n++) {
				message->parameter[n].attributes = below(12) | (below(4) ? 0 : 0x200);
				message->parameter[n].a = address();
				message->parameter[n].b = value();
				message->parameter[n].c = value();
			}
		}
	} else if (!honest && what != RPC_FREE && !below(4)) {
		now.x[1] = value();
		now.x[2] = value();
	}
}

/* Makes a call of OP-TEE to its end, as the driver of Linux does */
static void to_its_end(int honest)
{
	struct registers asked = now;
	u64 message = now.x[1] << 32 | (u32)now.x[2];
	int outside = ((u32)now.x[0] == CALL_WITH_ARG || (u32)now.x[0] == CALL_WITH_RPC_ARG) && !in_ram(message);

	for (u64 n = 0; ; n++) {
		call();
		if (((u32)now.x[0] & RPC_PREFIX) != RPC_PREFIX || (u32)now.x[0] == UNKNOWN)
			break;
		if (outside)
			finding("a message was taken from memory that is not ours", &asked);
		if (n == MAX_RPC) {
			finding("a call of OP-TEE does not end", &asked);
			text("smc: message and request");
			for (int i = 0; i < 8; i++)
				hex(((volatile u64 *)message)[i]);
			text(",");
			for (int i = 0; i < 10 && in_ram(now.x[1] << 32 | (u32)now.x[2]); i++)
				hex(((volatile u64 *)(now.x[1] << 32 | (u32)now.x[2]))[i]);
			text("\n");
			halt();
		}
		/* Not for ever: at last every request is refused */
		serve(honest || n > 100);
	}
	if (outside && (u32)now.x[0] == 0)
		finding("a message was taken from memory that is not ours", &asked);
	if ((u32)now.x[0] == THREAD_LIMIT)
		finding("a thread of OP-TEE was lost", &asked);
	answered++;
}

static void any_parameter(volatile struct parameter *parameter)
{
	u64 list;

	parameter->attributes = below(12) | (below(4) ? 0 : 0x100) | (below(3) ? 0 : 0x200);
	parameter->a = below(3) ? address() : value();
	parameter->b = below(2) ? below(3 * PAGE) : value();
	parameter->c = below(3) ? ours() : value();
	/* A list of pages, whose last entry is the next list */
	list = parameter->a & ~(PAGE - 1);
	if ((parameter->attributes & 0x200) && list >= ARENA && list < ARENA + ARENA_SIZE)
		for (int n = 0; n < 512; n++)
			((volatile u64 *)list)[n] = below(16) ? ours() : address();
}

/* One that OP-TEE takes: a value, memory that was registered, or a list of our pages */
static void good_parameter(volatile struct parameter *parameter)
{
	u64 list = ours();

	parameter->attributes = below(4);
	parameter->a = value();
	parameter->b = value();
	if (below(2)) {
		parameter->attributes = 5 + below(3);
		parameter->a = below(4) ? below(PAGE) : value();
		parameter->b = below(4) ? below(PAGE) : value();
		parameter->c = shared[below(SHARED)];
	} else if (below(2)) {
		parameter->attributes = 0x209 + below(3);
		parameter->a = list | (below(2) ? 0 : below(PAGE));
		parameter->b = below(8 * PAGE);
		parameter->c = list;
		for (int n = 0; n < 512; n++)
			((volatile u64 *)list)[n] = ours();
	}
}

static void name(volatile struct parameter *parameter, const u8 *uuid)
{
	u64 word[2] = { 0, 0 };

	for (int n = 0; n < 16; n++)
		word[n / 8] |= (u64)uuid[n] << n % 8 * 8;
	parameter->attributes = 0x101;
	parameter->a = word[0];
	parameter->b = word[1];
}

/* Any message, most of them with the form of one */
static void any_message(volatile struct message *message)
{
	message->command = below(8) ? below(9) : (u32)any();
	message->function = below(2) ? below(8) : (u32)any();
	message->session = below(8) ? session[below(SESSIONS)] : (u32)any();
	message->cancel = any();
	message->pad = 0;
	message->result = any();
	message->origin = any();
	message->count = below(16) ? below(5) : (u32)value();
	for (int n = 0; n < 10; n++)
		any_parameter(&message->parameter[n]);
	if (message->command == 0) {
		message->count = below(16) ? 2 + below(5) : below(3);
		/* The TA at the end is loaded for each session, which takes long */
		name(&message->parameter[0], known[below(64) ? below(KNOWN - 1) : KNOWN - 1]);
		/* Linux is asked for a TA that nobody knows */
		if (!below(3))
			message->parameter[0].a = any();
		message->parameter[1].attributes = 0x101;
		message->parameter[1].c = below(4) ? 0 : value();
		if (below(2)) {
			message->count = 2;
			message->cancel = 0;
			message->parameter[1].c = 0;
		}
	} else if (message->command == 4) {
		message->count = 1;
		message->parameter[0].attributes = 0x20a;
		/* One that is given twice can never be given back: OP-TEE waits until there is none of this name */
		message->parameter[0].c = ++references;
		message->parameter[0].a = ours() | (below(4) ? 0 : below(PAGE));
		message->parameter[0].b = below(16 * PAGE);
		for (int n = 0; n < 512; n++)
			((volatile u64 *)(message->parameter[0].a & ~(PAGE - 1)))[n] = below(64) ? ours() : address();
	} else if (message->command == 5 && below(2)) {
		message->count = 1;
		message->parameter[0].attributes = 5 + below(3);
		message->parameter[0].c = shared[below(SHARED)];
	} else if (message->command == 1 && below(4)) {
		message->function = below(8) ? below(8) : value();
		message->count = below(5);
		for (int n = 0; n < SESSIONS && !message->session; n++)
			message->session = session[n];
		for (int n = 0; n < 4; n++)
			good_parameter(&message->parameter[n]);
	}
}

/* A message of its own that is served to its end, for what must be undone */
static u32 plain_message(u32 command, u32 session_id, u64 reference)
{
	u64 place = ours();
	volatile struct message *message = (volatile struct message *)place;

	message->command = command;
	message->session = session_id;
	message->count = command == 5;
	message->parameter[0].attributes = 5;
	message->parameter[0].c = reference;
	registers(CALL_WITH_ARG);
	now.x[1] = place >> 32;
	now.x[2] = (u32)place;
	to_its_end(1);
	return message->result;
}

static void remember(u32 command, u32 opened, u64 reference)
{
	u64 n;

	if (command == 0) {
		n = below(SESSIONS);
		if (session[n])
			plain_message(2, session[n], 0);
		session[n] = opened;
		sessions++;
	} else if (command == 4) {
		n = below(SHARED);
		if (shared[n])
			plain_message(5, 0, shared[n]);
		shared[n] = reference;
	}
}

static void any_yielding(void)
{
	static const u32 functions[] = { CALL_WITH_ARG, CALL_WITH_ARG, CALL_WITH_RPC_ARG, CALL_WITH_REGD_ARG };
	u64 place = below(8) ? ours() : address();
	int inside = place >= ARENA && place + sizeof(struct message) <= ARENA + ARENA_SIZE && !(place & 7);
	volatile struct message *message = (volatile struct message *)place;
	u64 reference = 0;
	u32 command = UNKNOWN;

	if (below(32) == 0) {
		registers(OWNER(TRUSTED_OS + below(14)) | (below(2) ? below(32) : below(0x10000)) | (below(4) ? 0 : WIDE));
		to_its_end(0);
		return;
	}
	if (below(32) == 0) {
		registers(RETURN_FROM_RPC);
		now.x[3] = value();
		call();
		if ((u32)now.x[0] != ERESUME)
			finding("a call that nobody made went on", &now);
		return;
	}
	if (inside) {
		any_message(message);
		command = message->command;
		reference = message->parameter[0].c;
	}
	registers(functions[below(4)]);
	now.x[1] = place >> 32;
	now.x[2] = (u32)place;
	if (now.x[0] == CALL_WITH_REGD_ARG) {
		reference = below(4) ? shared[below(SHARED)] : value();
		now.x[1] = reference >> 32;
		now.x[2] = (u32)reference;
		now.x[3] = below(4) ? below(4) * PAGE : value();
		command = UNKNOWN;
	}
	to_its_end(below(2));
	if (inside && (u32)now.x[0] == 0 && message->result == 0) {
		served++;
		remember(command, message->session, reference);
	}
	if (command == 2 && (u32)now.x[0] == 0)
		for (int n = 0; n < SESSIONS; n++)
			if (session[n] == message->session)
				session[n] = 0;
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

/* Everything that was opened is closed, so that Linux finds what a driver leaves */
static void close_all(void)
{
	for (int n = 0; n < SESSIONS; n++)
		if (session[n])
			plain_message(2, session[n], 0);
	for (int n = 0; n < SHARED; n++)
		if (shared[n])
			plain_message(5, 0, shared[n]);
	for (int n = 0; n < 16; n++) {
		registers(DISABLE_SHM_CACHE);
		call();
	}
}

u64 run(void)
{
	state = parameters.seed;
	text("smc: seed ");
	number(parameters.seed);
	text(", turns ");
	number(parameters.count);
	text(", secret words ");
	number(parameters.words);
	text("\n");
	for (u64 n = 0; n < parameters.words; n++)
		filter[(parameters.word[n] & 0xffffffffUL) >> 20] = 1;
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
	number(sessions);
	text(" sessions, ");
	number(served);
	text(" messages served, ");
	number(requests);
	text(" requests, ");
	number(findings);
	text(" findings\n");
	return 0x60000000UL + parameters.u_boot;
}

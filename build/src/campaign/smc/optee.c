/*
 * Calls of OP-TEE: messages with any content and parameters, what they ask the normal world for, and what is left to be closed.
 */

#include "payload.h"

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

/* What a call may ask for before it ends */
#define MAX_RPC		20000
#define SESSIONS	8
#define SHARED		16

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

static u64 sessions, served, requests, references;
static u32 session[SESSIONS];
static u64 shared[SHARED];

static int in_ram(u64 place)
{
	return place >= RAM && place < RAM_END;
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

void any_yielding(void)
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

/* Everything that was opened is closed, so that Linux finds what a driver leaves */
void close_all(void)
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

void tell_optee(void)
{
	number(sessions);
	text(" sessions, ");
	number(served);
	text(" messages served, ");
	number(requests);
	text(" requests, ");
}

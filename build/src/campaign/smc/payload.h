/* What the parts of the program share. */

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

extern volatile struct parameters parameters;

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

/* The last call: its registers, before and after */
extern struct registers now;
/* How often: calls, findings, calls that were answered with anything but "unknown function" */
extern u64 calls, findings, answered;

/* entry.S */
u64 smc(struct registers *registers);

/* console.c */
void text(const char *s);
void number(u64 value);
void hex(u64 value);

/* call.c */
void start_calls(void);
void halt(void) __attribute__((noreturn));
void finding(const char *what, const struct registers *asked);
void finding_at(const char *what, const struct registers *asked, u64 place);
int secret(u64 word);
void call(void);
void registers(u32 function);

/* values.c */
void start_values(void);
u64 any(void);
u64 below(u64 limit);
u64 ours(void);
u64 address(void);
u64 value(void);

/* optee.c */
void any_yielding(void);
void close_all(void);
void tell_optee(void);

// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Calls the TrustBox TA again and again, and rewrites the memory of each call while it is under way:
 * rewrite SEED ROUNDS COMMAND[.SUBCOMMAND]:REQUEST[:DATA]...
 *
 * REQUEST and DATA are files, or - for nothing; SUBCOMMAND is what an enclave gets, for the command that calls it.
 * Each call starts with what the files hold; a second thread flips bits of it and puts them back until the call
 * returns. One session for all. Prints a line `COMMAND CODE` a call. Exit status: 0, 2 wrong usage, 3 no TEE.
 *
 * Talks to the kernel alone: memory that others change has no place in Rust, and libteec copies it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/tee.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define INVOKE_ENCLAVE	13
#define REQUEST		4096
#define REPLY		4096
#define DATA		(1024 * 1024)
#define REPLY_AT	REQUEST
#define DATA_AT		(REQUEST + REPLY)
#define SIZE		(DATA_AT + DATA)

static const __u8 trustbox[TEE_IOCTL_UUID_LEN] = {
	0xb8, 0xa6, 0xe9, 0xd4, 0x3f, 0x0c, 0x4f, 0x7e,
	0x9a, 0x53, 0x1d, 0x2c, 0x7e, 0x50, 0xb4, 0xc1,
};

static int tee;
static volatile unsigned char *shared;
static size_t request_size, data_size;
static volatile int calling;
static uint64_t seed;

static void check(int failed, const char *what)
{
	if (failed) {
		perror(what);
		exit(3);
	}
}

/* SplitMix64 */
static uint64_t random_below(uint64_t limit)
{
	uint64_t mixed = seed += 0x9e3779b97f4a7c15;

	mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9;
	mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
	return (mixed ^ (mixed >> 31)) % limit;
}

static void *rewrite(void *unused)
{
	while (calling) {
		size_t at = random_below(request_size + data_size);
		size_t where = at < request_size ? at : DATA_AT + at - request_size;
		unsigned char good = shared[where];

		shared[where] = good ^ (1 << random_below(8));
		for (volatile uint64_t wait = random_below(2000); wait; wait--)
			;
		shared[where] = good;
	}
	return unused;
}

static int transfer(unsigned long request, void *arg, size_t size)
{
	struct tee_ioctl_buf_data data = { .buf_ptr = (uintptr_t)arg, .buf_len = size };

	return ioctl(tee, request, &data);
}

static struct tee_ioctl_param memory(__u64 type, __u64 offset, __u64 size, __u64 id)
{
	return (struct tee_ioctl_param){ .attr = type, .a = offset, .b = size, .c = id };
}

static size_t load(const char *path, size_t offset, size_t limit)
{
	ssize_t size = 0;
	int file = -1;

	if (!strcmp(path, "-"))
		return 0;
	file = open(path, O_RDONLY);
	check(file < 0, path);
	size = read(file, (void *)(shared + offset), limit);
	check(size < 0, path);
	close(file);
	return size;
}

struct call {
	struct tee_ioctl_invoke_arg arg;
	struct tee_ioctl_param params[4];
};

static struct call prepared(const char *text, __u32 session, __u64 shm)
{
	struct call call = { .arg = { .session = session, .num_params = 4 } };
	struct tee_ioctl_param *next = call.params;
	char *words = strdup(text);
	char *command = strtok(words, ":");
	char *request = strtok(NULL, ":");
	char *data = strtok(NULL, ":");
	char *sub = strchr(command, '.');

	check(!request, text);
	call.arg.func = strtoul(command, NULL, 0);
	request_size = load(request, 0, REQUEST);
	data_size = data ? load(data, DATA_AT, DATA) : 0;
	if (call.arg.func == INVOKE_ENCLAVE)
		*next++ = (struct tee_ioctl_param){
			.attr = TEE_IOCTL_PARAM_ATTR_TYPE_VALUE_INPUT, .a = sub ? strtoul(sub + 1, NULL, 0) : 0,
		};
	*next++ = memory(TEE_IOCTL_PARAM_ATTR_TYPE_MEMREF_INPUT, 0, request_size, shm);
	*next++ = memory(TEE_IOCTL_PARAM_ATTR_TYPE_MEMREF_OUTPUT, REPLY_AT, REPLY, shm);
	if (data)
		*next++ = memory(TEE_IOCTL_PARAM_ATTR_TYPE_MEMREF_INPUT, DATA_AT, data_size, shm);
	free(words);
	return call;
}

static void carry_out(const char *text, __u32 session, __u64 shm)
{
	struct call call = prepared(text, session, shm);
	int rewriting = request_size + data_size > 0;
	pthread_t thread;

	calling = rewriting;
	if (rewriting)
		check((errno = pthread_create(&thread, NULL, rewrite, NULL)), "thread");
	check(transfer(TEE_IOC_INVOKE, &call, sizeof(call)), "invoke");
	calling = 0;
	if (rewriting)
		pthread_join(thread, NULL);
	printf("%u 0x%08x\n", call.arg.func, call.arg.ret);
}

int main(int argc, char **argv)
{
	struct tee_ioctl_shm_alloc_data shm = { .size = SIZE };
	struct tee_ioctl_open_session_arg open_arg = { .clnt_login = TEE_IOCTL_LOGIN_PUBLIC };
	int shm_fd = -1;

	if (argc < 4)
		return 2;
	seed = strtoull(argv[1], NULL, 0);
	tee = open("/dev/tee0", O_RDWR);
	check(tee < 0, "/dev/tee0");
	shm_fd = ioctl(tee, TEE_IOC_SHM_ALLOC, &shm);
	check(shm_fd < 0, "shared memory");
	shared = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, shm_fd, 0);
	check(shared == MAP_FAILED, "shared memory");

	memcpy(open_arg.uuid, trustbox, sizeof(trustbox));
	check(transfer(TEE_IOC_OPEN_SESSION, &open_arg, sizeof(open_arg)), "open");
	if (open_arg.ret) {
		fprintf(stderr, "session: 0x%08x\n", open_arg.ret);
		return 3;
	}
	for (unsigned long round = strtoul(argv[2], NULL, 0); round; round--)
		for (int number = 3; number < argc; number++)
			carry_out(argv[number], open_arg.session, shm.id);
	return 0;
}

// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Calls an enclave that works until it is asked to stop, and asks: cancel UUID COMMAND
 *
 * Talks to the kernel alone, since the crates for libteec have no way to cancel. Prints the enclave's reply. Exit status: 0 it
 * answered, 1 refused, 2 wrong usage, 3 no TEE.
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

#define OPEN_ENCLAVE	12
#define INVOKE_ENCLAVE	13
#define CANCEL_ID	1
#define REPLY		4096
#define SIZE		(2 * REPLY)

static const __u8 trustbox[TEE_IOCTL_UUID_LEN] = {
	0xb8, 0xa6, 0xe9, 0xd4, 0x3f, 0x0c, 0x4f, 0x7e,
	0x9a, 0x53, 0x1d, 0x2c, 0x7e, 0x50, 0xb4, 0xc1,
};

struct call {
	struct tee_ioctl_invoke_arg arg;
	struct tee_ioctl_param params[4];
};

static int tee;
static __u32 session;

static void check(int failed, const char *what)
{
	if (failed) {
		perror(what);
		exit(3);
	}
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

static void *invoke(void *call)
{
	check(transfer(TEE_IOC_INVOKE, call, sizeof(struct call)), "invoke");
	return NULL;
}

static int parse(const char *text, unsigned char *uuid)
{
	for (int i = 0; i < TEE_IOCTL_UUID_LEN; i++, text += 2) {
		if (*text == '-')
			text++;
		if (sscanf(text, "%2hhx", &uuid[i]) != 1)
			return -1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct tee_ioctl_shm_alloc_data shm = { .size = SIZE };
	struct tee_ioctl_open_session_arg open_arg = { .clnt_login = TEE_IOCTL_LOGIN_PUBLIC };
	struct tee_ioctl_cancel_arg cancel = { .cancel_id = CANCEL_ID };
	struct call call = { .arg.num_params = 4 };
	unsigned char *memory_at = NULL;
	pthread_t thread;
	int shm_fd = -1;

	tee = open("/dev/tee0", O_RDWR);
	check(tee < 0, "/dev/tee0");
	shm_fd = ioctl(tee, TEE_IOC_SHM_ALLOC, &shm);
	check(shm_fd < 0, "shared memory");
	memory_at = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, shm_fd, 0);
	check(memory_at == MAP_FAILED, "shared memory");
	if (argc != 3 || parse(argv[1], memory_at))
		return 2;

	memcpy(open_arg.uuid, trustbox, sizeof(trustbox));
	check(transfer(TEE_IOC_OPEN_SESSION, &open_arg, sizeof(open_arg)), "open");
	session = open_arg.session;

	call.arg.session = session;
	call.arg.func = OPEN_ENCLAVE;
	call.params[0] = memory(TEE_IOCTL_PARAM_ATTR_TYPE_MEMREF_INPUT, 0, TEE_IOCTL_UUID_LEN, shm.id);
	call.params[1] = memory(TEE_IOCTL_PARAM_ATTR_TYPE_MEMREF_OUTPUT, REPLY, REPLY, shm.id);
	invoke(&call);
	if (call.arg.ret) {
		printf("launch: %#x\n", call.arg.ret);
		return 1;
	}

	call.arg.func = INVOKE_ENCLAVE;
	call.arg.cancel_id = CANCEL_ID;
	call.params[0] = (struct tee_ioctl_param){
		.attr = TEE_IOCTL_PARAM_ATTR_TYPE_VALUE_INPUT, .a = strtoul(argv[2], NULL, 0),
	};
	call.params[1] = memory(TEE_IOCTL_PARAM_ATTR_TYPE_MEMREF_INPUT, 0, 0, shm.id);
	call.params[2] = memory(TEE_IOCTL_PARAM_ATTR_TYPE_MEMREF_OUTPUT, REPLY, REPLY, shm.id);
	check((errno = pthread_create(&thread, NULL, invoke, &call)), "thread");
	sleep(2);
	cancel.session = session;
	check(ioctl(tee, TEE_IOC_CANCEL, &cancel), "cancel");
	pthread_join(thread, NULL);
	if (call.arg.ret) {
		printf("call: %#x\n", call.arg.ret);
		return 1;
	}
	fwrite(memory_at + REPLY, 1, call.params[2].b, stdout);
	return 0;
}

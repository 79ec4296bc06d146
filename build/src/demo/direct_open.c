// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Opens a session to a trusted application as any program in Linux may try, past trustbox and libteec: direct_open UUID
 *
 * Prints the result and its origin as the kernel gives them. Exit status: 0 open, 1 refused, 2 wrong usage, 3 no TEE.
 */
#include <fcntl.h>
#include <linux/tee.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>

static int parse(const char *text, __u8 uuid[TEE_IOCTL_UUID_LEN])
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
	struct tee_ioctl_open_session_arg arg = { .clnt_login = TEE_IOCTL_LOGIN_PUBLIC };
	struct tee_ioctl_buf_data data = { .buf_ptr = (uintptr_t)&arg, .buf_len = sizeof(arg) };
	int tee = open("/dev/tee0", O_RDWR);

	if (argc != 2 || parse(argv[1], arg.uuid))
		return 2;
	if (tee < 0 || ioctl(tee, TEE_IOC_OPEN_SESSION, &data)) {
		perror("/dev/tee0");
		return 3;
	}
	printf("%#x %u\n", arg.ret, arg.ret_origin);
	return arg.ret ? 1 : 0;
}

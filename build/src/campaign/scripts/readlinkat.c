/*
 * readlinkat(2) of an open link, whose path is empty, without the empty path: PRoot stops where it meets one (its issue 366), and
 * systemd-tmpfiles has one for each link that it makes. Preloaded by everything that runs in the root; nothing else is different.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

ssize_t readlinkat(int folder, const char *path, char *target, size_t size)
{
	ssize_t (*original)(int, const char *, char *, size_t) = dlsym(RTLD_NEXT, "readlinkat");
	char link[PATH_MAX];
	char descriptor[32];
	ssize_t length;

	if (*path)
		return original(folder, path, target, size);
	snprintf(descriptor, sizeof(descriptor), "/proc/self/fd/%d", folder);
	length = readlink(descriptor, link, sizeof(link) - 1);
	if (length < 0)
		return -1;
	link[length] = 0;
	return readlink(link, target, size);
}

/*
 * System calls with paths that PRoot does not know or stops at, made of others that it knows. Preloaded by everything that runs in the
 * root: without it `test -x` and `access(2)` look at the host (QEMU makes faccessat2 of them), so does statx(2), fchmodat2(2) would
 * change the host, and where systemd-tmpfiles reads an open link by an empty path, PRoot ends (its issue 366).
 *
 * Who runs there is root: it reads and writes everything, and starts what anybody may start.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static int look(int folder, const char *path, int flags, struct stat *found)
{
	if (!*path && (flags & AT_EMPTY_PATH))
		return folder == AT_FDCWD ? stat(".", found) : fstat(folder, found);
	return fstatat(folder, path, found, flags & AT_SYMLINK_NOFOLLOW);
}

int faccessat(int folder, const char *path, int mode, int flags)
{
	struct stat found;

	if (look(folder, path, flags, &found))
		return -1;
	if ((mode & X_OK) && !S_ISDIR(found.st_mode) && !(found.st_mode & 0111)) {
		errno = EACCES;
		return -1;
	}
	return 0;
}

int access(const char *path, int mode)
{
	return faccessat(AT_FDCWD, path, mode, 0);
}

int euidaccess(const char *path, int mode)
{
	return access(path, mode);
}

int eaccess(const char *path, int mode)
{
	return access(path, mode);
}

int fchmodat(int folder, const char *path, mode_t mode, int flags)
{
	struct stat found;
	char descriptor[32];

	if (!*path && (flags & AT_EMPTY_PATH)) {
		snprintf(descriptor, sizeof(descriptor), "/proc/self/fd/%d", folder);
		return syscall(SYS_fchmodat, AT_FDCWD, descriptor, mode);
	}
	if (flags && look(folder, path, flags, &found))
		return -1;
	if (flags && S_ISLNK(found.st_mode)) {
		errno = EOPNOTSUPP;
		return -1;
	}
	return syscall(SYS_fchmodat, folder, path, mode);
}

static struct statx_timestamp when(struct timespec time)
{
	return (struct statx_timestamp){ .tv_sec = time.tv_sec, .tv_nsec = time.tv_nsec };
}

int statx(int folder, const char *path, int flags, unsigned int mask, struct statx *out)
{
	struct stat found;

	(void)mask;
	if (look(folder, path, flags, &found))
		return -1;
	memset(out, 0, sizeof(*out));
	out->stx_mask = STATX_BASIC_STATS;
	out->stx_blksize = found.st_blksize;
	out->stx_nlink = found.st_nlink;
	out->stx_uid = found.st_uid;
	out->stx_gid = found.st_gid;
	out->stx_mode = found.st_mode;
	out->stx_ino = found.st_ino;
	out->stx_size = found.st_size;
	out->stx_blocks = found.st_blocks;
	out->stx_atime = when(found.st_atim);
	out->stx_mtime = when(found.st_mtim);
	out->stx_ctime = when(found.st_ctim);
	out->stx_rdev_major = major(found.st_rdev);
	out->stx_rdev_minor = minor(found.st_rdev);
	out->stx_dev_major = major(found.st_dev);
	out->stx_dev_minor = minor(found.st_dev);
	return 0;
}

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

/* A clock that is more than a year ahead, and folders that list their files backwards: for builds that must not notice. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#define AHEAD (400L * 24 * 60 * 60)
#define FOLDERS 64
#define ENTRIES 65536

static struct folder {
	DIR *stream;
	struct dirent64 **entries;
	size_t left;
} folders[FOLDERS];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void *original(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}

static struct folder *find(DIR *stream)
{
	for (int i = 0; i < FOLDERS; i++)
		if (folders[i].stream == stream)
			return &folders[i];
	return NULL;
}

static void read_all(struct folder *folder)
{
	struct dirent64 *(*next)(DIR *) = original("readdir64");
	struct dirent64 *entry;

	folder->entries = calloc(ENTRIES, sizeof(*folder->entries));
	while (folder->left < ENTRIES && (entry = next(folder->stream))) {
		folder->entries[folder->left] = malloc(entry->d_reclen);
		memcpy(folder->entries[folder->left++], entry, entry->d_reclen);
	}
}

/* Entries are not freed: programs of a build do not live long */
struct dirent64 *readdir64(DIR *stream)
{
	struct dirent64 *(*next)(DIR *) = original("readdir64");
	struct dirent64 *entry = NULL;
	struct folder *folder;

	pthread_mutex_lock(&lock);
	folder = find(stream);
	if (!folder && (folder = find(NULL))) {
		folder->stream = stream;
		folder->left = 0;
		read_all(folder);
	}
	if (!folder)
		entry = next(stream);
	else if (folder->left)
		entry = folder->entries[--folder->left];
	pthread_mutex_unlock(&lock);
	return entry;
}

struct dirent *readdir(DIR *stream)
{
	return (struct dirent *)readdir64(stream);
}

int closedir(DIR *stream)
{
	int (*close)(DIR *) = original("closedir");
	struct folder *folder;

	pthread_mutex_lock(&lock);
	folder = find(stream);
	if (folder)
		folder->stream = NULL;
	pthread_mutex_unlock(&lock);
	return close(stream);
}

time_t time(time_t *where)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (where)
		*where = now.tv_sec;
	return now.tv_sec;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
	int (*get)(clockid_t, struct timespec *) = original("clock_gettime");
	int result = get(clock, now);

	if (!result && clock == CLOCK_REALTIME)
		now->tv_sec += AHEAD;
	return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	int (*get)(struct timeval *, void *) = original("gettimeofday");
	int result = get(now, zone);

	if (!result)
		now->tv_sec += AHEAD;
	return result;
}
